"""A worker's doorbell: ears at the servers of its queues, and a pipe of its own."""

from __future__ import annotations

import contextlib
import math
import os
import random
import select
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Final

from glassq.errors import StorageUnavailable
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.ears import Ear

MOST_EARS: Final = 32
"""Connections a worker blocks on at most. One hears all queues of a server; in a cluster a request is about
one slot, so that each shard needs its own. Queues beyond are looked at from time to time."""
_LOOKS: Final = (1.0, 2.0)
"""Seconds between two looks at queues nobody listens to: by chance, so that workers do not look together."""


class RedisDoorbell:
    """See `glassq.storage.Doorbell`. `wait` and `close` belong to one thread, `ring` to any."""

    def __init__(
        self,
        commands: Commands,
        stream_of: Callable[[str], str],
        last: Mapping[str, str],
        leave: Callable[[Sequence[str]], None],
    ) -> None:
        self._commands = commands
        self._stream_of = stream_of
        self._queues: set[str] = set()
        self._ears: dict[Hashable, Ear] = {}
        self._look_at = math.inf
        self._leave = leave
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._lock = threading.Lock()
        self._open = True
        for queue, ring in last.items():
            self._attend(queue, ring)

    def wait(self, timeout: float | None) -> bool:
        """Until a ring or the timeout. While a server is away only `ring` is heard of its queues; when it is
        back, that counts as a ring, since there may have been one."""
        ears = list(self._ears.values())
        if timeout == 0 and not any(ear.asked for ear in ears):
            told = [self._drained(), *(ear.look() for ear in ears)]
            return any(told)
        ends = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            listening = {end: ear for ear in ears if (end := ear.listen()) is not None}
            latest = min(ends, self._look_at, *(ear.latest for ear in ears))
            ready = self._poll(listening, latest - time.monotonic())
            if self._reader in ready:
                return self._drained()
            told = [ear.heard() for end, ear in listening.items() if end in ready]
            if any(told):
                return True
            now, heard = time.monotonic(), False
            for ear in ears:
                ear.hang_up_if_silent()
            if now >= self._look_at:
                self._look_at = now + random.uniform(*_LOOKS)  # noqa: S311 - spreads workers
                heard = True
            if heard or now >= ends:
                return heard

    def ring(self) -> None:
        """Wake the waiter. A full pipe is a ring that was not heard yet."""
        with self._lock:
            if self._open:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._writer, b"!")

    def attend(self, queues: Sequence[str]) -> None:
        """Listen to more queues, from their first ring on."""
        for queue in queues:
            if queue not in self._queues:
                self._attend(queue)

    def close(self) -> None:
        """Say goodbye, if the server is there to hear it: else it finds the silence out by itself."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            os.close(self._reader)
            os.close(self._writer)
        for ear in self._ears.values():
            ear.hang_up()
        with contextlib.suppress(StorageUnavailable):
            self._leave(sorted(self._queues))

    def _attend(self, queue: str, last: str | None = None) -> None:
        self._queues.add(queue)
        stream = self._stream_of(queue)
        place = self._commands.place(stream)
        ear = self._ears.get(place)
        if ear is None:
            if len(self._ears) == MOST_EARS:
                self._look_at = min(self._look_at, time.monotonic() + _LOOKS[0])
                return
            connect, failing = partial(self._commands.wire, stream), partial(self._commands.note, stream)
            ear = self._ears[place] = Ear(connect, failing)
        ear.attend(stream, last)

    def _poll(self, listening: Mapping[int, Ear], seconds: float) -> set[int]:
        """Which of the pipe and the connections have something to read within this time."""
        poll = select.poll()
        for each in (self._reader, *listening):
            poll.register(each, select.POLLIN)
        wait = None if math.isinf(seconds) else max(0, math.ceil(seconds * 1000))
        return {each for each, _ in poll.poll(wait)}

    def _drained(self) -> bool:
        """Whether `ring` was called; each call counts once."""
        try:
            return bool(os.read(self._reader, 65536))
        except BlockingIOError:
            return False
