"""On a course of the embedded store nothing is done but what is routine, and that at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from glassq.model.edges import After
from glassq.model.jobs import NewJob
from glassq.model.leases import Grant, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.stores.sqlite.course import SqliteCourse
from glassq.stores.sqlite.location import Location
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.clock import FakeClock

QUEUE = "orders"
ALICE = Owner("alice", "first")
JOB = NewJob(body=b"job", lane="a")


@pytest.fixture
def clock() -> FakeClock:
    """The host's clock."""
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteStorage]:
    """A store with a lane of ten jobs."""
    with closing(SqliteStorage(Location(path=tmp_path / "jobs.db"), clock=clock)) as opened:
        opened.append(QUEUE, [JOB] * 10)
        yield opened


@pytest.fixture
def other(store: SqliteStorage, tmp_path: Path, clock: FakeClock) -> Iterator[SqliteStorage]:
    """The same file as another process has it."""
    with closing(SqliteStorage(Location(path=tmp_path / "jobs.db"), clock=clock)) as opened:
        yield opened


@pytest.fixture
def grant(store: SqliteStorage) -> Grant:
    """The lane, claimed."""
    return store.claim(ALICE, [QUEUE], lanes=1, window=10, lease_seconds=15).grants[0]


def settlement(grant: Grant, index: int) -> Settlement:
    """This job of the lane has succeeded."""
    return Settlement(
        lease=grant.lease,
        job_id=grant.jobs[index].id,
        action=Action.ACK,
        next_id=grant.jobs[index + 1].id,
        change=grant.change,
        window=10,
        ahead=16,
        begun=True,
    )


def begin(store: SqliteStorage, grant: Grant, *, others: bool = False) -> SqliteCourse:
    """A course for the lane."""
    course = store.course(ALICE, settlement(grant, 0), others=others)
    assert course is not None
    return course


def send(course: SqliteCourse, grant: Grant, index: int) -> bool:
    """This job has succeeded, and the one behind it begins: whether that was sent, and so heard of."""
    heard = course.send(grant.jobs[index].id, grant.jobs[index + 1].id)
    assert heard in (None, 1)
    return heard is not None


def test_what_is_sent_is_settled_when_that_returns(
    store: SqliteStorage, other: SqliteStorage, grant: Grant
) -> None:
    """O2, O4: another process sees it before the next job begins. The answers are those of settlements."""
    course = begin(store, grant)
    for index in range(3):
        assert send(course, grant, index)
        assert [each.job.id for each in other.waiting(QUEUE, 1)] == [grant.jobs[index + 1].id]
    answers = course.answers()
    assert [(each.status, each.ordinal, each.held) for each in answers] == [
        (SettleStatus.DONE, ordinal, True) for ordinal in (1, 2, 3)
    ]
    assert (course.answers(), course.leave(), course.is_over) == ([], [], False)


Happening = Callable[[SqliteStorage, Grant], object]
NEWS: dict[str, Happening] = {
    "the lane was given up": lambda store, grant: store.release(ALICE, [grant.lease]),
    "the next job was cancelled": lambda store, grant: store.cancel(grant.jobs[2].id),
    "a later job was cancelled": lambda store, grant: store.cancel(grant.jobs[7].id),
    "the job that runs is to be cancelled": lambda store, grant: store.cancel(grant.jobs[1].id),
    "the queue is paused": lambda store, _: store.pause(QUEUE),
    "the lane is paused": lambda store, _: store.pause(QUEUE, "a"),
    "another lane waits": lambda store, _: store.append(QUEUE, [NewJob(body=b"job", lane="b")]),
    "a job of a higher level came": lambda store, _: store.append(
        QUEUE, [NewJob(body=b"job", lane="a", level=5)]
    ),
    "somebody waits for a job": lambda store, grant: store.append(
        QUEUE, [NewJob(body=b"job", lane="a", after=(After(grant.jobs[8].id),))]
    ),
    "the job was settled": lambda store, grant: store.settle(ALICE, [settlement(grant, 1)]),
}


@pytest.mark.parametrize("by", ["this process", "another one"])
@pytest.mark.parametrize("news", list(NEWS))
def test_what_is_not_routine_is_not_sent(
    store: SqliteStorage, other: SqliteStorage, grant: Grant, news: str, by: str
) -> None:
    """Not half of it either: it is settled like any other, and that answers as if there was no course."""
    course = begin(store, grant)
    assert send(course, grant, 0)
    NEWS[news](store if by == "this process" else other, grant)
    before = (other.stats([QUEUE]), other.waiting(QUEUE, 20))
    assert not send(course, grant, 1)
    assert (other.stats([QUEUE]), other.waiting(QUEUE, 20)) == before
    answer = store.settle(ALICE, [settlement(grant, 1)])[0]
    done = {"the lane was given up": SettleStatus.FENCED, "the job was settled": SettleStatus.ALREADY}
    assert answer.status is done.get(news, SettleStatus.DONE)


def test_a_jump_of_the_clock_is_not_routine(store: SqliteStorage, clock: FakeClock, grant: Grant) -> None:
    """What it costs nobody is seen to by a settlement sent by itself; a step of some ms is nothing."""
    course = begin(store, grant)
    clock.step_wall(-0.01)
    assert send(course, grant, 0)
    clock.step_wall(-3600)
    assert not send(course, grant, 1)
    assert store.settle(ALICE, [settlement(grant, 1)])[0].status is SettleStatus.DONE
    assert send(course, grant, 2)


def test_others_that_wait_already_are_routine(store: SqliteStorage, grant: Grant) -> None:
    """A lane whose turn is longer goes on while others wait, as long as the worker knows of them."""
    store.append(QUEUE, [NewJob(body=b"job", lane="b")])
    assert not send(begin(store, grant), grant, 0)
    course = begin(store, grant, others=True)
    assert send(course, grant, 0)
    assert course.answers()[0].others


def test_there_is_no_course_in_a_queue_whose_ends_concern_others(store: SqliteStorage, grant: Grant) -> None:
    """Each end there may let somebody go: it is no routine, and nobody is made to find that out again."""
    store.append(QUEUE, [NewJob(body=b"job", lane="a", after=(After(grant.jobs[8].id),))])
    assert store.settle(ALICE, [settlement(grant, 0)])[0].status is SettleStatus.DONE
    assert store.course(ALICE, settlement(grant, 1), others=False) is None
