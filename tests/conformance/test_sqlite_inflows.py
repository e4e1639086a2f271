"""A process that goes on putting jobs into a lane of the embedded store: none is seen not to be counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from glassq.errors import QueueFull
from glassq.model.jobs import Appended, Dedup, Disposition, NewJob
from glassq.model.leases import Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.stores.sqlite.location import Location
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.clock import FakeClock

QUEUE = "orders"
ALICE = Owner("alice", "first")
JOB = NewJob(body=b"job", lane="a")
JOBS, UNCOUNTED = 6, 3
"""Jobs put into a lane, and how many of them by an inflow. The first opens the lane; for the second it is
looked up, as somebody else has written; with the third the inflow begins."""


class World:
    """A file, which two processes have open, and its clock. `inflows`: whether there are any."""

    def __init__(self, path: Path, *, inflows: bool = True) -> None:
        self.path = path
        self.clock = FakeClock()
        self._inflows = inflows
        self.store, self.other = (SqliteStorage(Location(path=path), clock=self.clock) for _ in "12")
        self.store._producer, self.other._producer = "one", "other"
        self.append()
        with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
            stranger.execute("UPDATE queues SET incarnation = 'life'")

    def append(self, job: NewJob = JOB, **options: Any) -> Appended:
        """Put one job in."""
        if not self._inflows:
            self.store._known.version = None  # nothing is known, nor that others have not written
        return self.store.append(QUEUE, [job], **options)[0]

    def fill(self) -> None:
        """Put the other jobs in."""
        for number in range(1, JOBS):
            assert self.append().seq == number + 1

    def uncounted(self) -> int:
        """How many jobs are in the tables and not counted, as a stranger sees it."""
        with closing(sqlite3.connect(self.path)) as stranger:
            last = stranger.execute("SELECT max(jobs.seq) - queues.seq FROM jobs, queues").fetchone()[0]
        return int(last or 0)

    def seen(self) -> tuple[Any, ...]:
        """What there is to see."""
        waiting = [(each.lane, each.job.seq) for each in self.other.waiting(QUEUE, 100)]
        return self.other.stats([QUEUE])[0], waiting, self.other.report(ALICE, [QUEUE])

    def close(self) -> None:
        """Both processes go."""
        self.store.close()
        self.other.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One in which jobs were put in."""
    with closing(World(tmp_path / "jobs.db")) as made:
        made.fill()
        assert made.uncounted() == UNCOUNTED
        yield made


def run(store: SqliteStorage, jobs: int) -> list[SettleStatus]:
    """Claim the lane and run so many of its jobs, one by one."""
    grant = store.claim(ALICE, [QUEUE], lanes=1, window=9, lease_seconds=15).grants[0]
    return [
        store.settle(ALICE, [Settlement(lease=grant.lease, job_id=job.id, action=Action.ACK, window=9)])[
            0
        ].status
        for job in grant.jobs[:jobs]
    ]


def test_a_job_that_is_put_in_is_one_statement_that_is_committed_when_it_returns(world: World) -> None:
    """What is acknowledged survives the process; and it costs no transaction of several statements."""
    writer = world.store._connections._writer
    assert writer is not None
    statements: list[str] = []
    writer.set_trace_callback(statements.append)
    assert world.append().seq == JOBS + 1
    assert not writer.in_transaction
    assert [each.partition(" ")[0] for each in statements] == ["INSERT"]
    with closing(sqlite3.connect(world.path)) as stranger:
        assert stranger.execute("SELECT count(*), max(seq) FROM jobs").fetchone() == (JOBS + 1, JOBS + 1)


NEWS: dict[str, Callable[[SqliteStorage], object]] = {
    "jobs were appended": lambda store: store.append(QUEUE, [JOB] * 3),
    "a job for another lane": lambda store: store.append(QUEUE, [NewJob(body=b"job", lane="b")]),
    "a job of a higher level": lambda store: store.append(QUEUE, [NewJob(body=b"job", lane="a", level=5)]),
    "a unique job": lambda store: store.append(QUEUE, [NewJob(body=b"job", lane="a", dedup=Dedup("only"))]),
    "a job for later": lambda store: store.append(QUEUE, [NewJob(body=b"job", lane="a", due=9.0)]),
    "the lane was claimed": lambda store: (
        store.claim(ALICE, [QUEUE], lanes=1, window=9, lease_seconds=15).found
    ),
    "some jobs were run": lambda store: run(store, 2),
    "all jobs were run": lambda store: run(store, JOBS),
    "the queue was paused": lambda store: store.pause(QUEUE),
    "what waits was taken away": lambda store: store.purge(QUEUE, dead=False),
    "the last job was cancelled": lambda store: store.cancel(f"{QUEUE}/one:{JOBS}"),
    "somebody looked": lambda store: (store.stats([QUEUE]), store.waiting(QUEUE, 20)),
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("by", ["this process", "another one"])
@pytest.mark.parametrize("news", list(NEWS))
def test_whatever_happens_finds_all_jobs_counted(tmp_path: Path, news: str, by: str) -> None:
    """O1, and figures: answers, what is left and what comes in later are as where each job was counted."""
    told: list[Any] = []
    for inflows in (True, False):
        with closing(World(tmp_path / f"{inflows}.db", inflows=inflows)) as world:
            world.fill()
            assert world.uncounted() == (UNCOUNTED if inflows else 0)
            answer = NEWS[news](world.store if by == "this process" else world.other)
            later = [world.append() for _ in range(3)]
            told.append((answer, [(each.seq, each.found) for each in later], world.seen()))
            assert world.uncounted() == 0
    assert told[0] == told[1]


def test_another_lane_has_an_inflow_of_its_own(world: World) -> None:
    """Lanes that jobs are put into in turns share the queue's sequences."""
    for _ in range(3):
        world.append(NewJob(body=b"job", lane="b"))
        world.append()
    assert world.uncounted() == 3
    assert [seq for _, seq in world.seen()[1]] == list(range(1, JOBS + 7))
    assert world.seen()[0].enqueued == JOBS + 6


def test_what_a_killed_process_put_in_is_counted(world: World) -> None:
    """And seen to have come when it did: nobody takes its last moment for a jump of the clock."""
    world.clock.advance(0.9)
    world.append()
    world.clock.advance(0.9)
    assert world.other.append(QUEUE, [JOB])[0].seq == JOBS + 2
    assert world.uncounted() == 0
    with closing(sqlite3.connect(world.path)) as stranger:
        assert stranger.execute("SELECT seq, enqueued FROM queues").fetchone() == (JOBS + 2, JOBS + 2)


class Interrupted:
    """A connection that is interrupted when a statement is committed."""

    in_transaction = False

    def __init__(self, writer: sqlite3.Connection) -> None:
        self._writer = writer

    def execute(self, *statement: Any) -> None:
        """Carry it out, and be interrupted."""
        self._writer.execute(*statement)
        raise KeyboardInterrupt


def test_an_interrupt_after_the_commit_loses_and_doubles_nothing(world: World) -> None:
    """The job is in; those behind it have sequences of their own."""
    writer = world.store._connections._writer
    assert writer is not None

    world.store._connections._writer = Interrupted(writer)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        world.append()
    world.store._connections._writer = writer
    assert [world.append().seq for _ in range(3)] == [JOBS + 2, JOBS + 3, JOBS + 4]
    assert [seq for _, seq in world.seen()[1]] == list(range(1, JOBS + 5))


def test_a_queue_is_full_to_the_job(world: World) -> None:
    """As many as are allowed come in, and none more."""
    assert world.append(max_length=JOBS + 1).disposition is Disposition.CREATED
    with pytest.raises(QueueFull):
        world.append(max_length=JOBS + 1)
    assert world.seen()[0].ready == JOBS + 1


def test_a_jump_of_the_clock_is_seen_to(world: World) -> None:
    """What it costs nobody is done by an append in a transaction."""
    world.clock.step_wall(3600)
    world.append()
    assert world.uncounted() == 0
    world.append()
    assert world.uncounted() == 1
    assert world.seen()[0].ready == JOBS + 2


def test_where_another_process_puts_jobs_in_too_there_is_no_inflow(world: World) -> None:
    """It would be ended with the next job; and each job has its sequence."""
    for number in range(4):
        assert world.other.append(QUEUE, [JOB])[0].seq == JOBS + 2 * number + 1
        assert world.append().seq == JOBS + 2 * number + 2
        assert world.uncounted() == 0
