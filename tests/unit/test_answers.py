"""What the Redis store answers to settlements that are all alike, read together."""

from __future__ import annotations

from glassq.model.leases import Settled
from glassq.stores.redis.replies import routine, settled_alike, settled_one

QUEUE = "orders"


def reply(number: int, ordinal: int | None = None) -> bytes:
    """The answer to the settlement of this number."""
    stood = b"%d:%d:%d:life:run:1:2:3" % (100, 105, number - 1)
    settled = number if ordinal is None else ordinal
    return b"%d|%b|done:%d%b" % (1_000_000 * number, stood, settled, routine(7, others=True))


def said(answer: Settled) -> tuple[object, ...]:
    """All of it but where the queue stood."""
    return answer.status, answer.now, answer.ordinal, answer.held, answer.others, answer.change, answer.jobs


def test_answers_read_together_say_what_they_say_one_by_one() -> None:
    """However many there are; where the queue stood is read of the first and the last."""
    for count in range(6):
        replies = [reply(number) for number in range(1, count + 1)]
        together, singly = settled_alike(QUEUE, replies), [settled_one(QUEUE, each) for each in replies]
        assert [said(answer) for answer in together] == [said(answer) for answer in singly]
        assert together[:1] == singly[:1]
        assert together[-1:] == singly[-1:]


def test_ordinals_that_do_not_ascend_are_looked_into() -> None:
    """A store that went back in between is seen, though it has come as far again at the end."""
    replies = [reply(4), reply(5), reply(2), reply(6)]
    assert settled_alike(QUEUE, replies) == [settled_one(QUEUE, each) for each in replies]
