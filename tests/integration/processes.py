"""Starts the ledger program as real processes and waits for what they write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.ledger import entries
from tests.processes import wait_until


class Stage:
    """One store, one log, and the processes started on them."""

    def __init__(self, folder: Path, url: str, **environment: str) -> None:
        self.log = folder / "ledger.jsonl"
        self.url = url
        self.environment = {
            **os.environ,
            "GLASSQ_URL": url,
            "LEDGER": str(self.log),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONWARNINGS": "error",
            **environment,
        }
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """A ledger process in this role."""
        program = Path(__file__).with_name("ledger.py")
        child = subprocess.Popen(
            [sys.executable, program, *arguments], env={**self.environment, **environment}
        )
        self._children.append(child)
        return child

    def worker(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """A worker process that has come up."""
        before = len(self.entries("up"))
        child = self.start("work", *arguments, **environment)
        self.wait_for(lambda: len(self.entries("up")) > before, "the worker to come up")
        return child

    def entries(self, *events: str) -> list[dict[str, Any]]:
        """The log so far."""
        return entries(self.log, *events)

    def wait_for(self, condition: Callable[[], bool], what: str, timeout: float = 60) -> None:
        """Wait for an event another process causes; fails loudly, never goes on without it."""
        wait_until(condition, what, lambda: f"log: {self.entries()[-5:]}", timeout)

    def end(self) -> None:
        """Nothing outlives a test."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()


@contextmanager
def staged(folder: Path, url: str, **environment: str) -> Iterator[Stage]:
    """A stage whose processes are gone at the end."""
    stage = Stage(folder, url, **environment)
    try:
        yield stage
    finally:
        stage.end()
