"""A server that is away, as all threads of a process see it: one of them knocks, for all."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

from redis import exceptions

from glassq.forking import begin_in_children

_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 1.0
"""Seconds between two knocks: short enough to be back before leases end, long enough to be no burden to a
server that starts. With the doorbell's a process stays below five a second, however many lanes it runs."""


class Outage:
    """Lets everybody through while the server answers, and one thread at a time while it does not.

    Who was let through says what came of it (`met`, `answered`), and in any case gives its turn back. `over`
    is called when an outage has ended, by the thread that found out.
    Thread-safe; a forked child begins without an outage.
    """

    def __init__(self, over: Callable[[], None] | None = None) -> None:
        self._over = over
        self._ended = False
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: another thread of the parent may have held the lock."""
        self._changed = threading.Condition()
        self.error: exceptions.RedisError | None = None
        """What keeps everybody from the server now, if anything does."""
        self._knocker: int | None = None
        self._longest = _FIRST_WAIT
        self._since = 0.0
        self._try_at = 0.0

    def hinders(self, deadline: float) -> exceptions.RedisError | None:
        """Wait until this thread may ask the server; at the deadline, what still keeps it from that."""
        if self.error is None:
            return None
        with self._changed:
            while self.error is not None:
                if self._ended:
                    return None  # whoever asks finds the store closed
                now = time.monotonic()
                if self._knocker is None and now >= self._try_at:
                    self._knocker = threading.get_ident()
                    self._put_off()  # the others wait for what comes of this try
                    return None
                if now >= deadline:
                    return self.error
                until = deadline if self._knocker is not None else min(self._try_at, deadline)
                self._changed.wait(until - now)
        return None

    def met(self, error: exceptions.RedisError) -> None:
        """The server was not to be reached, or did not answer."""
        with self._changed:
            if self.error is None:
                # One broken connection is no outage yet: whoever comes next may try at once.
                self._since = self._try_at = time.monotonic()
                self._longest = _FIRST_WAIT
            self.error = error

    def answered(self, asked: float) -> None:
        """The server answered what it was asked at this time: whoever waits may go on.

        What was asked before the outage proves nothing: its answer may have been on its way already.
        """
        if self.error is not None and asked >= self._since:
            with self._changed:
                first, self.error = self.error is not None, None
                self._changed.notify_all()
            if first and self._over is not None:
                self._over()

    def give_back(self) -> None:
        """Let the next one knock, if this thread did."""
        if self._knocker is not None and self._knocker == threading.get_ident():
            with self._changed:
                self._knocker = None
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait, unless the store is closed."""
        if seconds > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._ended, seconds)

    def end(self) -> None:
        """Wake everybody: the store is closed."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put_off(self) -> None:
        self._try_at = time.monotonic() + random.uniform(0, self._longest)  # noqa: S311 - spreads clients
        self._longest = min(2 * self._longest, _LONGEST_WAIT)
