"""What happens all the time and nearly always in the same way: noted in passing, and counted all together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import chain
from typing import Final, Generic, TypeVar

MOST: Final = 500
"""So many are noted before they are counted."""

T = TypeVar("T")


class Batch(Generic[T]):
    """Notes of one kind. `count` is called with all of them, holding the lock: when somebody looks
    (`settle`), and when there are about `most` of them.

    To note takes no lock: adding to a deque is one step of the interpreter, and so is taking out, also for a
    signal handler that notes something while its thread counts. What is noted together is one entry in it.
    How many there are may be reckoned too low where two threads note at once: then these are counted later.
    """

    __slots__ = ("_count", "_lock", "_most", "_noted", "_notes")

    def __init__(
        self, lock: AbstractContextManager[object], count: Callable[[Sequence[T]], None], *, most: int = MOST
    ) -> None:
        self._count = count
        self._most = most
        self.begin(lock)

    def begin(self, lock: AbstractContextManager[object]) -> None:
        """Begin, here and in a forked child: what the parent noted the parent counts."""
        self._lock = lock
        self._notes: deque[Sequence[T]] = deque()
        self._noted = 0

    def note(self, what: T) -> None:
        """To be counted, sooner or later."""
        self.note_all((what,))

    def note_all(self, whats: Sequence[T]) -> None:
        """The same of several, which stay as they are."""
        self._notes.append(whats)
        self._noted += len(whats)
        if self._noted >= self._most:
            self.settle()

    def settle(self) -> None:
        """Count what was noted."""
        taken: list[Sequence[T]] = []
        notes = self._notes
        self._noted = 0
        # Until there are no more: what was taken out is in the list then. Another thread, or a signal handler
        # in this one, may take out of it, too.
        with suppress(IndexError):
            taken.extend(iter(notes.popleft, notes))
        if whats := [*chain.from_iterable(taken)]:
            with self._lock:
                self._count(whats)
