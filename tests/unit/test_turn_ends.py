"""Ends of turns that are told together say what settlements of their own would, and so do the answers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from glassq.model.leases import Lease, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.model.several import Given, several
from glassq.model.turnends import EndedTurns, TurnEnds
from glassq.model.verdicts import Action
from glassq.model.watermarks import Counts, Watermark
from glassq.stores.redis import replies, requests, scripts
from glassq.stores.redis.resp import parts
from glassq.stores.together import check_together

KEY = "gq:{orders}:c"
OWNER = Owner("node", "first", 1)
FOUND = Watermark("life", Counts(9, 9, 6))


def ends(*lanes: str, begins: Lease | None = None) -> TurnEnds:
    """Of these lanes."""
    leases = [Lease("orders", lane, 100 + place) for place, lane in enumerate(lanes)]
    return TurnEnds(leases, [f"orders/a:{place}" for place in range(len(lanes))], begins)


def test_each_end_is_a_settlement() -> None:
    """Only the last says what begins."""
    begins = Lease("orders", "z", 7)
    first, last = ends("x", "y", begins=begins)
    assert first == Settlement(
        lease=Lease("orders", "x", 100), job_id="orders/a:0", action=Action.ACK, leaving=Leaving.YIELD
    )
    assert (last.job_id, last.begins) == ("orders/a:1", begins)
    assert ends("x", "y", "z")[1:] == [*ends("x", "y", "z")][1:]


@given(
    lanes=some.lists(some.text(max_size=20), min_size=1, max_size=20, unique=True),
    begins=some.none() | some.builds(Lease, some.just("orders"), some.text(max_size=9), some.integers(1, 99)),
)
def test_ends_are_sent_as_settlements_that_say_the_same(lanes: list[str], begins: Lease | None) -> None:
    """The same bytes, so that each may be repeated by itself, whatever names its lane has."""
    told = ends(*lanes, begins=begins)
    digests = b"".join(map(requests.digest, told))
    each = [
        part for place, lease in enumerate(told.leases) for part in (lease.lane, lease.token, f"a:{place}")
    ]
    next_lane = ("", "") if begins is None else (begins.lane, begins.token)
    packed = parts((str(OWNER), digests, "turns", *next_lane, *each))
    for whats in (told, list(told)):
        assert requests.settling(KEY, OWNER, whats) == scripts.SETTLE.call(KEY, 5 + len(each), packed)


def test_what_a_settlement_says_is_in_its_digest() -> None:
    """One that says anything else is another one."""
    what = ends("x")[0]
    others = [
        msgspec.structs.replace(what, **change)
        for change in (
            {"lease": Lease("orders", "x", 101)},
            {"job_id": "orders/a:1"},
            {"begins": Lease("orders", "y", 1)},
            {"action": Action.BURY},
            {"change": 1},
        )
    ]
    assert len({requests.digest(each) for each in (what, *others)}) == 1 + len(others)


@pytest.mark.parametrize(("crowded", "waits"), [(b"0", []), (b"1", [7, 8, 9]), (b"3", [9])])
def test_an_answer_for_all_is_one_for_each(crowded: bytes, waits: list[int]) -> None:
    """From some place on, others wait."""
    reply = b"5000000|9:9:6:life|done:7:0:0:0*3:%b" % crowded
    answers = replies.settled("orders", reply)
    assert list(answers) == [
        Settled(status=SettleStatus.DONE, now=5.0, ordinal=ordinal, others=ordinal in waits, found=FOUND)
        for ordinal in (7, 8, 9)
    ]


def test_columns_of_answers_are_those_of_each() -> None:
    """Whoever asks, and whether the answers were made already."""
    answers = EndedTurns(3, SettleStatus.DONE, 5.0, 7, 2, FOUND)
    assert several(answers) is answers
    for field in Settled.__struct_fields__:
        told = Given([*answers])
        assert answers.column(field) == told.column(field), field
        assert answers.first(field) == told.first(field), field
        assert answers.common(field) == told.common(field), field


def test_a_lane_ends_once_in_a_message() -> None:
    """As of settlements that are told one by one."""
    check_together(ends("x", "y"))
    with pytest.raises(ValueError, match="per lane"):
        check_together(ends("x", "x"))
    with pytest.raises(ValueError, match="takes 100"):
        check_together(ends(*map(str, range(101))))
