"""What a forked child must not share with its parent: locks others held, what is each process' own."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Begins(Protocol):
    """Something that every process has for itself."""

    def begin(self) -> None:
        """Begin anew, with new locks."""


def begin_in_children(what: Begins) -> None:
    """Begin, and begin again in every forked child, before any other code runs in it. Keeps nothing alive."""
    what.begin()
    _beginning.add(what)


class Generation:
    """Which process this is of those that were forked one from another: another object after each fork."""


def generation() -> Generation:
    """This process's. To compare it costs nothing; to ask the operating system who one is would."""
    return _here


_here = Generation()
_beginning: weakref.WeakSet[Begins] = weakref.WeakSet()


def _begin_again() -> None:
    global _here  # noqa: PLW0603 - one for the process, as it is told once that it is another one
    _here = Generation()
    for each in _beginning:
        each.begin()


os.register_at_fork(after_in_child=_begin_again)
