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
    signal handler that notes something while its thread counts. What is noted together is one entry. How many
    came so may be reckoned too low where two threads note at once: then these are counted later.
    """

    __slots__ = ("_came", "_count", "_lock", "_most", "_notes", "_several")

    def __init__(
        self, lock: AbstractContextManager[object], count: Callable[[Sequence[T]], None], *, most: int = MOST
    ) -> None:
        self._count = count
        self._most = most
        self.begin(lock)

    def begin(self, lock: AbstractContextManager[object]) -> None:
        """Begin, here and in a forked child: what the parent noted the parent counts."""
        self._lock = lock
        self._notes: deque[T] = deque()
        self._several: deque[Sequence[T]] = deque()
        self._came = 0

    def note(self, what: T) -> None:
        """To be counted, sooner or later."""
        notes = self._notes
        notes.append(what)
        if len(notes) >= self._most:
            self.settle()

    def note_all(self, whats: Sequence[T]) -> None:
        """The same of several, which stay as they are."""
        self._several.append(whats)
        self._came += len(whats)
        if self._came >= self._most:
            self.settle()

    def settle(self) -> None:
        """Count what was noted."""
        self._came = 0
        several: list[Sequence[T]] = _taken(self._several)
        taken = [*_taken(self._notes), *chain.from_iterable(several)]
        if taken:
            with self._lock:
                self._count(taken)


def _taken(entries: deque[T]) -> list[T]:
    """All that is there."""
    taken: list[T] = []
    # Until there are no more: what was taken out is in the list then. Another thread, or a signal handler in
    # this one, may take out of it, too.
    with suppress(IndexError):
        taken.extend(iter(entries.popleft, entries))
    return taken
