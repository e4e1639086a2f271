"""Settlements that are on their way: part of the contract of a store (`glassq.storage`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol, overload

from glassq.errors import StorageError
from glassq.model.leases import Settled, SettleStatus
from glassq.model.several import Several, several


class Settling(Protocol):
    """A settlement that is on its way."""

    def arrived(self) -> bool:
        """Whether its answer is there, or never will be. Does not wait; takes in what has come."""
        ...

    def answer(self) -> Settled:
        """The answer, waited for. Raises as `settle` does, but repeats nothing: what became of a settlement
        that was not answered is known by repeating it, before any later one of its lane."""
        ...


class Together(Sequence[Settling]):
    """Settlements that are on their way in one message, of which each may be asked for by itself. `answers`
    is called once."""

    def __init__(
        self, count: int, arrived: Callable[[], bool], answers: Callable[[], Sequence[Settled]]
    ) -> None:
        self._count = count
        self.arrived = arrived
        """Whether the answers are there, or never will be; see `Settling.arrived`."""
        self._ask = answers
        self._each: Sequence[Settling] | None = None
        self._answers: Several[Settled] | None = None
        self._failure: StorageError | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, sent: Sequence[Settling]) -> Together:
        """Settlements that were sent one by one, as if they were together."""
        arrived, answers = (
            lambda: all(each.arrived() for each in sent),
            lambda: [each.answer() for each in sent],
        )
        together = cls(len(sent), arrived, answers)
        together._each = sent
        return together

    def answers(self) -> Several[Settled]:
        """What was answered to each, waited for when it is first asked for. A failure is that of each."""
        with self._lock:  # another thread may want to know whether all is well
            if self._failure is not None:
                raise self._failure
            if self._answers is None:
                try:
                    self._answers = several(self._ask())
                except StorageError as error:
                    self._failure = error
                    raise
            return self._answers

    @overload
    def __getitem__(self, index: int) -> Settling: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Settling]: ...

    def __getitem__(self, index: int | slice) -> Settling | Sequence[Settling]:
        if self._each is None:  # seldom does anybody ask for one
            self._each = [_OneOfSeveral(self, place) for place in range(self._count)]
        return self._each[index]

    def __len__(self) -> int:
        return self._count


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


class Course(Protocol):
    """A lane that is run ahead: settlements that say of one job after the other that it succeeded and that
    the next one begins, as `Storage.settle_later` does.

    It goes on while answers are routine: settled, the lane held and unchanged, and others wait or do not, as
    before. What else they say may be asked for later, for several together. Belongs to the lane's thread.

    A store may answer one for several: jobs of a lane are settled in their order or not at all, so what it
    says of one holds of those that were sent right before it (`known_by`).
    """

    @property
    def is_over(self) -> bool:
        """Whether an answer was heard that is not routine, or never will be: the course is to be left."""
        ...

    def send(self, job_id: str, next_id: str) -> int | None:
        """Settle this job while the next one begins: it is on its way before anything that is sent later.
        Then take in the answers that have come. Returns of how many settlements they tell, as long as they
        are routine: the first that is not ends the course. -1 where that is all there is: while nothing was
        heard, nobody has to ask for `is_over`.

        None when it was not sent: then it is to be sent by `Storage.settle_later`, after the course was
        left.
        """
        ...

    def hear(self) -> int:
        """Wait for the oldest answer that was asked for; what has come with it is taken in and told as by
        `send`. 0 when none is on its way."""
        ...

    def answers(self) -> list[Settled]:
        """The routine answers that were heard since the last time, in full; of settlements that others tell
        of, too, as far as it is known."""
        ...

    def leave(self) -> Sequence[tuple[Settling, int]]:
        """End the course. What was sent on it and is not heard yet is like any other settlement on its way
        now, oldest first, each with how many its answer tells of: itself and those right before it. Behind
        them nobody has asked what became of the rest: the answer to whatever is settled next in the lane, or
        to a repetition, tells."""
        ...


def known_by(last: Settled, count: int, before: int) -> list[Settled]:
    """What the answer to a settlement that was not refused says of so many of the same lane that were sent
    right before it, under the same lease, and got no answer: they are settled, too.

    `before` is how many of its queue were settled when the last answer before this one was given, 0 if that
    is not known. If only these were settled since, their ordinals are known by it; otherwise nobody can say
    them.
    """
    now, others, change = last.now, last.others, last.change
    if not before or settled_before(last) != before + count:
        alike = Settled(status=SettleStatus.ALREADY, now=now, held=True, others=others, change=change)
        return [alike] * count
    done = SettleStatus.DONE
    return [
        Settled(status=done, now=now, ordinal=ordinal, held=True, others=others, change=change)
        for ordinal in range(before + 1, before + count + 1)
    ]


def settled_before(answer: Settled) -> int:
    """How many of the queue were settled before this, which perhaps settled none; 0 if it does not say."""
    if answer.ordinal:
        return answer.ordinal - 1
    return 0 if answer.found is None else answer.found.counts.settled


class Answered:
    """A settlement that was answered at once, by its result or by a failure."""

    def __init__(self, settle: Callable[[], Settled]) -> None:
        self._failure: StorageError | None = None
        try:
            self._result = settle()
        except StorageError as error:
            self._failure = error

    def arrived(self) -> bool:
        """See `Settling.arrived`."""
        return True

    def answer(self) -> Settled:
        """See `Settling.answer`."""
        if self._failure is not None:
            raise self._failure
        return self._result
