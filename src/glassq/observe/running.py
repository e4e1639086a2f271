"""The attempts that run in this process, for all who show or judge them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from glassq.forking import begin_in_children
from glassq.model.events import AttemptAbandoned, AttemptSettled, AttemptStarted, SettlementDelayed
from glassq.model.leases import Lease
from glassq.model.runs import Run
from glassq.telemetry import Begun, Bus


class Running:
    """Attempts that started and are not over, one for each lease: a lane runs one job at a time, so the next
    one takes the place of one whose end is heard of late. Single dictionary operations only, so it needs no
    lock."""

    def __init__(self) -> None:
        self._untold: dict[Lease, Begun] = {}
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: the parent's attempts run in the parent."""
        self._attempts: dict[Lease, AttemptStarted] = {}
        self._untold.clear()

    def attach(self, bus: Bus) -> None:
        """Hear of the attempts of one application."""
        self._untold = bus.begun
        bus.subscribe(self._started, AttemptStarted, together=self._started_together)
        ends = AttemptSettled, AttemptAbandoned, SettlementDelayed
        bus.subscribe(self._ended, *ends, together=self._ended_together)

    def attempts(self) -> Sequence[AttemptStarted]:
        """Those that run now."""
        untold = {lease: begun.event() for lease, begun in self._untold.copy().items()}
        return tuple({**self._attempts, **untold}.values())

    def _started(self, event: AttemptStarted) -> None:
        # The token belongs to the lease: a lane taken back by its own process runs the job a second time
        # while the first, fenced attempt may still be ending.
        self._attempts[event.lease] = event

    def _started_together(self, run: Run[AttemptStarted]) -> None:
        """They were seen while they ran."""

    def _ended(self, event: AttemptSettled | AttemptAbandoned | SettlementDelayed) -> None:
        self._end(event.lease, event.job_id)

    def _end(self, lease: Lease, job_id: str) -> None:
        # Attempts whose user code never ran were never in progress.
        current = self._attempts.get(lease)
        if current is not None and current.job_id == job_id:
            self._attempts.pop(lease, None)

    def _ended_together(self, run: Run[AttemptSettled]) -> None:
        """Of one lease: no more than one of them can be its current one. Or each of its own."""
        if not self._attempts:
            return
        ids, lease = run.column("job_id"), run.common("lease")
        if lease is None:
            for each, job_id in zip(run.column("lease"), ids, strict=True):
                self._end(each, job_id)
            return
        current = self._attempts.get(lease)
        if current is not None and current.job_id in ids:
            self._attempts.pop(lease, None)


_ON: WeakKeyDictionary[Bus, Running] = WeakKeyDictionary()
_LOCK = threading.Lock()


def running_on(bus: Bus) -> Running:
    """The attempts that a bus tells of, kept once however many ask."""
    with _LOCK:
        running = _ON.get(bus)
        if running is None:
            running = _ON[bus] = Running()
            running.attach(bus)
        return running
