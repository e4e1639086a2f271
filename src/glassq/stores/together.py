"""Settlements of several lanes in one message: what stands for each of them, and for the message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from glassq.errors import StorageError
from glassq.model.leases import Settled, Settlement
from glassq.settling import Settling


class Together:
    """A message that is answered once, for all settlements in it. `answer` is asked once."""

    def __init__(self, arrived: Callable[[], bool], answer: Callable[[], Sequence[Settled]]) -> None:
        self.arrived = arrived
        self._answer = answer
        self._answers: Sequence[Settled] | None = None
        self._failure: StorageError | None = None

    def each(self, count: int) -> list[Settling]:
        """So many settlements, in their order."""
        return [_OneOfSeveral(self, place) for place in range(count)]

    def answers(self) -> Sequence[Settled]:
        """What was answered to each, waited for when it is first asked for. A failure is that of each."""
        if self._failure is not None:
            raise self._failure
        if self._answers is None:
            try:
                self._answers = self._answer()
            except StorageError as error:
                self._failure = error
                raise
        return self._answers


class _OneOfSeveral:
    """One settlement of a message."""

    __slots__ = ("_place", "_together", "arrived")

    def __init__(self, together: Together, place: int) -> None:
        self._together = together
        self._place = place
        self.arrived = together.arrived
        """See `Settling.arrived`."""

    def answer(self) -> Settled:
        """See `Settling.answer`."""
        return self._together.answers()[self._place]


def answered(settle: Callable[[], Sequence[Settled]]) -> Together:
    """A message that is answered at once, by results or by a failure."""
    together = Together(_at_once, settle)
    with suppress(StorageError):  # each of them tells it
        together.answers()
    return together


def _at_once() -> bool:
    return True


def by_message(
    told: Sequence[Settlement],
    sent: Sequence[Settling],
    take_in: Callable[[Sequence[Settlement], Sequence[Settling]], Sequence[Settled]],
) -> Sequence[Settling]:
    """The same settlements for whoever has to see each message's answers first: those of a queue are one."""
    queues = {each.lease.queue: None for each in told}
    if len(queues) == 1:
        return Together(sent[0].arrived, lambda: take_in(told, sent)).each(len(told))
    found: dict[int, Settling] = {}
    for queue in queues:
        places = [place for place, each in enumerate(told) if each.lease.queue == queue]
        part = by_message([told[each] for each in places], [sent[each] for each in places], take_in)
        found.update(zip(places, part, strict=True))
    return [found[place] for place in range(len(told))]
