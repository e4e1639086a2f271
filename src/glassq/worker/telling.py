"""Tells observers and the log what was noticed by a thread that must not wait for either."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Full, Queue

from glassq.model.events import Event
from glassq.shielding import Log
from glassq.telemetry import Bus

log = Log("glassq.worker")

_AT_MOST = 1000
"""What may wait to be told. Observers so far behind that this fills have the rest left out, and counted."""


class Teller:
    """A thread that has the time to wait.

    Renewing leases is what a slow observer or log handler must not hold up: each would cost this worker every
    lane it runs, and its jobs would run again.
    """

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._waiting: Queue[Callable[[], object] | None] = Queue(_AT_MOST)
        self._left_out = 0
        self._thread = threading.Thread(target=self._tell, name=name, daemon=True)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """While this lasts, the calling thread's events are told by the teller's thread."""
        self._thread.start()
        try:
            with self._bus.handing_on(self._hand_on):
                yield
        finally:
            self._put(None)

    def log(self, level: int, message: str, *values: object, error: BaseException | None = None) -> None:
        """Write to the log, with the traceback of `error`."""
        self._put(partial(log.log, level, message, *values, exc_info=error))

    def wait(self, patience: float) -> None:
        """Until all is told, after the end of `telling`; no longer than `patience` seconds."""
        self._thread.join(patience)

    def _hand_on(self, event: Event) -> None:
        self._put(partial(self._bus.emit, event))

    def _put(self, what: Callable[[], object] | None) -> None:
        try:
            self._waiting.put_nowait(what)
        except Full:
            self._left_out += 1
            if what is None:  # the end must be heard; what makes room for it was said too late anyway
                self._waiting.get()
                self._put(None)

    def _tell(self) -> None:
        while (what := self._waiting.get()) is not None:
            what()
            left_out, self._left_out = self._left_out, 0
            if left_out:
                log.warning("observers or the log are too slow: %d events of this worker left out", left_out)
