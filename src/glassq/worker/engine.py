"""The worker: starts, drains and stops the threads that do the work. No business logic."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from glassq.errors import ConfigurationError, StorageError
from glassq.model.clock import Clock
from glassq.model.events import LaneClaimed, QueueDeclared, WorkerChanged
from glassq.model.leases import Claimed, Owner
from glassq.registry import Registry
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.assignment import Assignment
from glassq.worker.attempt import Attempts
from glassq.worker.backoff import RetryPause
from glassq.worker.beating import Beats
from glassq.worker.bundles import Bundles, Stay
from glassq.worker.callbacks import Callbacks
from glassq.worker.crew import Stoppable, run_together
from glassq.worker.holdings import HeldLane, Holdings
from glassq.worker.idling import wait_until_idle
from glassq.worker.lanes import LaneRun
from glassq.worker.loops import LoopHome, OwnLoop
from glassq.worker.options import WorkerOptions
from glassq.worker.pool import LanePool
from glassq.worker.progress import ProgressWriter
from glassq.worker.reach import Reach
from glassq.worker.relaying import Relay
from glassq.worker.services import Services, give_back
from glassq.worker.settle import Settler
from glassq.worker.shares import Shares
from glassq.worker.telling import Teller
from glassq.worker.turns import Turns
from glassq.worker.upkeep import Upkeep
from glassq.worker.watching import LoopWatch

log = Log("glassq.worker")

_LONGEST_WAIT = 5.0
"""Seconds between two turns of an idle loop: the safety net under the doorbell, and the heartbeat."""
_MOMENT = 0.002
"""Seconds in which lanes that wait behind quick jobs are taken up."""
_LOOK = 0.2
"""Seconds between two looks of a worker without a free slot at where else lanes wait: queues, or shards."""
_LEFT = 0.1
"""Seconds between two looks of a worker with assigned keys that has free slots and left lanes to others."""
_TELLING = 1.0
"""Seconds a stop waits for observers and log handlers that are behind."""


class Worker:
    """Runs the jobs of an application's queues, each lane in order, several lanes at a time.

    Use it as a context manager, by `start` and `stop`, or by `run` as a process of its own.
    """

    _pool_kind: type[LanePool[LaneRun]] = LanePool
    _relay_kind: type[Relay] = Relay
    _progress_kind: type[ProgressWriter] = ProgressWriter

    def __init__(
        self,
        *,
        registry: Registry,
        storage: Callable[[], Storage],
        bus: Bus,
        clock: Clock,
        owner: Owner,
        options: WorkerOptions,
        serializer: str,
        random: Callable[[], float],
        loop: LoopHome | None = None,
        beside: Stoppable | None = None,
    ) -> None:
        self._registry = registry
        self._storage = storage
        self._bus = bus
        self._clock = clock
        self._owner = owner
        self._options = options
        self._serializer = serializer
        self._random = random
        self._beside = beside
        self._loop = loop or OwnLoop(LoopWatch(bus, clock))
        self._stopping = threading.Event()
        self._finished = threading.Event()
        self._holdings = Holdings()
        self._pid: int | None = None
        self._claiming = False
        self._looked = 0.0
        self._beats = Beats(bus, clock, owner, self._holdings)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues this worker serves now."""
        return self._options.queues or self._registry.queues()

    @property
    def concurrency(self) -> int:
        """How many lanes it runs at the same time."""
        return self._options.concurrency

    @property
    def running(self) -> bool:
        """Whether it was started and has not stopped, in this process."""
        return self._pid == os.getpid() and not self._finished.is_set()

    @property
    def finished(self) -> bool:
        """Whether it was started and has stopped."""
        return self._finished.is_set()

    # -- starting and stopping -----------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin to take lanes, in threads of its own. Returns once the store knows this worker.

        Raises `StorageError` when the store cannot be reached, `ConfigurationError` on a second start.
        """
        if self._pid is not None:
            raise ConfigurationError("this worker was started before; make a new one with app.worker(...)")
        self._bus.emit(WorkerChanged(worker=str(self._owner), state="starting", queues=self.queues))
        storage = self._storage()
        self._doorbell = storage.listen(self._owner, self.queues)
        self._bus.subscribe(self._declared, QueueDeclared)
        self._pid = os.getpid()
        self._assemble(storage)
        self._begin_threads()
        self._bus.emit(WorkerChanged(worker=str(self._owner), state="running", queues=self.queues))
        return self

    def _begin_threads(self) -> None:
        self._teller.start()
        for name, body in (("claims", self._claim_loop), ("upkeep", self._upkeep_until_done)):
            threading.Thread(target=body, name=f"glassq-{name}", daemon=True).start()
        if self._beside is not None:
            self._beside.start()

    def _assemble(self, storage: Storage) -> None:
        self._relay = self._relay_kind(storage, self._bus, self._clock, self._random)
        settler = Settler(storage, self._bus, self._clock, self._owner, self._random, relay=self._relay.ring)
        self._progress = self._progress_kind(storage.put, self._clock)
        attempts = Attempts(
            self._registry,
            self._bus,
            self._clock,
            serializer=self._serializer,
            max_crashes=self._options.max_crashes,
            random=self._random,
            loop=self._loop,
            storage=storage,
            worker=str(self._owner),
            tell=self._progress.tell,
        )
        self._services = Services(
            storage=storage,
            bus=self._bus,
            clock=self._clock,
            owner=self._owner,
            options=self._options,
            attempts=attempts,
            settler=settler,
            callbacks=Callbacks(self._bus, self._clock, self._loop),
            stopping=self._stopping.is_set,
            over=self._stopping.is_set,
            crowded=self._crowded,
        )
        self._teller = Teller(self._bus, "glassq-telling")
        self._upkeep = Upkeep(
            storage=storage,
            clock=self._clock,
            owner=self._owner,
            options=self._options,
            holdings=self._holdings,
            settler=settler,
            teller=self._teller,
            queues=lambda: self.queues,
            relay=self._relay.look,
        )
        self._assignment = Assignment(self._options, self._clock) if self._options.chooses else None
        self._shares = Shares(self._registry, self._holdings, self._options.concurrency, self._assignment)
        self._pool = self._pool_kind(
            self._options.concurrency,
            "glassq-lane",
            serve=self._serve,
            on_free=self._doorbell.ring,
            fits=self._fits,
            place=lambda stay: stay.place,
        )
        self._reach = Reach(self._clock, self._pool)
        self._bundles = Bundles(settler, self._clock, self._options)

    def stop(self, drain: float = 10.0) -> bool:
        """Take no more lanes, let running attempts end, give all lanes back; True when that is done.

        After `drain` seconds it returns False: attempts still running go on, their leases are renewed until
        they end, and nothing else starts. A worker that never started, or that was inherited by a fork, is
        stopped already.
        """
        if not self.running:
            return True
        if not self._stopping.is_set():
            self._bus.emit(WorkerChanged(worker=str(self._owner), state="draining", queues=self.queues))
            self._stopping.set()
            if self._beside is not None:
                self._beside.stop(0)
            self._pool.wake()
            self._doorbell.ring()
        return self._finished.wait(drain)

    def interrupt(self) -> None:
        """Cancel the async jobs that outlast a stop: they go back with their lanes and run again, and it does
        not count as a failure. For a process that ends; it does not wait. Plain jobs cannot be ended.

        Workers of one application share an event loop: it holds for the async jobs of all of them.
        """
        if self.running and self._stopping.is_set():
            self._loop.interrupt()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, drain: float = 10.0) -> bool:
        """Start, work until SIGTERM or SIGINT, then stop; True after a clean drain. Async jobs that outlast
        it are interrupted.

        A second signal ends the drain at once. Signals are handled in the main thread only.
        """
        return run_together([self], drain)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until this worker has stopped, whoever stops it; False after `timeout` seconds."""
        return self._finished.wait(timeout)

    def run_until_idle(self, timeout: float = 30.0) -> bool:
        """Wait until nothing is ready, running or waiting for a retry; False after `timeout` seconds.

        Halted, paused, scheduled and deferred jobs are not waited for. A worker that is not running is
        started for it, and stopped before this returns.
        """
        if self.running:
            return wait_until_idle(self._idle, self._holdings, self._clock, timeout)
        self.start()
        try:
            return wait_until_idle(self._idle, self._holdings, self._clock, timeout)
        finally:
            self.stop()

    def _idle(self) -> bool:
        if len(self._holdings) or self._relay.busy:  # what is told to others may let some of them go
            return False
        stats = self._services.storage.stats(self.queues)
        busy = any(queue.ready or queue.leased or queue.waiting_retry for queue in stats)
        # Looked at again: a lane may have been taken and served while the figures were read.
        return not (busy or self._claiming or len(self._holdings) or self._relay.busy)

    # -- the threads -----------------------------------------------------------------------------------------

    def _claim_loop(self) -> None:
        """Take lanes while there are free threads for them, or soon will be; otherwise wait for the bell."""
        pause = RetryPause(self._clock, self._random)
        try:
            while not self._stopping.is_set():
                self._turn(pause)
        finally:
            self._pool.close()
            self._withdraw()
            self._bundles.send_old(0)  # of threads whose jobs go on
            self._upkeep.stop()

    def _turn(self, pause: RetryPause) -> None:
        """Claim once and wait until it is worth trying again."""
        self._claiming = True
        try:
            wait = self._claim()
            pause.reset()
        except StorageError as error:
            wait = pause.next()
            log.warning("claiming: %s; trying again in %.2f s", error, wait)
        except Exception:  # licensed: top of a thread
            wait = pause.next()
            log.exception("claiming failed and is tried again in %.2f s", wait)
        finally:
            self._claiming = False
        if self._pool or self._bundles.send_old():
            self._wait_for_threads()
        else:
            self._wait_for_bell(wait)

    def _wait_for_threads(self) -> None:
        """While lanes wait here, or ends to be sent, bells call for nothing. Where no lane is taken up for a
        moment, all threads are called; what waited too long is given back: others may have free threads."""
        while not self._stopping.is_set():
            unsent, oldest = self._bundles.send_old(), self._pool.oldest()
            if not unsent and oldest is None:
                return
            served = self._pool.served
            if self._pool.wait_until_low(_MOMENT):
                return
            if self._pool.served == served:
                self._reach.forget()
            if oldest is not None and self._reach.is_late(oldest):
                self._withdraw()

    def _wait_for_bell(self, seconds: float) -> None:
        try:
            self._doorbell.wait(seconds)
        except StorageError:  # the next claim reports it, with its pauses
            self._stopping.wait(seconds)
        except Exception:  # licensed: top of a thread
            log.exception("the doorbell failed; looking again in a moment")
            self._stopping.wait(min(seconds, 1))

    def _declared(self, _: QueueDeclared) -> None:
        """A queue more to serve, perhaps: look at once."""
        self._doorbell.ring()

    def _claim(self) -> float:
        """Get lanes for the free threads, and for those that are soon free; returns the seconds until it is
        worth trying again."""
        self._beats.beat(busy=bool(self._pool))
        queues = self.queues
        self._doorbell.attend(queues)
        more = self._reach.lanes()
        free = self._pool.free()
        sent = self._clock.monotonic()
        if not queues:
            return _LONGEST_WAIT
        if not free + more:
            # Several queues or shards: a lane may have to make room for one of another, which nobody tells.
            if not self._shares.several or sent - self._looked < _LOOK:
                return _LOOK if self._shares.several else _LONGEST_WAIT
            self._looked = sent
        queues = self._shares.ordered(queues)
        claimed = self._services.storage.claim(
            self._owner,
            queues,
            lanes=free + more,
            window=self._options.window,
            lease_seconds=self._options.lease_seconds,
            begin=free,
            ahead=self._options.max_in_flight if more else 0,
            terms=self._shares.terms(queues, more, together=self._options.max_crashes > 1),
        )
        self._shares.look(claimed)
        self._take_on(claimed, sent + self._options.lease_seconds)
        longest = _LONGEST_WAIT if free + more else _LOOK
        if self._assignment is not None and claimed.others and len(claimed.grants) < free:
            longest = _LEFT  # nobody rings again for lanes that were left
        return longest if claimed.next_due is None else min(longest, claimed.next_due)

    def _take_on(self, claimed: Claimed, deadline: float) -> None:
        self._reach.look(claimed)
        stays, free = [], self._pool.free()
        for place, grant in enumerate(claimed.grants):
            lane = HeldLane(grant.lease, deadline, self._clock)
            self._holdings.add(lane)
            self._bus.emit(LaneClaimed(lease=grant.lease, cause=grant.cause, stolen=grant.stolen))
            stays.append(
                LaneRun(
                    self._services,
                    lane,
                    grant,
                    now=claimed.now,
                    others=grant.lease.queue in claimed.others,
                    turn=self._shares.turn_of(grant.lease),
                    asked=min(self._options.window, self._shares.turn(grant.lease.queue)),
                    at_once=place < free,
                )
            )
        try:
            for earlier in self._pool.put(stays):
                earlier.give_way()
        except RuntimeError:
            log.exception("no thread for %d lanes; they are given back", len(stays))
            self._give_back(stays)

    def _serve(self, first: LaneRun) -> None:
        """The work of a lane's thread: this lane, and those that wait behind it."""
        Turns(
            bundles=self._bundles,
            next_lane=self._next_lane,
            is_watched=self._is_watched,
            give_back=self._keep_from_beginning,
            done=self._drop,
        ).run(first)

    def _crowded(self, queue: str) -> bool:
        """Whether a lane of this queue is to end its turn for others, as far as this worker knows of them."""
        # Only where lanes are many: one that is alone would end its turn for the claim that it causes.
        crowded = bool(self._pool.waiting) or (self._claiming and self._reach.crowded)
        return crowded or (self._shares.several and self._shares.should_yield(queue))

    def _fits(self, lane: LaneRun, running: Iterable[LaneRun]) -> bool:
        """Whether a lane may begin beside those that run."""
        shares = self._shares
        return not shares.bounded or shares.fits(lane.lease.queue, [each.lease.queue for each in running])

    def _is_watched(self) -> bool:
        """Whether the thread that claims looks after bundles now, or is about to."""
        return self._claiming or bool(self._pool)

    def _next_lane(self) -> LaneRun | None:
        return None if self._stopping.is_set() else self._pool.take()

    def _keep_from_beginning(self, queue: str, lanes: Sequence[LaneRun]) -> None:
        """Nothing more of this queue is to begin."""
        self._give_back([*lanes, *self._pool.take_back(lambda lane: lane.lease.queue == queue)])

    def _withdraw(self) -> None:
        """Give back all lanes that wait for a thread: those alone that came first would come last."""
        self._give_back(self._pool.take_back(lambda _: True))

    def _give_back(self, lanes: Sequence[LaneRun]) -> None:
        if lanes:
            give_back(self._services, [lane.held for lane in lanes if not lane.held.lost])
        for lane in lanes:
            self._drop(lane)

    def _drop(self, lane: Stay) -> None:
        self._reach.note(lane)
        self._holdings.drop(lane.held)

    def _upkeep_until_done(self) -> None:
        """Upkeep outlives everything else: what still runs after the drain keeps its lease."""
        self._upkeep.run()
        if self._beside is not None:
            self._beside.wait(_TELLING)
        self._relay.stop(_TELLING)
        self._progress.stop(_TELLING)
        self._teller.wait(_TELLING)
        try:
            self._doorbell.close()
        except StorageError as error:
            log.warning("taking leave of the store: %s", error)
        self._bus.unsubscribe(self._declared)
        self._bus.emit(WorkerChanged(worker=str(self._owner), state="stopped", queues=self.queues))
        self._finished.set()
