"""What happens around every fork of this process, whoever forks it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Protocol


class Forkable(Protocol):
    """What must be told of forks: no transaction may be half done in the child's copy of the memory."""

    def before_fork(self) -> None:
        """Wait until nothing is under way in this process, and let nothing begin."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Forget what belongs to the parent."""
        ...


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


class _Fork(threading.local):
    """The fork this thread is about to make. Another thread may be about to make one, too, and waits."""

    def __init__(self) -> None:
        self.told: list[Forkable] = []
        """Those that wait for its end: the same ones after it as before, whatever was opened meanwhile."""


_fork = _Fork()


def tell_of_forks(each: Forkable) -> None:
    """From now on, for as long as it lives."""
    _known.add(each)


def _before_fork() -> None:
    _fork.told = sorted(_known, key=id)  # in one order in all threads, or two would wait for each other
    for each in _fork.told:
        each.before_fork()


def _after(verb: Callable[[Forkable], None]) -> Callable[[], None]:
    def run() -> None:
        told, _fork.told = _fork.told, []
        for each in told:
            verb(each)

    return run


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after(lambda each: each.after_fork_in_parent()),
    after_in_child=_after(lambda each: each.after_fork_in_child()),
)
