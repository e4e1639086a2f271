"""What the scripts are told: the commonest call, which is packed in one step, is told like all others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from glassq.model.jobs import NewJob, Priority
from glassq.model.leases import Lease, Owner, Settlement
from glassq.model.verdicts import Action
from glassq.stores.redis import requests
from glassq.stores.redis.resp import NOTHING, Answers, parts

KEY = "gq:{orders}:c"


def heard(request: bytes) -> list[bytes]:
    """The words of a request as a server reads them; it reads all of it."""
    answers = Answers(ValueError)
    answers.feed(request)
    words: list[bytes] = answers.take()
    assert answers.take() is NOTHING
    assert not answers.left
    return words


@given(
    session=some.text("0123456789abcdef", min_size=12, max_size=12),
    number=some.integers(1, 2**53),
    body=some.binary(max_size=50),
    lane=some.text(max_size=20),
    level=some.sampled_from([*Priority, *map(int, Priority)]),
    most=some.none() | some.integers(1, 2**40),
    run=some.sampled_from([b"", b"0123456789ab", b"0123456789ab:1700000000000000"]),
)
def test_one_job_is_told_like_a_run_of_one(
    session: str, number: int, body: bytes, lane: str, level: int, most: int | None, run: bytes
) -> None:
    """Its place, its limit and what is stored of it, whatever they are."""
    job = NewJob(body=body, lane=lane, level=level)
    call = requests.append(KEY, session, number, [job], most)
    script = call.script
    limit = b"" if most is None else b"%d" % most
    stored = b"%b:%d|%b" % (session.encode(), number, body)
    told = [session.encode(), b"%d" % number, b"1", limit, b"1", lane.encode(), b"%d" % level, b"1", stored]
    assert heard(call.by_digest(run)) == [b"EVALSHA", script.sha.encode(), b"1", KEY.encode(), run, *told]
    assert heard(call.by_text(run)) == [b"EVAL", script.source.encode(), b"1", KEY.encode(), run, *told]


@given(lanes=some.lists(some.sampled_from(["", "a", "b"]), min_size=2, max_size=8))
def test_several_jobs_are_told_in_runs_of_a_lane(lanes: list[str]) -> None:
    """Each run with its lane, its level and how many there are; numbers go on through all of them."""
    jobs = [NewJob(body=b"%d" % index, lane=lane) for index, lane in enumerate(lanes)]
    words = heard(requests.append(KEY, "s", 7, jobs, None).by_digest(b""))
    head, runs = words[5:10], words[10:]
    assert head == [b"s", b"7", b"%d" % len(jobs), b"", b"1"]
    found = []
    while runs:
        lane, level, count, *runs = runs
        assert level == b"3"
        found += [(lane.decode(), stored) for stored in runs[: int(count)]]
        runs = runs[int(count) :]
    assert found == [(lane, b"s:%d|%d" % (7 + index, index)) for index, lane in enumerate(lanes)]


@given(
    lane=some.text(max_size=20),
    token=some.integers(1, 2**53),
    result=some.none() | some.binary(max_size=50),
    change=some.integers(0, 2**40),
    begun=some.booleans(),
    following=some.none() | some.just("orders/a:13"),
    keep=some.sampled_from([0.0, 0.0, 60.0]),
)
def test_a_settlement_that_is_sent_is_told_like_one_that_is_waited_for(
    lane: str, token: int, result: bytes | None, change: int, begun: bool, following: str | None, keep: float
) -> None:
    """Whatever it leaves, and whether it is packed in one step or not."""
    owner = Owner("node", "first", 1)
    what = Settlement(
        lease=Lease("orders", lane, token),
        job_id="orders/a:12",
        action=Action.ACK,
        next_id=following,
        change=change,
        window=64,
        ahead=16,
        begun=begun,
        result=result,
        keep=keep,
        note=b"said" if keep else b"",
    )
    told = requests.settlements(owner, [what])
    call = requests.sent_ahead(KEY, owner, what)
    assert call.count == len(told)
    assert heard(b"*%d\r\n" % len(told) + call.arguments) == heard(b"*%d\r\n" % len(told) + parts(told))
