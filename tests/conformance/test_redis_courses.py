"""Settlements on a course are settlements like others, and it ends with the first answer that says more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from glassq.errors import StorageUnavailable
from glassq.model.jobs import NewJob
from glassq.model.leases import Grant, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.settling import Course
from glassq.stores.redis.store import RedisStorage

QUEUE = "orders"
ALICE = Owner("alice", "first")


@pytest.fixture
def store(installed: str) -> Iterator[RedisStorage]:
    """An empty store with a lane of ten jobs, by the server's own clock."""
    with redis.Redis.from_url(installed) as client:
        client.flushall()
    with closing(RedisStorage.open(installed)) as opened:
        opened.append(QUEUE, [NewJob(body=b"job", lane="a")] * 10)
        yield opened


def claim(store: RedisStorage) -> Grant:
    """The lane, with its first job settled and the second one begun: from now on it may be run ahead."""
    [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=10, lease_seconds=15).grants
    store.settle(ALICE, [settlement(grant, 0, begun=False)])
    return grant


def settlement(grant: Grant, index: int, *, begun: bool = True) -> Settlement:
    """This job of the lane has succeeded."""
    return Settlement(
        lease=grant.lease,
        job_id=grant.jobs[index].id,
        action=Action.ACK,
        next_id=grant.jobs[index + 1].id,
        change=grant.change,
        window=10,
        ahead=16,
        begun=begun,
    )


def begin(store: RedisStorage, grant: Grant) -> Course:
    """A course for the lane."""
    course = store.course(ALICE, settlement(grant, 1), others=False)
    assert course is not None
    return course


def send(course: Course, grant: Grant, *indices: int) -> int | None:
    """These jobs have succeeded, one after the other; how many answers came meanwhile, None when one of them
    was not sent."""
    heard = 0
    for index in indices:
        more = course.send(grant.jobs[index].id, grant.jobs[index + 1].id)
        if more is None:
            return None
        heard += more
    return heard


def hear(course: Course, count: int, heard: int | None) -> None:
    """So many routine answers come, with those that were heard already."""
    assert heard is not None
    while heard < count and not course.is_over:
        heard += course.hear()
    assert heard == count


def test_jobs_on_a_course_are_settled_in_their_order(store: RedisStorage) -> None:
    """The answers in full are those of single settlements, and nothing is left to be heard."""
    grant = claim(store)
    course = begin(store, grant)
    hear(course, 3, send(course, grant, 1, 2, 3))
    answers = course.answers()
    assert [(each.status, each.ordinal, each.held) for each in answers] == [
        (SettleStatus.DONE, ordinal, True) for ordinal in (2, 3, 4)
    ]
    assert (course.answers(), course.leave(), course.is_over) == ([], [], False)
    assert [each.job.id for each in store.waiting(QUEUE, 10)] == [job.id for job in grant.jobs[4:]]


def test_the_first_answer_with_news_ends_a_course(store: RedisStorage) -> None:
    """Somebody else has asked to cancel a job of the lane: the worker hears of it with the next answer."""
    grant = claim(store)
    course = begin(store, grant)
    hear(course, 1, send(course, grant, 1))
    with closing(RedisStorage.open(store.address)) as other:
        other.cancel(grant.jobs[5].id)
    assert send(course, grant, 2, 3) == 0
    assert course.hear() == 0
    assert course.is_over
    left = [each.answer() for each, _ in course.leave()]
    assert [each.status for each in left] == [SettleStatus.DONE] * 2
    assert all(each.change != grant.change for each in left)


def test_a_lane_of_somebody_else_ends_a_course(store: RedisStorage) -> None:
    """O5: a refusal is no routine."""
    grant = claim(store)
    course = begin(store, grant)
    store.release(ALICE, [grant.lease])
    assert send(course, grant, 1) == 0
    assert course.hear() == 0
    assert course.is_over
    assert [each.answer().status for each, _ in course.leave()] == [SettleStatus.FENCED]


def test_nothing_is_sent_on_a_course_right_after_this_process_has_steered_its_queue(
    store: RedisStorage,
) -> None:
    """A task that pauses its own queue is the last one to run."""
    grant = claim(store)
    course = begin(store, grant)
    store.pause(QUEUE)
    assert send(course, grant, 1) is None
    assert course.leave() == []


def test_a_course_ends_with_its_connection(store: RedisStorage, installed: str) -> None:
    """What was on its way may have been done, and is to be repeated; nothing more is sent."""
    grant = claim(store)
    course = begin(store, grant)
    hear(course, 1, send(course, grant, 1))
    with redis.Redis.from_url(installed) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    heard = send(course, grant, 2, 3)
    assert not heard
    assert course.hear() == 0
    for each, _ in course.leave():
        with pytest.raises(StorageUnavailable):
            each.answer()
    again = store.settle(ALICE, [settlement(grant, 2)])[0]
    assert again.status in (SettleStatus.DONE, SettleStatus.ALREADY)


def test_there_is_no_course_before_a_settlement_was_answered(store: RedisStorage) -> None:
    """The server may not know the script."""
    [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=10, lease_seconds=15).grants
    assert store.course(ALICE, settlement(grant, 0), others=False) is None
