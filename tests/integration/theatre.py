"""Runs the programs of an example as processes, on one store, with one receiver of their traces."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from glassq.cli.demo.otlp import Span, SpanCollector
from tests.integration.processes import Stage
from tests.processes import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
WORKER = "glassq-worker"


class Theatre:
    """Programs of an example on one store, which export to one collector."""

    def __init__(self, folder: Path, url: str, example: str, collector: SpanCollector) -> None:
        self.collector = collector
        self._folder = folder
        self._environment = {
            **Stage(folder, url).environment,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "PYTHONPATH": str(EXAMPLES / example),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "default",  # what web servers deprecate is not ours
        }
        self._ending = ExitStack()

    def command(self, service: str, *words: str) -> str:
        """Run a program to its end; what it printed."""
        ended = subprocess.run(
            [sys.executable, *words],
            cwd=self._folder,
            env={**self._environment, "OTEL_SERVICE_NAME": service},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def start(self, name: str, *words: str, **environment: str) -> subprocess.Popen[str]:
        """A program that runs until the theatre closes; traces and its log are under this name."""
        log = self._ending.enter_context((self._folder / f"{name}.log").open("w"))
        child = subprocess.Popen(
            [sys.executable, *words],
            cwd=self._folder,
            env={**self._environment, "OTEL_SERVICE_NAME": name, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._ending.callback(_end, child)
        return child

    def worker(self, application: str, name: str = WORKER, **environment: str) -> str:
        """`glassq worker`; the address of its pages."""
        words = ("-m", "glassq", "worker", application, "--http", "127.0.0.1:0")
        self.start(name, *words, **{"OTEL_SERVICE_NAME": WORKER, **environment})
        return self.address(name)

    def address(self, name: str) -> str:
        """Where the pages of a program are, as it says itself."""
        wait_until(lambda: "/metrics" in self.log(name), f"the address of {name}", lambda: self.log(name))
        return self.log(name).partition("/metrics")[0].split()[-1]

    def log(self, service: str) -> str:
        """What a program printed so far."""
        return (self._folder / f"{service}.log").read_text()

    def spans(self, enough: Callable[[Sequence[Span]], bool]) -> list[Span]:
        """The exported spans, once there are enough of them."""
        seen = self.collector.wait_for(lambda all_: list(all_) if enough(all_) else None, timeout=60)
        assert seen is not None, "the spans of all jobs"
        return seen

    def close(self) -> None:
        """Nothing outlives a test."""
        self._ending.close()


def _end(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(timeout=30)
    finally:
        child.kill()


def fetch(url: str, method: str = "GET") -> str:
    """The body of a page."""
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as response:
        body: str = response.read().decode()
    return body


def answers(url: str) -> bool:
    """Whether somebody listens there already."""
    try:
        fetch(url)
    except OSError as error:
        return hasattr(error, "code")
    return True
