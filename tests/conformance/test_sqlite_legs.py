"""A leg of a course on the embedded store: jobs that have ended are noted, and nobody sees the difference."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from glassq.errors import CorruptRecord, QueueFull, StorageUnavailable
from glassq.model.edges import After
from glassq.model.jobs import Dedup, Disposition, NewJob
from glassq.model.leases import ClaimCause, Grant, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.stores.sqlite.course import SqliteCourse
from glassq.stores.sqlite.legnotes import LegNotes
from glassq.stores.sqlite.location import Location
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.clock import FakeClock

QUEUE = "orders"
ALICE = Owner("alice", "first")
BOB = Owner("bob", "first")
JOB = NewJob(body=b"job", lane="a")
JOBS, SENT = 20, 6
"""Jobs in a lane, and how many of them are sent. The first is no part of a leg, which begins with the second:
this process has just claimed the lane, and looks whether others write, too."""


class Runner:
    """A lane of a store that is run ahead, or settled job by job."""

    def __init__(self, store: SqliteStorage, lane: str = "a", *, on_course: bool = True) -> None:
        claimed = store.claim(ALICE, [QUEUE], lanes=1, window=JOBS, lease_seconds=15)
        self.grant: Grant = claimed.grants[0]
        assert self.grant.lease.lane == lane
        self._store = store
        self.course: SqliteCourse | None = None
        if on_course:
            self.course = store.course(ALICE, self.settlement(0), others=False)

    def settlement(self, index: int) -> Settlement:
        """This job of the lane has succeeded."""
        return Settlement(
            lease=self.grant.lease,
            job_id=self.grant.jobs[index].id,
            action=Action.ACK,
            next_id=self.grant.jobs[index + 1].id,
            change=self.grant.change,
            window=JOBS,
        )

    def send(self, index: int) -> bool:
        """This job has succeeded, and the one behind it begins: whether that went on the course."""
        if self.course is not None:
            jobs = self.grant.jobs
            return self.course.send(jobs[index].id, jobs[index + 1].id) is not None
        return self._store.settle(ALICE, [self.settlement(index)])[0].status is SettleStatus.DONE


class World:
    """A file, which two processes have open, and its clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.store, self.other = self.open(), self.open()
        self.store._producer, self.other._producer = "one", "other"  # ids are the same in every world
        self.store.append(QUEUE, [JOB] * JOBS)
        with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
            stranger.execute("UPDATE queues SET incarnation = 'life'")

    def open(self) -> SqliteStorage:
        """The file as a process has it."""
        return SqliteStorage(Location(path=self.path), clock=self.clock)

    def noted(self) -> int:
        """How many jobs have ended and are in the tables, as a stranger sees it."""
        with closing(sqlite3.connect(self.path)) as stranger:
            legs = stranger.execute("SELECT number, notes_at FROM legs").fetchall()
        return sum(note.ended for note in LegNotes(self.path).noted(legs).values())

    def seen(self) -> tuple[Any, ...]:
        """What there is to see."""
        stats = self.other.stats([QUEUE])[0]
        waiting = [(each.lane, each.job.seq) for each in self.other.waiting(QUEUE, 100)]
        return stats, waiting, self.other.halted(QUEUE, 9)

    def close(self) -> None:
        """Both processes go."""
        self.store.close()
        self.other.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One in which a lane is on a leg."""
    with closing(World(tmp_path / "jobs.db")) as made:
        yield made


def run_ahead(world: World) -> Runner:
    """Its lane, some jobs further. All but the first two are noted."""
    runner = Runner(world.store)
    assert all(runner.send(index) for index in range(SENT))
    assert world.noted() == SENT - 2
    return runner


def test_a_job_on_a_leg_is_a_record_that_is_there_when_it_returns(world: World) -> None:
    """O2, O4: nothing of it is in the process only; and it costs no statement."""
    runner = run_ahead(world)
    writer = world.store._connections._writer
    assert writer is not None
    statements: list[str] = []
    writer.set_trace_callback(statements.append)
    assert runner.send(SENT)
    assert statements == []
    assert world.noted() == SENT - 1


Happening = Callable[[SqliteStorage, Runner], object]
NEWS: dict[str, Happening] = {
    "the lane was given up": lambda store, runner: store.release(ALICE, [runner.grant.lease]),
    "the lane was taken over": lambda store, _: store.claim(
        Owner("alice", "second"), [QUEUE], lanes=1, window=9, lease_seconds=15
    ),
    "the lease was renewed": lambda store, runner: store.renew(ALICE, [runner.grant.lease], lease_seconds=15),
    "a job that has ended was cancelled": lambda store, runner: store.cancel(runner.grant.jobs[4].id),
    "the job that runs is to be cancelled": lambda store, runner: store.cancel(runner.grant.jobs[SENT].id),
    "the next job was cancelled": lambda store, runner: store.cancel(runner.grant.jobs[SENT + 1].id),
    "a later job was cancelled": lambda store, runner: store.cancel(runner.grant.jobs[SENT + 7].id),
    "the queue is paused": lambda store, _: store.pause(QUEUE),
    "the lane is paused": lambda store, _: store.pause(QUEUE, "a"),
    "what waits was taken away": lambda store, _: store.purge(QUEUE, dead=False),
    "another lane waits": lambda store, _: store.append(QUEUE, [NewJob(body=b"job", lane="b")]),
    "a job of a higher level came": lambda store, _: store.append(
        QUEUE, [NewJob(body=b"job", lane="a", level=5)]
    ),
    "a job came in behind": lambda store, _: store.append(QUEUE, [JOB]),
    "somebody waits for a job that has ended": lambda store, runner: store.append(
        QUEUE, [NewJob(body=b"job", lane="a", after=(After(runner.grant.jobs[4].id),))]
    ),
    "somebody waits for a job": lambda store, runner: store.append(
        QUEUE, [NewJob(body=b"job", lane="a", after=(After(runner.grant.jobs[SENT + 2].id),))]
    ),
    "a worker was heard of": lambda store, _: store.report(BOB, [QUEUE]),
    "a job that has ended is settled again": lambda store, runner: store.settle(
        ALICE, [runner.settlement(SENT - 1)]
    ),
    "the job was settled": lambda store, runner: store.settle(ALICE, [runner.settlement(SENT)]),
    "the job is tried again": lambda store, runner: store.settle(
        ALICE, [msgspec.structs.replace(runner.settlement(SENT), action=Action.RETRY, wait=1.0)]
    ),
    "somebody looked": lambda store, runner: (
        store.get(runner.grant.jobs[4].id),
        store.get(runner.grant.jobs[SENT].id),
        store.waiting(QUEUE, 3),
    ),
}


@pytest.mark.parametrize("by", ["this process", "another one"])
@pytest.mark.parametrize("news", list(NEWS))
def test_whatever_happens_finds_all_jobs_settled(tmp_path: Path, news: str, by: str) -> None:
    """Answers, and what is left, are those of a lane whose jobs were settled one by one. The job that runs is
    settled, refused or tried again as there."""
    told: list[Any] = []
    for on_course in (True, False):
        with closing(World(tmp_path / f"{on_course}.db")) as world:
            runner = Runner(world.store, on_course=on_course)
            assert all(runner.send(index) for index in range(SENT))
            assert world.noted() == (SENT - 2 if on_course else 0)
            answer = NEWS[news](world.store if by == "this process" else world.other, runner)
            status = SettleStatus.DONE
            if not (on_course and runner.send(SENT)):
                status = world.store.settle(ALICE, [runner.settlement(SENT)])[0].status
            told.append((answer, status, world.seen()))
            assert world.noted() == 0
    assert told[0] == told[1]


def test_appends_behind_a_lane_leave_its_leg(world: World) -> None:
    """A producer in the worker's process does not make every job of it dearer; and it is told how many jobs
    are left, and have ended, as if all were taken out."""
    runner = Runner(world.store)
    world.store.append(QUEUE, [JOB])  # what the lane is like is looked up for the first one
    assert all(runner.send(index) for index in range(SENT))
    noted = world.noted()
    assert noted > 1
    answer = world.store.append(QUEUE, [JOB], max_length=JOBS - SENT + 2)[0]
    assert answer.found is not None
    assert answer.found.counts.settled == SENT
    with pytest.raises(QueueFull, match=str(JOBS - SENT + 2)):
        world.store.append(QUEUE, [JOB], max_length=JOBS - SENT + 2)
    assert world.noted() == noted
    assert runner.send(SENT)
    assert world.noted() == noted + 1
    assert world.seen()[0].ready == JOBS - SENT


def test_no_lane_is_on_a_leg_where_commits_survive_the_loss_of_power(tmp_path: Path) -> None:
    """Notes are not flushed to the disk. Each job is in a commit, which those of other lanes share."""
    location = Location(path=tmp_path / "jobs.db", synchronous="full")
    with closing(SqliteStorage(location, clock=FakeClock())) as store:
        store.append(QUEUE, [JOB] * JOBS)
        runner = Runner(store)
        assert all(runner.send(index) for index in range(SENT))
        assert not (tmp_path / "jobs.db-legs").exists()


def test_what_a_job_alone_may_hold_is_free_once_it_has_ended(tmp_path: Path) -> None:
    """A unique job is not noted but taken out, so that the next of its kind is no duplicate."""
    with closing(World(tmp_path / "jobs.db")) as world:
        unique = NewJob(body=b"job", lane="a", dedup=Dedup("only"))
        world.store.append(QUEUE, [unique, *[JOB] * 3])
        world.store.purge(QUEUE, dead=False)
        world.store.append(QUEUE, [JOB, JOB, JOB, unique, *[JOB] * 4])
        runner = Runner(world.store)
        assert all(runner.send(index) for index in range(3))
        assert world.store.append(QUEUE, [unique])[0].disposition is Disposition.DUPLICATE
        assert all(runner.send(index) for index in range(3, 5))
        assert world.store.append(QUEUE, [unique])[0].disposition is Disposition.CREATED


def test_who_ended_legs_and_was_killed_before_its_commit_did_not(world: World) -> None:
    """What was noted is taken out once, by whoever comes next; until then nothing more is noted."""
    runner = run_ahead(world)

    def die(_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        world.other._changes.insist(die)
    assert world.noted() == SENT - 2
    assert runner.send(SENT)
    assert world.noted() == 0
    assert all(runner.send(index) for index in range(SENT + 1, SENT + 4))
    assert world.noted() == 2
    stats = world.seen()[0]
    assert (stats.settled["succeeded"], stats.ready) == (SENT + 4, JOBS - SENT - 5)


def test_two_lanes_of_a_process_are_on_legs_at_once(tmp_path: Path) -> None:
    """Neither ends the other's, and each job has an ordinal of its own."""
    with closing(World(tmp_path / "jobs.db")) as world:
        first = Runner(world.store)
        world.store.append(QUEUE, [NewJob(body=b"job", lane="b")] * JOBS)
        second = Runner(world.store, "b")
        for index in range(SENT):
            assert first.send(index)
            assert second.send(index)
        assert world.noted() == 2 * SENT - 4
        assert first.course is not None
        assert second.course is not None
        ordinals = [each.ordinal for each in (*first.course.answers(), *second.course.answers())]
        assert sorted(ordinals) == list(range(1, 2 * SENT + 1))
        stats = world.seen()[0]
        assert (stats.settled["succeeded"], stats.leased, stats.ready) == (2 * SENT, 2, 2 * (JOBS - SENT - 1))


def test_a_lane_that_gets_a_new_window_is_on_a_leg_again(world: World) -> None:
    """The settlement that ends one leg begins the next: no transaction comes between them."""
    runner = run_ahead(world)
    answer = world.store.settle(ALICE, [runner.settlement(SENT)])[0]
    assert (answer.status, answer.held, world.noted()) == (SettleStatus.DONE, True, 0)
    course = world.store.course(ALICE, runner.settlement(SENT + 1), others=False)
    assert course is not None
    runner.course = course
    assert runner.send(SENT + 1)
    assert world.noted() == 1
    assert world.seen()[0].settled["succeeded"] == SENT + 2


def test_a_second_course_goes_on_where_the_first_was_left(world: World) -> None:
    """A lane is on one leg at most, whoever runs it ahead: no job is noted twice."""
    runner = run_ahead(world)
    first = runner.course
    runner.course = world.store.course(ALICE, runner.settlement(SENT), others=False)
    assert runner.send(SENT)
    assert world.noted() == SENT - 1
    assert runner.send(SENT + 1)
    assert world.seen()[0].settled["succeeded"] == SENT + 2
    runner.course, second = first, runner.course
    assert runner.send(SENT + 2)  # no leg: somebody else has just written
    assert runner.send(SENT + 3)
    runner.course = second
    assert all(runner.send(SENT + index) for index in range(4, 7))
    assert world.seen()[0].settled["succeeded"] == SENT + 7


def test_where_others_write_all_the_time_no_leg_begins(world: World) -> None:
    """It would be ended by the next of them."""
    runner = Runner(world.store)
    for index in range(SENT):
        assert runner.send(index)
        world.other.append(QUEUE, [JOB])
        assert world.noted() == 0
    assert all(runner.send(index) for index in range(SENT, SENT + 3))
    assert world.noted() == 1


def test_what_was_noted_by_a_process_that_was_killed_stays_so(world: World) -> None:
    """O4: no job that has ended runs again; the one that ran is blamed for the crash."""
    runner = run_ahead(world)
    world.clock.advance(16)  # nobody says anything more for the lane
    taken = world.other.claim(BOB, [QUEUE], lanes=1, window=3, lease_seconds=15).grants
    assert not taken  # one lease of grace: nothing was heard of this file for longer than that
    world.clock.advance(15.5)
    taken = world.other.claim(BOB, [QUEUE], lanes=1, window=3, lease_seconds=15).grants
    assert [(each.cause, each.crashes, each.jobs[0].id) for each in taken] == [
        (ClaimCause.LEASE_EXPIRED, 1, runner.grant.jobs[SENT].id)
    ]
    assert not runner.send(SENT)  # fence: it was only stopped
    assert world.store.settle(ALICE, [runner.settlement(SENT)])[0].status is SettleStatus.FENCED


@contextmanager
def failing(error: BaseException, *, late: bool) -> Iterator[None]:
    """What is written fails, before or after it is in the file."""
    write = os.write

    def fail(file: int, what: bytes) -> int:
        if late:
            write(file, what)
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", fail)
        yield


def test_an_interrupt_after_the_note_is_no_failure_to_note(world: World) -> None:
    """Whoever was interrupted settles the job again, and is told that it is settled."""
    runner = run_ahead(world)
    with pytest.raises(KeyboardInterrupt), failing(KeyboardInterrupt(), late=True):
        runner.send(SENT)
    assert world.noted() == SENT - 1
    assert not runner.send(SENT)
    answer = world.store.settle(ALICE, [runner.settlement(SENT)])[0]
    assert (answer.status, world.seen()[0].settled["succeeded"]) == (SettleStatus.ALREADY, SENT + 1)


@pytest.mark.parametrize("late", [False, True])
def test_what_cannot_be_noted_is_settled_by_itself(world: World, late: bool) -> None:
    """A full disk, for one: it is not known whether it was noted, and found out by whoever settles it. That
    must be able to say that legs are over: until it is, it fails, and says why."""
    runner = run_ahead(world)
    with failing(OSError(errno.ENOSPC, "No space left on device"), late=late):
        assert not runner.send(SENT)
        with pytest.raises(StorageUnavailable) as full:
            world.store.settle(ALICE, [runner.settlement(SENT)])
        assert full.value.reason == "enospc"
    answer = world.store.settle(ALICE, [runner.settlement(SENT)])[0]
    assert answer.status is (SettleStatus.ALREADY if late else SettleStatus.DONE)
    assert world.seen()[0].settled["succeeded"] == SENT + 1


def test_nothing_is_noted_in_a_file_that_is_not_there_any_more(world: World) -> None:
    """Each job looks for the file: none is taken from a queue that is gone, none goes into another one."""
    runner = run_ahead(world)
    world.other.close()
    for suffix in ("", "-wal", "-shm", "-legs"):
        world.path.with_name(f"{world.path.name}{suffix}").unlink(missing_ok=True)
    assert not runner.send(SENT)
    assert world.store.settle(ALICE, [runner.settlement(SENT)])[0].status is SettleStatus.FENCED
    assert world.noted() == 0


def test_a_jump_of_the_clock_is_not_noted(world: World) -> None:
    """What it costs nobody is seen to by a settlement sent by itself, or by whoever else sees it first."""
    runner = run_ahead(world)
    world.clock.step_wall(-3600)
    assert not runner.send(SENT)
    assert world.store.settle(ALICE, [runner.settlement(SENT)])[0].status is SettleStatus.DONE
    assert all(runner.send(index) for index in range(SENT + 1, SENT + 4))
    world.clock.step_wall(-3600)
    world.store.append(QUEUE, [JOB])
    assert world.noted() == 0
    assert world.seen()[0].last_settled_at == pytest.approx(world.clock.wall() + 3600)


@pytest.mark.parametrize("legs", ["", "CREATE TABLE legs (number INTEGER PRIMARY KEY, ended INTEGER)"])
def test_a_file_of_before_the_first_release_is_gone_on_with(tmp_path: Path, legs: str) -> None:
    """The tables that came into this format are made in it; jobs and counters stay."""
    with closing(World(tmp_path / "jobs.db")) as world:
        run_ahead(world)
        seen = world.seen()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as stranger:
        stranger.executescript(f"DROP TABLE legs; DROP TABLE inflows; {legs}")
    with closing(SqliteStorage(Location(path=tmp_path / "jobs.db"), clock=world.clock)) as store:
        assert store.stats([QUEUE])[0] == seen[0]


def test_a_note_of_jobs_that_are_not_there_is_damage(world: World) -> None:
    """Nobody can have written it: it is reported, not passed over."""
    runner = run_ahead(world)
    with closing(sqlite3.connect(world.path, isolation_level=None)) as stranger:
        stranger.execute("DELETE FROM jobs WHERE id = ?", (runner.grant.jobs[4].id,))
    with pytest.raises(CorruptRecord, match="noted to have ended"):
        world.other.stats([QUEUE])
