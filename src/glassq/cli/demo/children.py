"""The demo's real processes: workers started through the real command line, and the producer."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from glassq.cli.demo.settings import CONCURRENCY, PRODUCER, QUEUE, RECEIVER, TARGET

_OWN = ("GLASSQ_", "OTEL_")
"""Variables of the caller that must not steer the demo's processes."""


class ChildFailed(Exception):
    """When a process of the demo ends, or stays silent, although the demo needs it."""


class Child:
    """One process; its output is read line by line, its errors go to a file. It ends with the context."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: dict[str, str],
        log: Path,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self._log = log
        self._on_line = on_line
        self._lines: list[str] = []
        self._changed = threading.Condition()
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules under our own interpreter
                [sys.executable, "-m", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                process_group=0,  # Ctrl-C reaches the demo alone; it stops its children itself
            )
        self._reader = threading.Thread(target=self._read, name=f"read {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code (negative for a signal), None while it runs."""
        return self._process.poll()

    def wait_for_line(self, pattern: str, timeout: float) -> re.Match[str]:
        """The first match of `pattern` in its output; `ChildFailed` when it ends before or takes longer."""
        ends = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self._lines:
                    if found := re.search(pattern, line):
                        return found
                left = ends - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    raise ChildFailed(f"{self.name} did not start{self.last_words()}")
                self._changed.wait(min(left, 0.5))

    def last_words(self) -> str:
        """The end of what it wrote to standard error, as part of a message."""
        lines = self._log.read_text(errors="replace").strip().splitlines()[-12:]
        return ":\n  " + "\n  ".join(lines) if lines else ""

    def kill(self) -> None:
        """`kill -9`: no chance to say good-bye."""
        self._process.kill()

    def wait(self, timeout: float) -> int | None:
        """Its exit code, None when it is still running after `timeout` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self.exit_code

    def stop(self, timeout: float) -> int | None:
        """Ask it to stop (SIGTERM) and wait; None when it did not within `timeout` seconds."""
        self._process.terminate()
        return self.wait(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # On the way out through an error or Ctrl-C nobody waits for a drain.
        if self.exit_code is None and self.stop(2.0 if kind else 10.0) is None:
            self.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was opened as a pipe
        with self._process.stdout as output:
            for line in output:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
                if self._on_line is not None:
                    self._on_line(line.strip())


class Surroundings:
    """What all processes of one run share: the store, the queue, the receiver, where spans go."""

    def __init__(self, *, url: str, queue: str, receiver: str, otlp: str, scratch: Path) -> None:
        self._scratch = scratch
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        self._environment = kept | {
            "GLASSQ_URL": url,
            QUEUE: queue,
            RECEIVER: receiver,
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
            "OTEL_BSP_SCHEDULE_DELAY": "250",  # ms; the default of 5 s would outlast the demo
            "NO_PROXY": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
        }

    def worker(self, name: str) -> Child:
        """A worker process, started as a user would start it."""
        options = ["--concurrency", str(CONCURRENCY), "--http", "127.0.0.1:0", "--log-level", "warning"]
        return self._child(name, ["glassq", "worker", TARGET, *options], None)

    def producer(self, seconds: float, on_event: Callable[[str], None]) -> Child:
        """The producer process; `on_event` hears the id of every event it has enqueued."""
        return self._child("producer", [PRODUCER, str(seconds)], on_event)

    def _child(self, name: str, arguments: Sequence[str], on_line: Callable[[str], None] | None) -> Child:
        environment = self._environment | {"OTEL_SERVICE_NAME": name}
        log = self._scratch / f"{name.replace(' ', '-')}.log"
        return Child(name, arguments, environment, log, on_line)
