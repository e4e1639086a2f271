"""The SQLite store among the threads of one process: shared commits, and forks."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from glassq.errors import QueueFull, StorageUnavailable
from glassq.model.jobs import Appended, NewJob
from glassq.stores.open import open_storage
from glassq.stores.sqlite.store import SqliteStorage
from tests.processes import wait_until

JOB = NewJob(body=b"body")


def test_threads_that_wait_share_a_commit(tmp_path: Path) -> None:
    """While another process writes, eight threads append: one is first, the next one commits for all. Each
    gets its own answer, and the two for which there is no room are told so, whoever committed theirs."""
    storage = SqliteStorage.open(f"sqlite:///{tmp_path}/jobs.db")
    storage.append("q", [JOB])
    answers: list[Appended | QueueFull] = []

    def append() -> None:
        try:
            answers.extend(storage.append("q", [JOB], max_length=7))
        except QueueFull as full:
            answers.append(full)

    statements: list[str] = []
    storage._connections._writer.set_trace_callback(statements.append)  # type: ignore[union-attr]
    threads = [threading.Thread(target=append) for _ in range(8)]
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for thread in threads:
            thread.start()
        waiting = storage._connections._commits._waiting
        wait_until(lambda: len(waiting) == 7, "seven that wait", lambda: waiting)
        other.execute("COMMIT")
    for thread in threads:
        thread.join(10)
    assert statements.count("COMMIT") == 2
    assert sum(isinstance(answer, QueueFull) for answer in answers) == 2
    seqs = sorted(answer.seq or 0 for answer in answers if isinstance(answer, Appended))
    assert seqs == [2, 3, 4, 5, 6, 7]
    assert [record.job.seq for record in storage.waiting("q", 10)] == [1, *seqs]
    storage.close()


def test_a_queue_that_was_not_made_is_not_remembered(tmp_path: Path) -> None:
    """Eight threads append to a queue nobody has made while a ninth writes: one of them is refused, and what
    they shared is undone. No other one took a queue for made that was undone."""
    storage = SqliteStorage.open(f"sqlite:///{tmp_path}/jobs.db")
    answers: list[Appended] = []
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON jobs WHEN new.lane = 'refused'"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        refused: list[StorageUnavailable] = []

        def append(lane: str) -> None:
            try:
                answers.extend(storage.append("q", [NewJob(body=b"body", lane=lane)]))
            except StorageUnavailable as error:
                refused.append(error)

        lanes = ["a", "b", "c", "refused", "d", "e", "f", "g"]
        threads = [threading.Thread(target=storage.append, args=("another", [JOB]))]
        threads += [threading.Thread(target=append, args=(lane,)) for lane in lanes]
        other.execute("BEGIN IMMEDIATE")
        threads[0].start()
        waiting = storage._connections._commits._waiting
        wait_until(lambda: _has_turn(storage), "one that writes", lambda: waiting)
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: len(waiting) == 8, "eight that wait", lambda: waiting)
        other.execute("COMMIT")
    for thread in threads:
        thread.join(10)
    assert len(refused) == 1
    assert sorted(answer.seq or 0 for answer in answers) == [1, 2, 3, 4, 5, 6, 7]
    assert storage.stats(["q"])[0].ready == 7
    assert storage.append("q", [JOB])[0].seq == 8
    storage.close()


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


def _has_turn(storage: SqliteStorage) -> bool:
    """Whether another thread has the turn to write."""
    turn = storage._connections._commits._turn
    free = turn.acquire(blocking=False)
    if free:
        turn.release()
    return not free
