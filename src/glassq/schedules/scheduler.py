"""The thread that leads: it waits for the next slot, and enqueues what is due."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from glassq.errors import EnqueueError, StorageError
from glassq.model.clock import Clock
from glassq.policy.retry import full_jitter
from glassq.schedules.catalogue import Catalogue, Stored
from glassq.schedules.leading import Leadership
from glassq.schedules.planning import Planning
from glassq.schedules.records import Plan
from glassq.schedules.ticking import Ticking, is_due
from glassq.schedules.timetables import can_read
from glassq.shielding import Log

log = Log("glassq.schedules")

_LOOK: Final = 2.0
"""Seconds between two looks of a leader at what was added or changed meanwhile."""
_LEAST: Final = 0.01
"""Seconds it waits at least: between looks at a clock that goes more slowly than this machine's."""


class Scheduler:
    """A candidate for the lead over the schedules of a store: one of all processes enqueues, the others stand
    by. Whoever starts it has it join workers (see `glassq.worker.crew.Stoppable`)."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        planning: Planning,
        ticking: Ticking,
        leadership: Leadership,
        clock: Clock,
        random: Callable[[], float],
        lease_seconds: float,
        declared: Callable[[], tuple[Sequence[Plan], Sequence[str]]],
    ) -> None:
        self._catalogue = catalogue
        self._planning = planning
        self._ticking = ticking
        self._leadership = leadership
        self._clock = clock
        self._random = random
        self._look = min(_LOOK, lease_seconds / 5)
        self._fresh = lease_seconds / 3
        self._declared = declared
        self._undeclared: Sequence[Plan] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._troubled: set[str] = set()

    # -- starting and stopping: what a crew asks for ---------------------------------------------------------

    def start(self) -> Self:
        """Begin, in a thread of its own. Returns at once."""
        self._thread = threading.Thread(target=self._run, name="glassq-schedules", daemon=True)
        self._thread.start()
        return self

    def stop(self, drain: float = 10.0) -> bool:
        """Enqueue nothing more and leave the lead to others; whether that was done within `drain` seconds."""
        self._stopping.set()
        return self.wait(drain)

    def interrupt(self) -> None:
        """Nothing of it outlasts a stop but a call the store does not answer."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it has stopped within `timeout` seconds, whoever stopped it."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            try:
                wait = self.turn()
                tries = 0
            except (StorageError, EnqueueError) as error:
                wait, tries = full_jitter(tries, self._random()), tries + 1
                log.warning("schedules: %s; trying again in %.2f s", error, wait)
            except Exception:  # licensed: top of a thread
                wait, tries = full_jitter(tries, self._random()), tries + 1
                log.exception("schedules failed and are looked at again in %.2f s", wait)
            self._stopping.wait(wait)
        try:
            self._leadership.resign()
        except StorageError as error:
            log.warning("leaving the lead over the schedules to the end of its lease: %s", error)

    def turn(self) -> float:
        """Do what is due, if this one leads or nobody does; the seconds until there is more to do.

        Raises `StorageError`, after which it is repeated; nothing is lost by that, and nothing doubled.
        """
        self._declare()
        if self._leadership.taken() or not self._may_lead():
            return self._look
        led = self._leadership.leads
        now = self._leadership.stand()
        if now is None:
            return self._look
        if not led:
            log.info("leading the schedules")
        return self._tick_all(now)

    def _declare(self) -> None:
        if self._undeclared is None:
            plans, queues = self._declared()
            self._undeclared = self._planning.declare(plans)
            self._planning.tell_of_others(plans, queues)
        elif self._undeclared:
            self._undeclared = self._planning.declare(self._undeclared)

    def _may_lead(self) -> bool:
        """Whether there is anything to lead, and this process could."""
        if self._leadership.leads:
            return True
        stored = self._catalogue.all()
        unread = next((each for each in stored if not can_read(each.plan.timetable)), None)
        if unread is not None:
            problem = "needs an optional package: pip install 'glassq[cron]'; another process has to lead"
            self._complain(unread, problem)
        return bool(stored) and unread is None

    def _tick_all(self, now: float) -> float:
        """Bring all schedules up to date by this time of the store's, and tell when the next is due."""
        asked = self._clock.monotonic()
        soonest = now + self._look
        everything = self._catalogue.all()
        if not everything:
            self._leadership.resign()
        # Those that could not be done last time come last: where a node is away, waiting for it must not keep
        # the others from their turn.
        for stored in sorted(everything, key=lambda each: each.plan.name in self._troubled):
            if self._stopping.is_set():
                break
            if self._clock.monotonic() - asked > self._fresh:
                return 0.0  # what came so far took long: see first whether this one still leads
            current = self._tick(stored, now) if is_due(stored.schedule, now) else stored
            if current is not None and current.schedule.next is not None and not current.schedule.paused:
                soonest = min(soonest, current.schedule.next)
        return max(_LEAST, soonest - now - (self._clock.monotonic() - asked))

    def _tick(self, stored: Stored, now: float) -> Stored | None:
        """One schedule; None where it is to be looked at again soon."""
        try:
            moved = self._ticking.tick(stored, now)
        except (EnqueueError, StorageError) as error:
            self._complain(stored, f"its slots wait: {error}")
            return None
        except Exception as error:  # licensed: a schedule that cannot be reckoned must not stop the others
            self._complain(stored, f"cannot be brought up to date: {error!r}")
            return None
        self._troubled.discard(stored.plan.name)
        return moved

    def _complain(self, stored: Stored, problem: str) -> None:
        """Log once, until it works again."""
        if stored.plan.name not in self._troubled:
            self._troubled.add(stored.plan.name)
            log.error("schedule %s %s", stored.plan.name, problem)
