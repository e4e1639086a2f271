"""A real worker without threads of its own: it works when it is told to, in the thread that tells it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

from glassq.errors import StorageUnavailable
from glassq.schedules.scheduler import Scheduler
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.engine import Worker
from glassq.worker.granted import GrantedLane
from glassq.worker.pool import LanePool
from glassq.worker.progress import ProgressWriter
from glassq.worker.relaying import Relay


class WorkerCrashed(BaseException):
    """What a job's code is left by where its worker dies: no handler of an `Exception` holds it up. What has
    to be closed is closed, as the system closes files and connections of a process that was killed."""


class _CallersPool(LanePool[GrantedLane]):
    """Lanes that wait for whoever steps the worker."""

    @property
    def served(self) -> int:
        """None: by a clock that stands still lanes are served in no time, and no number of lanes would be too
        many to be taken ahead."""
        return 0

    def _add_thread(self) -> bool:
        return False


class _CallersRelay(Relay):
    """What is to be told waits for whoever steps the worker, too."""

    def _add_thread(self) -> None:
        pass


class _CallersProgress(ProgressWriter):
    """And what jobs say of how far they are."""

    def _add_thread(self) -> None:
        pass


class _Mortal:
    """A worker's way to its store, up to the worker's death; from there on nothing is said, to the store or
    to the observers, whatever unwinds."""

    def __init__(self, storage: Storage, bus: Bus) -> None:
        self._storage = storage
        self._bus = bus
        self._silence = ExitStack()
        self._silent = False
        self.dead = False
        self.doomed = False
        """Whether its next settlement is the moment at which it dies."""

    def __getattr__(self, verb: str) -> Any:
        if self.doomed and verb in ("settle", "settle_later", "settle_together"):
            self.dead = True
        if self.dead:
            if not self._silent:
                self._silence.enter_context(self._bus.handing_on(lambda _: None))
                self._silent = True
            raise WorkerCrashed("this worker is dead")
        return getattr(self._storage, verb)

    def let_speak(self) -> None:
        """The calling thread has left what the worker was doing, and may be heard again."""
        self._silence.close()


class SteppedWorker(Worker):
    """Claims, runs and settles exactly as its base does, one lane at a time, in calls of `step`."""

    _pool_kind = _CallersPool
    _relay_kind = _CallersRelay
    _progress_kind = _CallersProgress

    def __init__(self, *, storage: Storage, bus: Bus, scheduler: Scheduler | None, **parts: Any) -> None:
        self._scheduler = scheduler
        self._way = _Mortal(storage, bus)
        super().__init__(storage=lambda: cast("Storage", self._way), bus=bus, **parts)
        self._over = self._is_over
        self._left = self._began = 0
        self._due_at: float | None = None

    def _begin_threads(self) -> None:
        self._teller.start()  # it tells what only the log has to know

    def _is_watched(self) -> bool:
        return False  # there is no other thread: what a job looks at was settled before it

    def _next_lane(self) -> GrantedLane | None:
        return super()._next_lane() if self._left else None

    def _is_over(self) -> bool:
        if not self._left or self._stopping.is_set():
            return True
        self._left -= 1
        self._began += 1
        return False

    # -- living ------------------------------------------------------------------------------------------

    def step(self, most: int) -> int:
        """Claim once, and let up to `most` attempts of what is granted begin and end; how many did.

        A claim that grants nothing says that nothing is ready. Raises what a claim raises; the death of this
        worker ends the step.
        """
        self._left, self._began = most, 0
        try:
            self._claims.tell()
            self._claims.claim()
            due = self._claims.due
            self._due_at = None if due is None else self._clock.monotonic() + due
            while (lane := self._next_lane()) is not None:
                self._serve(lane)
            self._withdraw()
            self._tell_others()
        except WorkerCrashed:
            pass  # it has got out of all that the worker was doing
        finally:
            self._pool.rest()
            self._way.let_speak()
            if not self.alive:
                self._bury()
        return self._began

    def due_in(self) -> float | None:
        """Seconds until something is due, as far as the last step has seen: a job, a retry, the end of the
        lease of somebody who died. None: nothing."""
        return None if self._due_at is None else max(0.0, self._due_at - self._clock.monotonic())

    def enough(self) -> None:
        """Let nothing more begin in this step."""
        self._left = 0

    def keep_up(self) -> None:
        """Do what a living worker does as time passes, whatever else it does: renew, be heard of, tell what
        one that died has left to tell, and enqueue the slots of schedules that are due."""
        if not self._upkeep.turn():
            raise StorageUnavailable("the store could not be told that the worker lives", "connection")
        self._tell_others()
        if self._scheduler is not None:
            self._scheduler.turn()

    def _tell_others(self) -> None:
        """What threads beside the lanes do in a worker that has some."""
        self._relay.turn()
        self._progress.turn()

    # -- dying -------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether it has not died."""
        return not self._way.dead

    def doom(self) -> None:
        """Let it die in the moment in which it would settle something."""
        self._way.doomed = True

    def die(self) -> None:
        """Now: nothing is settled, nothing given back, and nobody told."""
        self._way.dead = True

    def _bury(self) -> None:
        """Clear away what is left of it in this process, which has not ended with it."""
        self._bus.unsubscribe(self._declared)
        with self._teller.telling():
            self._finished.set()

    def stop(self, drain: float = 10.0) -> bool:
        """See `Worker.stop`."""
        if self.running:
            self._stopping.set()
            self._upkeep.stop()
            self._upkeep_until_done()
        return super().stop(drain)
