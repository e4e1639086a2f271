"""Settlements that are on their way: part of the contract of a store (`glassq.storage`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from glassq.errors import StorageError
from glassq.model.leases import Settled


class Settling(Protocol):
    """A settlement that is on its way."""

    def arrived(self) -> bool:
        """Whether its answer is there, or never will be. Does not wait; takes in what has come."""
        ...

    def answer(self) -> Settled:
        """The answer, waited for. Raises as `settle` does, but repeats nothing: what became of a settlement
        that was not answered is known by repeating it, before any later one of its lane."""
        ...


class Course(Protocol):
    """A lane that is run ahead: settlements that say of one job after the other that it succeeded and that
    the next one begins, as `Storage.settle_later` does.

    It goes on while answers are routine: settled, the lane held and unchanged, and others wait or do not, as
    before. What else they say may be asked for later, for several together. Belongs to the lane's thread.
    """

    @property
    def is_over(self) -> bool:
        """Whether an answer was heard that is not routine, or never will be: the course is to be left."""
        ...

    def send(self, job_id: str, next_id: str) -> int | None:
        """Settle this job while the next one begins: it is on its way before anything that is sent later.
        Then take in the answers that have come. Returns how many of them were routine, up to the first that
        is not: that one ends the course.

        None when it was not sent: then it is to be sent by `Storage.settle_later`, after the course was
        left.
        """
        ...

    def hear(self) -> int:
        """Wait for the oldest answer; what has come with it is taken in and told as by `send`."""
        ...

    def answers(self) -> list[Settled]:
        """The routine answers that were heard since the last time, in full."""
        ...

    def leave(self) -> Sequence[Settling]:
        """End the course. What was sent on it and is not heard yet is like any other settlement on its way
        now, oldest first."""
        ...


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
