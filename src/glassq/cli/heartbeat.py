"""Keeps the health file fresh while a worker runs, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from glassq.errors import ConfigurationError
from glassq.observe.health import Health
from glassq.observe.heartbeat import HeartbeatFile

log = logging.getLogger("glassq.cli.heartbeat")

INTERVAL = 2.0
"""Seconds between two writes: far below the 30 s after which a probe calls the file old."""
_EAGER = 0.1
"""As `INTERVAL`, until all workers have started: whoever waits for them should not wait for the file."""


class Heartbeat:
    """Writes the file when entered and every `INTERVAL` seconds, at first more often; removes it when left.

    Entering raises `ConfigurationError` for a place that cannot be written.
    """

    def __init__(self, path: Path, health: Health) -> None:
        self._path = path
        self._file = HeartbeatFile(path)
        self._health = health
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="glassq-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._file.write(self._health)
        except OSError as error:
            raise ConfigurationError(f"--health-file: cannot write {self._path}: {error.strerror}") from error
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        try:
            self._file.remove()
        except OSError as failure:
            log.warning("cannot remove %s: %s", self._path, failure.strerror)

    def _run(self) -> None:
        writable = True
        while not self._end.wait(INTERVAL if self._health.startup().ok else _EAGER):
            try:
                self._file.write(self._health)
                writable = True
            except OSError as failure:
                # The file grows old and the probe fails, which is right; one line says why.
                if writable:
                    log.error("cannot write %s: %s", self._path, failure.strerror)  # noqa: TRY400
                writable = False
