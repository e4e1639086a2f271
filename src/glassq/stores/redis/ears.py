"""One connection that blocks on the streams of some queues, and how it is lost and found again.

`XREAD BLOCK` wakes without taking anything away, so every idle worker hears every ring. The request stays
under way between two waits: nothing has to be asked again when a timeout passed.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable
from typing import Final

from redis import exceptions

from glassq.errors import StorageUnavailable
from glassq.stores.redis.location import SOCKET_SECONDS, Wire

BLOCK_SECONDS: Final = 5.0
"""How long one request blocks: after this long and no answer the connection is known to be dead."""
_NEARLY: Final = 0.5
"""Seconds before the end of that from which on an answer may say that nothing rang."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_SILENCE: Final = BLOCK_SECONDS + SOCKET_SECONDS
"""Seconds after which an answer is overdue."""
_NEVER = "0-0"


class Ear:
    """Hears the rings of streams that are all in one place. Belongs to the thread that waits.

    `connect` opens a connection to there, and `failing` is told why one was lost.
    """

    def __init__(self, connect: Callable[[], Wire], failing: Callable[[exceptions.RedisError], None]) -> None:
        self._connect = connect
        self._failing = failing
        self._last: dict[str, str] = {}
        self._wire: Wire | None = None
        self._asked = False
        self._come = False
        """Whether the answer to the request under way is there, and was not taken in yet."""
        self._asked_at = 0.0
        self._pause = _FIRST_PAUSE
        self._try_at = math.inf  # who listens to nothing needs no connection

    def attend(self, stream: str, last: str | None = None) -> None:
        """Listen to one more stream, from the ring after its `last` one on, or from its first. A request
        under way does not know it."""
        self._last[stream] = last or _NEVER
        self._drop_wire()
        self._try_at = 0.0

    @property
    def asked(self) -> bool:
        """Whether a request is under way that may still be answered."""
        return self._asked and not self._come

    @property
    def latest(self) -> float:
        """When to come back at the latest, by the monotonic clock: to try again, or to give up waiting."""
        return self._try_at if self._wire is None else self._asked_at + _SILENCE

    def listen(self) -> int | None:
        """The descriptor the answer to the request under way comes on; None while the server is away."""
        if self._come:
            self._take_in()
        if self._connected() is None:
            return None
        if not self._asked and not self._ask("BLOCK", int(BLOCK_SECONDS * 1000)):
            return None
        # Only its descriptor lets one thread wait for the server and for its own process at once.
        end = self._wire._sock if self._wire is not None else None  # noqa: SLF001
        return None if end is None else end.fileno()

    def look(self) -> bool:
        """Whether something rang up to now. One round trip."""
        if self._come:
            self._take_in()
        if self._connected() is None or not self._ask():
            return False
        return self._take_in()

    def heard(self) -> bool:
        """Something has come; whether something rang. What it was is read when it is asked for again: whoever
        is woken is in a hurry, and before a request is over only rings answer it (or its connection ends)."""
        self._come = True
        if time.monotonic() - self._asked_at < BLOCK_SECONDS - _NEARLY:
            return True
        return self._take_in()

    def hang_up_if_silent(self) -> None:
        """Give a connection up on which an answer is overdue."""
        if self.asked and time.monotonic() >= self.latest:
            self.hang_up()

    def hang_up(self) -> None:
        """Without a connection: heard again from the first ring on, as some may have been missed."""
        self._drop_wire()
        self._last = dict.fromkeys(self._last, _NEVER)
        self._try_at = time.monotonic() + random.uniform(0, self._pause)  # noqa: S311 - spreads clients
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _connected(self) -> Wire | None:
        if self._wire is None and time.monotonic() >= self._try_at:
            try:
                wire = self._connect()
                wire.connect()
            except exceptions.RedisError as error:
                self._failing(error)
                self.hang_up()
            except StorageUnavailable:
                self.hang_up()
            else:
                self._wire = wire
        return self._wire

    def _ask(self, *block: str | int) -> bool:
        """Send the request; False when the connection broke."""
        assert self._wire is not None  # noqa: S101 - callers have connected
        try:
            self._wire.send_command("XREAD", *block, "STREAMS", *self._last, *self._last.values())
        except exceptions.RedisError:
            self.hang_up()
            return False
        self._asked = True
        self._asked_at = time.monotonic()
        return True

    def _take_in(self) -> bool:
        """Read the answer to the request under way; whether something rang."""
        assert self._wire is not None  # noqa: S101 - callers have asked
        self._come = False
        try:
            answer = self._wire.read_response()
        except exceptions.RedisError as error:
            self._failing(error)
            self.hang_up()
            return False
        self._asked = False
        self._pause = _FIRST_PAUSE
        for stream, entries in answer or ():
            self._last[stream.decode()] = entries[-1][0].decode()
        return bool(answer)

    def _drop_wire(self) -> None:
        wire, self._wire = self._wire, None
        self._asked = self._come = False
        if wire is not None:
            with contextlib.suppress(exceptions.RedisError):
                wire.disconnect()
