"""Tells observers and the log what was noticed by a thread that must not wait for either."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue

from glassq.model.events import Event, StorageCalled
from glassq.shielding import Log
from glassq.telemetry import Bus

log = Log("glassq.worker")

_AT_MOST = 1000
"""What may wait to be told before further calls of the store are left out, and counted. Whatever else there
is to tell is rare, and some of it must never be missed (a lost lane, a loss of data)."""


class Teller:
    """A thread that has the time to wait.

    Renewing leases is what a slow observer or log handler must not hold up: each would cost this worker every
    lane it runs, and its jobs would run again. One thread hands on, once, while `telling` lasts.
    """

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._left_out = 0
        self._thread = threading.Thread(target=self._tell, name=name, daemon=True)

    def start(self) -> None:
        """Begin to tell. `RuntimeError` when the system gives no thread."""
        self._thread.start()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """While this lasts, the calling thread's events are told by the teller's thread."""
        try:
            with self._bus.handing_on(self._hand_on):
                yield
        finally:
            self._waiting.put(None)

    def log(self, level: int, message: str, *values: object, error: BaseException | None = None) -> None:
        """Write to the log, with the traceback of `error`."""
        self._waiting.put(partial(log.log, level, message, *values, exc_info=error))

    def wait(self, patience: float) -> None:
        """Until all is told, after the end of `telling`; no longer than `patience` seconds. What is left then
        is told when its turn comes, if the process lives that long."""
        self._thread.join(patience)

    def _hand_on(self, event: Event) -> None:
        if isinstance(event, StorageCalled) and self._waiting.qsize() >= _AT_MOST:
            self._left_out += 1
        else:
            self._waiting.put(partial(self._bus.emit, event))

    def _tell(self) -> None:
        known = 0
        while (what := self._waiting.get()) is not None:
            what()
            known = self._say_left_out(known)
        self._say_left_out(known)

    def _say_left_out(self, known: int) -> int:
        """Say how many calls were left out since the last time; how many there are now."""
        left_out = self._left_out  # only grows, and only in the other thread
        if left_out > known:
            log.warning(
                "observers or the log are too slow: %d calls of the store were told to nobody",
                left_out - known,
            )
        return left_out
