"""What every test of real processes needs: waiting for them, and seeing what state they are in."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK = 0.005


def wait_until(
    condition: Callable[[], object],
    what: str,
    evidence: Callable[[], object],
    timeout: float = 60,
    *,
    every: float = _LOOK,
) -> None:
    """Wait for an event another process causes; fails loudly with `evidence`, never goes on without it.
    `every` is how often to look, where looking costs something."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what}; {evidence()}")
        time.sleep(every)


@contextmanager
def quiet(url: str) -> Iterator[None]:
    """Nobody is in the middle of a transaction: a process stopped there keeps a SQLite file locked."""
    if not url.startswith("sqlite"):
        yield
        return
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def state_of(pid: int) -> str:
    """The state the kernel shows for a process: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
