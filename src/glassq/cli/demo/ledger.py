"""What the receiver saw: every delivery, with its place in one common order of arrivals and answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from glassq.cli.demo.eventlog import Event


class Delivery(msgspec.Struct, kw_only=True):
    """One request as the receiver saw it. `arrived` and `answered` are places in one common order (a tick
    per arrival and per answer); the times beside them are seconds on the receiver's own monotonic clock."""

    event: Event
    worker: int
    job_id: str
    attempt: int
    arrived: int
    arrived_at: float
    answered: int | None = None
    answered_at: float | None = None
    status: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver took the event over: what was decided here, heard by the sender or not."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether the receiver asked for the event to be sent again later."""
        return self.status is not None and not self.accepted


class Ledger:
    """The receiver's memory. All methods may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._tick = 0

    def arrival(self, event: Event, *, worker: int, job_id: str, attempt: int) -> tuple[Delivery, bool]:
        """Note a request that came in; also tells whether this event was never seen before."""
        with self._changed:
            first = all(known.event.id != event.id for known in self._deliveries)
            self._tick += 1
            delivery = Delivery(
                event=event,
                worker=worker,
                job_id=job_id,
                attempt=attempt,
                arrived=self._tick,
                arrived_at=self._clock(),
            )
            self._deliveries.append(delivery)
            self._changed.notify_all()
        return delivery, first

    def answer(self, delivery: Delivery, status: int) -> None:
        """Note the answer; comes before it is sent, so that nothing can follow from it earlier."""
        with self._changed:
            self._tick += 1
            delivery.status, delivery.answered, delivery.answered_at = status, self._tick, self._clock()
            self._changed.notify_all()

    def deliveries(self) -> list[Delivery]:
        """A copy of everything so far, by arrival."""
        with self._changed:
            return [msgspec.structs.replace(each) for each in self._deliveries]

    def accepted(self) -> int:
        """How many different events were accepted."""
        with self._changed:
            return len({each.event.id for each in self._deliveries if each.accepted})
