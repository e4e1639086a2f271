"""A worker's doorbell: one connection that blocks on the streams of its queues, and a pipe of its own.

`XREAD BLOCK` wakes without taking anything away, so every idle worker hears every ring. The request
stays under way between two waits: nothing has to be asked again when the pipe rang or a timeout passed.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from redis import exceptions

from glassq.errors import StorageUnavailable
from glassq.stores.redis.location import SOCKET_SECONDS, Wire

BLOCK_SECONDS: Final = 5.0
"""How long one request blocks: after this long and no answer the connection is known to be dead."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_NEVER = "0-0"


class RedisDoorbell:
    """See `glassq.storage.Doorbell`. `wait` and `close` belong to one thread, `ring` to any."""

    def __init__(
        self,
        connect: Callable[[], Wire],
        stream_of: Callable[[str], str],
        last: Mapping[str, str],
        leave: Callable[[Sequence[str]], None],
    ) -> None:
        self._connect = connect
        self._stream_of = stream_of
        self._queues = set(last)
        self._last = {stream_of(queue): ring for queue, ring in last.items()}
        self._leave = leave
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._lock = threading.Lock()
        self._open = True
        self._wire: Wire | None = None
        self._asked = False
        self._silent_at = 0.0
        self._pause = _FIRST_PAUSE
        # Who listens to no queue is woken by its own process alone.
        self._try_at = 0.0 if self._last else math.inf

    def wait(self, timeout: float | None) -> bool:
        """Until a ring or the timeout. While the server is away only `ring` is heard; when it is back, that
        counts as a ring, since there may have been one."""
        if timeout == 0 and not self._asked:
            return self._drained() or self._look()
        ends = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            answer = self._listen()
            latest = self._silent_at if answer is not None else self._try_at
            ready = self._poll(answer, min(ends, latest) - time.monotonic())
            if self._reader in ready:
                return self._drained()
            if answer in ready:
                if self._heard():
                    return True
            elif answer is not None and time.monotonic() >= self._silent_at:
                self._hang_up()
            if time.monotonic() >= ends:
                return False

    def ring(self) -> None:
        """Wake the waiter. A full pipe is a ring that was not heard yet."""
        with self._lock:
            if self._open:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._writer, b"!")

    def attend(self, queues: Sequence[str]) -> None:
        """Listen to more queues, from their first ring on. The request under way does not know them."""
        new = set(queues) - self._queues
        if new:
            self._queues |= new
            self._last |= dict.fromkeys(map(self._stream_of, new), _NEVER)
            self._drop_wire()
            self._try_at = 0.0

    def close(self) -> None:
        """Say goodbye, if the server is there to hear it: else it finds the silence out by itself."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            os.close(self._reader)
            os.close(self._writer)
        self._hang_up()
        with contextlib.suppress(StorageUnavailable):
            self._leave(sorted(self._queues))

    def _look(self) -> bool:
        """Whether something rang up to now. One round trip."""
        if self._connected() is None or not self._ask():
            return False
        return self._heard()

    def _listen(self) -> int | None:
        """The descriptor the answer to the request under way comes on; None while the server is away."""
        if self._connected() is None:
            return None
        if not self._asked and not self._ask("BLOCK", int(BLOCK_SECONDS * 1000)):
            return None
        # Only its descriptor lets one thread wait for the server and for its own process at once.
        end = self._wire._sock if self._wire is not None else None  # noqa: SLF001
        return None if end is None else end.fileno()

    def _connected(self) -> Wire | None:
        if self._wire is None and time.monotonic() >= self._try_at:
            try:
                wire = self._connect()
                wire.connect()
            except (exceptions.RedisError, StorageUnavailable):
                self._hang_up()
            else:
                self._wire = wire
        return self._wire

    def _ask(self, *block: str | int) -> bool:
        """Send the request; False when the connection broke."""
        assert self._wire is not None  # noqa: S101 - callers have connected
        try:
            self._wire.send_command("XREAD", *block, "STREAMS", *self._last, *self._last.values())
        except exceptions.RedisError:
            self._hang_up()
            return False
        self._asked = True
        self._silent_at = time.monotonic() + SOCKET_SECONDS + BLOCK_SECONDS
        return True

    def _heard(self) -> bool:
        """Take the answer to the request under way; whether something rang."""
        assert self._wire is not None  # noqa: S101 - callers have asked
        try:
            answer = self._wire.read_response()
        except exceptions.RedisError:
            self._hang_up()
            return False
        self._asked = False
        self._pause = _FIRST_PAUSE
        for stream, entries in answer or ():
            self._last[stream.decode()] = entries[-1][0].decode()
        return bool(answer)

    def _hang_up(self) -> None:
        """Without a connection: heard again from the first ring on, as some may have been missed."""
        self._drop_wire()
        self._last = dict.fromkeys(self._last, _NEVER)
        self._try_at = time.monotonic() + random.uniform(0, self._pause)  # noqa: S311 - spreads clients
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _drop_wire(self) -> None:
        wire, self._wire = self._wire, None
        self._asked = False
        if wire is not None:
            with contextlib.suppress(exceptions.RedisError):
                wire.disconnect()

    def _poll(self, answer: int | None, seconds: float) -> set[int]:
        """Which of the pipe and the connection has something to read within this time."""
        poll = select.poll()
        for each in (self._reader, answer):
            if each is not None:
                poll.register(each, select.POLLIN)
        wait = None if math.isinf(seconds) else max(0, math.ceil(seconds * 1000))
        return {each for each, _ in poll.poll(wait)}

    def _drained(self) -> bool:
        """Whether `ring` was called; each call counts once."""
        try:
            return bool(os.read(self._reader, 65536))
        except BlockingIOError:
            return False
