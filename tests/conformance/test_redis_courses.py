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
from glassq.settling import Course, Settling
from glassq.stores.redis.course import RedisCourse
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
        heard += max(0, more)  # less than that: the next is not routine
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


def test_a_connection_that_breaks_with_what_is_asked_ends_a_course_at_once(
    store: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O2: it may not have been sent, so it is repeated before the next job begins."""

    def breaking(*_: object) -> None:
        raise BrokenPipeError

    grant = claim(store)
    course = begin(store, grant)
    assert isinstance(course, RedisCourse)
    monkeypatch.setattr(course._stream._line, "hand_over", breaking)
    assert course.send(grant.jobs[1].id, grant.jobs[2].id) == -1
    assert course.is_over
    [(left, count)] = course.leave()
    assert count == 1
    with pytest.raises(StorageUnavailable):
        left.answer()


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


# -- one answer for several ------------------------------------------------------------------------------


@pytest.fixture
def long(server: str) -> Iterator[RedisStorage]:
    """An empty store with a lane of forty jobs, on a connection that may skip answers."""
    with closing(RedisStorage.open(server)) as opened:
        opened.append(QUEUE, [NewJob(body=b"job", lane="a")] * 40)
        assert not may_skip(opened)
        opened.stats([QUEUE])
        assert may_skip(opened)
        yield opened


def may_skip(store: RedisStorage) -> bool:
    """Whether it is known that its connection may skip answers; the first time that is asked for."""
    stream = store._server.stream  # type: ignore[attr-defined]
    assert stream is not None
    return bool(stream.may_skip)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are full before their oldest is asked about: however busy the machine is."""
    monkeypatch.setattr("glassq.stores.redis.course._PATIENCE", 60.0)


def claim_many(store: RedisStorage) -> Grant:
    """As `claim`, with all jobs in the window."""
    [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=40, lease_seconds=15).grants
    store.settle(ALICE, [settlement(grant, 0, begun=False)])
    return grant


def left_by(course: Course) -> list[tuple[Settling, int]]:
    """What is on its way when it is left."""
    return list(course.leave())


@pytest.mark.usefixtures("patient")
def test_one_answer_tells_of_a_group(long: RedisStorage) -> None:
    """The first settlement is answered, then each eighth; with all ordinals, as nobody else settles."""
    grant = claim_many(long)
    course = begin(long, grant)
    hear(course, 17, send(course, grant, *range(1, 18)))
    answers = course.answers()
    assert [(each.status, each.ordinal, each.held) for each in answers] == [
        (SettleStatus.DONE, ordinal, True) for ordinal in range(2, 19)
    ]
    assert left_by(course) == []


@pytest.mark.usefixtures("patient")
def test_ordinals_are_not_made_up_where_others_settle(long: RedisStorage) -> None:
    """What another lane settled meanwhile is among the numbers: nobody can say which."""
    grant = claim_many(long)
    long.append(QUEUE, [NewJob(body=b"job", lane="b")] * 2)
    [other] = long.claim(ALICE, [QUEUE], lanes=1, window=2, lease_seconds=15).grants
    course = begin(long, grant)
    hear(course, 1, send(course, grant, 1))
    send(course, grant, 2, 3)
    long.settle(ALICE, [settlement(other, 0, begun=False)])
    hear(course, 8, send(course, grant, *range(4, 10)))
    first, *covered, last = course.answers()
    assert (first.ordinal, last.ordinal) == (2, 11)
    assert {(each.status, each.ordinal) for each in covered} == {(SettleStatus.ALREADY, 0)}
    assert long.stats([QUEUE])[0].settled["succeeded"] == 11


@pytest.mark.usefixtures("patient")
def test_of_the_last_ones_the_next_settlement_tells(long: RedisStorage) -> None:
    """They are on their way, and nothing says what became of them before."""
    grant = claim_many(long)
    course = begin(long, grant)
    hear(course, 1, send(course, grant, 1, 2, 3))
    assert course.hear() == 0
    assert left_by(course) == []
    [answer] = long.settle(ALICE, [settlement(grant, 4)])
    assert (answer.status, answer.ordinal) == (SettleStatus.DONE, 5)
    assert [each.status for each in long.settle(ALICE, [settlement(grant, 3)])] == [SettleStatus.ALREADY]


@pytest.mark.usefixtures("patient")
def test_news_in_the_middle_of_a_group_are_told_at_its_end(long: RedisStorage) -> None:
    """A cancel: all of the group are settled, and the lane has changed."""
    grant = claim_many(long)
    course = begin(long, grant)
    hear(course, 1, send(course, grant, 1, 2, 3))
    with closing(RedisStorage.open(long.address)) as other:
        other.cancel(grant.jobs[30].id)
    assert send(course, grant, *range(4, 10)) == 0
    assert course.hear() == 0
    assert course.is_over
    [(left, count)] = left_by(course)
    answer = left.answer()
    assert (count, answer.status) == (8, SettleStatus.DONE)
    assert answer.change != grant.change
    assert long.stats([QUEUE])[0].settled["succeeded"] == 10


@pytest.mark.usefixtures("patient")
def test_a_lane_that_is_lost_in_the_middle_of_a_group_refuses_the_rest(long: RedisStorage) -> None:
    """O5: what came before is settled, what comes behind is not."""
    grant = claim_many(long)
    course = begin(long, grant)
    hear(course, 1, send(course, grant, 1, 2, 3))
    long.release(ALICE, [grant.lease])
    assert send(course, grant, *range(4, 10)) == 0
    assert course.hear() == 0
    [(left, count)] = left_by(course)
    assert (count, left.answer().status) == (8, SettleStatus.FENCED)
    assert long.stats([QUEUE])[0].settled["succeeded"] == 4


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("harm", ["flush", "kill"])
def test_a_group_that_is_broken_in_its_middle_is_settled_by_repeating_it(
    long: RedisStorage, server: str, harm: str
) -> None:
    """The server forgets its scripts, or the connection: from there on nothing of the group was done, and
    nothing of what comes later before it is repeated."""
    grant = claim_many(long)
    course = begin(long, grant)
    hear(course, 1, send(course, grant, 1, 2, 3))
    with redis.Redis.from_url(server) as client:
        if harm == "flush":
            long.stats([QUEUE])  # what was held back is done
            client.script_flush()
        else:
            client.client_kill_filter(_type="normal", skipme=True)
    for index in range(4, 10):
        if course.send(grant.jobs[index].id, grant.jobs[index + 1].id) is None:
            break
    assert course.hear() == 0
    for left, _ in left_by(course):
        with pytest.raises(StorageUnavailable):
            left.answer()
    assert long.stats([QUEUE])[0].settled["succeeded"] <= 4
    assert {long.settle(ALICE, [settlement(grant, index)])[0].held for index in range(2, 10)} == {True}
    assert long.stats([QUEUE])[0].settled["succeeded"] == 10


@pytest.mark.usefixtures("patient")
def test_whoever_may_not_skip_answers_gets_one_for_each(installed: str) -> None:
    """An ACL user without `CLIENT REPLY` settles as anybody did before."""
    with redis.Redis.from_url(installed) as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "plain", "on", ">word", "~*", "&*", "+@all", "-client|reply")
    url = installed.replace("redis://", "redis://plain:word@")
    with closing(RedisStorage.open(url)) as store:
        store.append(QUEUE, [NewJob(body=b"job", lane="a")] * 40)
        grant = claim_many(store)
        may_skip(store)
        store.stats([QUEUE])
        assert not may_skip(store)
        course = begin(store, grant)
        hear(course, 9, send(course, grant, *range(1, 10)))
        assert all(answer.ordinal and answer.status is SettleStatus.DONE for answer in course.answers())


@pytest.mark.usefixtures("patient")
def test_a_right_that_is_taken_away_breaks_the_connection(installed: str) -> None:
    """From then on nobody knows which answer is whose: nobody gets another one's."""
    with redis.Redis.from_url(installed) as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "less", "on", ">word", "~*", "&*", "+@all")
        with closing(RedisStorage.open(installed.replace("redis://", "redis://less:word@"))) as store:
            store.append(QUEUE, [NewJob(body=b"job", lane="a")] * 40)
            may_skip(store)
            grant = claim_many(store)
            course = begin(store, grant)
            hear(course, 1, send(course, grant, 1))
            client.execute_command("ACL", "SETUSER", "less", "-client|reply")
            assert send(course, grant, 2, 3) == 0
            assert store.stats([QUEUE])[0].settled["succeeded"] == 4
            assert course.send(grant.jobs[4].id, grant.jobs[5].id) is None


@pytest.mark.usefixtures("patient")
def test_the_requests_of_others_go_out_behind_what_is_held_back(long: RedisStorage) -> None:
    """And so do they bring it to the server."""
    grant = claim_many(long)
    course = begin(long, grant)
    hear(course, 1, send(course, grant, 1, 2, 3))
    assert long.stats([QUEUE])[0].settled["succeeded"] == 4
