"""The SQLite store among the threads of one process that forks."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from glassq.model.jobs import NewJob
from glassq.stores.open import open_storage

JOB = NewJob(body=b"body")


def test_threads_may_fork_at_the_same_time(tmp_path: Path) -> None:
    """A fork that waits for the end of another one still gives the store back to the other threads."""
    storage = open_storage(f"sqlite:///{tmp_path}/jobs.db")
    failures: list[int] = []

    def fork() -> None:
        for _ in range(10):
            storage.append("q", [JOB])
            child = os.fork()
            if child == 0:
                os._exit(0)
            failures.extend(filter(None, [os.waitpid(child, 0)[1]]))

    threads = [threading.Thread(target=fork, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures
    assert storage.stats(["q"])[0].depth == 40
    storage.close()
