"""Producer sessions: what makes an append safe to repeat."""

from __future__ import annotations

import secrets

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

    def take(self) -> Session:
        """A session for one append. Taking one and giving it back are one step each, which needs no lock."""
        try:
            return self._idle.pop()
        except IndexError:
            return Session()

    def give_back(self, session: Session) -> None:
        """The append was answered. Not after a failure: a request that is still on its way would meet a later
        number."""
        self._idle.append(session)
