"""What happens around every fork of this process, whoever forks it."""

from __future__ import annotations

import os
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
_forking: list[Forkable] = []
"""Those that wait for the end of a fork: the same ones after it as before, whatever was opened meanwhile."""


def tell_of_forks(each: Forkable) -> None:
    """From now on, for as long as it lives."""
    _known.add(each)


def _before_fork() -> None:
    _forking[:] = list(_known)
    for each in _forking:
        each.before_fork()


def _after(verb: Callable[[Forkable], None]) -> Callable[[], None]:
    def run() -> None:
        for each in _forking:
            verb(each)
        _forking.clear()

    return run


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after(lambda each: each.after_fork_in_parent()),
    after_in_child=_after(lambda each: each.after_fork_in_child()),
)
