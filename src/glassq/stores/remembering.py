"""What this process was told of each queue, and what a later answer says about that: the one place where a
loss of data is noticed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

import msgspec

from glassq.forking import begin_in_children
from glassq.model.events import DataLossDetected
from glassq.model.leases import Settled
from glassq.model.watermarks import Watermark
from glassq.policy.loss import Loss, take_in
from glassq.telemetry import Bus


class Known(msgspec.Struct, frozen=True, gc=False):
    """What was acknowledged of one queue. `losses` were noticed before: an answer that was asked for earlier
    belongs to a past that is over."""

    watermark: Watermark = Watermark()
    losses: int = 0


_NOTHING = Known()
_FOUND: Callable[[Settled], Watermark | None] = attrgetter("found")
_FOUND_AND_ORDINAL: Callable[[Settled], tuple[Watermark, int]] = attrgetter("found", "ordinal")
_UNCHANGED: Mapping[str, Watermark] = {}


class Memory:
    """Remembers the last watermark of each queue, compares, and tells of a loss once. Thread-safe.

    A call is compared with what was acknowledged before it was sent (`recall`), not with what other threads
    heard while it was on its way, as answers may overtake each other; except with what an earlier or a later
    run of the server is known to have said (`take_in`).
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[str, Known] = {}
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: another thread of the parent may have held the lock. What was
        known is known to the child, too."""
        self._lock = threading.Lock()

    def known(self, queue: str) -> Known:
        """What is known of a queue now, for a call that is about to be sent."""
        return self._known.get(queue, _NOTHING)

    def recall(self, queues: Iterable[str]) -> dict[str, Known]:
        """The same for several queues."""
        return {queue: self._known.get(queue, _NOTHING) for queue in queues}

    def learn(
        self,
        before: Mapping[str, Known],
        found: Mapping[str, Watermark],
        left: Mapping[str, Watermark] = _UNCHANGED,
    ) -> None:
        """Take in an answer: how the call found the queues, and how it left those that it changed."""
        for queue, watermark in found.items():
            self.learn_of(queue, before[queue], watermark, left.get(queue, watermark))

    def learn_of(self, queue: str, before: Known, found: Watermark, left: Watermark) -> None:
        """Take in an answer: how the call found its queue, and how it left it."""
        with self._lock:
            known = self._known.get(queue, _NOTHING)
            if known.losses != before.losses:
                return  # another thread has noticed, after this call was sent
            loss, watermark = take_in(known.watermark, before.watermark, found, left)
            self._known[queue] = Known(watermark, known.losses + (loss is not None))
        if loss is not None:
            self._tell(queue, loss)

    def learn_settled(self, queue: str, before: Known, answers: Iterable[Settled]) -> None:
        """Take in the answers of settlements of one queue, in the order they were sent; `before` is what was
        known before the first."""
        losses = []
        told = map(_FOUND_AND_ORDINAL, filter(_FOUND, answers))
        with self._lock:
            known = self._known.get(queue, _NOTHING)
            watermark, count = known.watermark, known.losses
            for found, ordinal in told:
                if count == before.losses:
                    left = found.after(settled=ordinal)
                    loss, watermark = take_in(watermark, before.watermark, found, left)
                    if loss is not None:
                        losses.append(loss)
                        count += 1
            self._known[queue] = Known(watermark, count)
        for loss in losses:
            self._tell(queue, loss)

    def forget(self, queue: str) -> None:
        """The queue is gone because it was to be: nothing of it can be lost any more."""
        with self._lock:
            self._known.pop(queue, None)

    def _tell(self, queue: str, loss: Loss) -> None:
        self._bus.emit(
            DataLossDetected(
                queue=queue,
                kind=loss.kind,
                missing=loss.missing,
                unsettled=loss.unsettled,
                first_seq=loss.first_seq,
            )
        )
