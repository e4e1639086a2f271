"""Producer sessions: what makes an append safe to repeat."""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager

from glassq.forking import begin_in_children


class Session:
    """A name no other producer has, and the numbers it gave. Used by one append at a time, so that numbers
    arrive in order: the server keeps only the last one."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(6)
        self._last = 0

    def take(self, count: int) -> int:
        """The first of `count` new numbers. Those of an append that failed are never used again."""
        first = self._last + 1
        self._last += count
        return first


class Sessions:
    """As many sessions as there are appends at the same time. Thread-safe; a forked child begins anew."""

    def __init__(self) -> None:
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child.

        Sharing a session with the parent would make the server take one's jobs for repetitions of the
        other's, and drop them.
        """
        self._idle: list[Session] = []

    def session(self) -> AbstractContextManager[Session]:
        """A session for one append."""
        return _Loan(self._idle)


class _Loan(AbstractContextManager[Session]):
    """A session while it is used. It is taken and given back in one step each, which needs no lock. A class,
    because a generator costs each append a microsecond more."""

    __slots__ = ("_idle", "_session")

    def __init__(self, idle: list[Session]) -> None:
        self._idle = idle

    def __enter__(self) -> Session:
        try:
            self._session = self._idle.pop()
        except IndexError:
            self._session = Session()
        return self._session

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Not given back after a failure: a request that is still on its way would meet a later number.
        if kind is None:
            self._idle.append(self._session)
