"""Bodies of jobs that are opened in the quick ways: as in the general one, or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import enum
import inspect
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassq import Glassq
from glassq.codec import (
    UNREADABLE,
    ArgumentCodec,
    Call,
    Envelope,
    JsonSerializer,
    Reader,
    open_envelope,
    plain_beginning,
    seal,
)
from glassq.errors import CorruptRecord
from glassq.model.jobs import StoredJob
from glassq.model.leases import Lease
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.worker.attempt import Attempts
from glassq.worker.holdings import HeldLane
from glassq.worker.plain import PlainAttempts


def charge(order_id: str, cents: int = 0, *, currency: str = "EUR") -> None:
    """A usual task."""


def anything(value, other=None, *more, **named) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003
    """No hints at all."""


def remind(when: dt.date, notes: list[str] | None, times: tuple[int, ...] = ()) -> None:
    """Hints by which JSON is turned into something else."""


def nothing() -> None:
    """No arguments."""


TASKS = (charge, anything, remind, nothing)
CALLS: dict[Callable[..., Any], tuple[bytes, ...]] = {
    charge: (b'[["o-1",5],{}]', b'[["o-1"],{}]', b'[["o-1"],{"cents":5}]', b'[[],{"order_id":"o-1"}]'),
    anything: (b'[[{"a":[1,2]}],{}]', b"[[1,2],{}]", b"[[1,2,3],{}]", b'[[1],{"named":2}]'),
    remind: (b'[["2026-11-01",["x"]],{}]', b'[["2026-11-01",null,[1,2]],{}]'),
    nothing: (b"[[],{}]",),
}

hostile = st.sampled_from(
    [
        b"[[],{}]",
        b'[["o-1",5],{}],[["o-2",6],{}]',
        b'[["o-1",5],{}],[["o-2"',
        b",6],{}]",
        b'[["o-1",true],{}]',
        b'[["o-1",5.0],{}]',
        b'[["o-1","5"],{}]',
        b'[["o-1",5],{"cents":6}]',
        b'[["o-1",5],{},{}]',
        b'[["o-1",5,"EUR"],{}]',
        b'[["2026-13-01",null],{}]',
        b' [ [ "o-1" , 5 ] , { } ] ',
        b"[[1,2],{}]\x00",
        b"[[NaN],{}]",
        b'[["\xff"],{}]',
        b"[" * 100_000,
        b"",
    ]
)


def mutations(bodies: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """These with some bytes of them replaced, left out or put in."""
    return st.tuples(
        st.sampled_from(bodies), st.integers(0, 200), st.integers(0, 3), st.binary(max_size=3)
    ).map(lambda drawn: drawn[0][: drawn[1]] + drawn[3] + drawn[0][drawn[1] + drawn[2] :])


def codec_of(func: Callable[..., Any]) -> ArgumentCodec:
    """The codec of a task made of this function."""
    return ArgumentCodec(inspect.signature(func), func, JsonSerializer(), "shop.task")


def outcome(decode: Reader, payload: bytes) -> Call | None:
    """What it reads, if it does."""
    try:
        return decode(payload)
    except (CorruptRecord, *UNREADABLE):
        return None


# -- arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=100)
@given(data=st.data())
def test_a_reader_decodes_as_the_codec_or_not_at_all(task: Callable[..., Any], data: st.DataObject) -> None:
    """Whichever call it is for, and whatever bytes it gets."""
    codec = codec_of(task)
    known = data.draw(st.sampled_from(CALLS[task]))
    payload = data.draw(mutations(CALLS[task]) | hostile | st.binary(max_size=40))
    back = outcome(codec.reader(codec.decode(known)), payload)
    if back is not None:
        assert repr(back) == repr(codec.decode(payload))


@pytest.mark.parametrize("task", TASKS)
def test_a_reader_decodes_the_calls_it_is_for(task: Callable[..., Any]) -> None:
    """Each time anew: nothing that jobs get is shared."""
    codec = codec_of(task)
    for payload in CALLS[task]:
        call = codec.decode(payload)
        read = codec.reader(call)
        one, other = read(payload), read(payload)
        assert one == other == call
        assert one[1] is not other[1]


def test_arguments_of_two_jobs_are_not_the_same_objects() -> None:
    """What one job does to its own is not seen by the next."""
    codec = codec_of(anything)
    payload = b'[[{"a":[1]}],{}]'
    read = codec.reader(codec.decode(payload))
    (value,), _ = read(payload)
    value["a"].append(2)
    assert read(payload) == (({"a": [1]},), {})


def test_there_is_no_end_of_counts_and_an_end_of_readers() -> None:
    """Calls with more arguments than there are names for are decoded as ever."""
    codec = codec_of(anything)
    for count in range(2, 6):
        payload = b"[[%b],{}]" % b",".join([b"1"] * count)
        is_quick = codec.reader(codec.decode(payload)) != codec.decode
        assert is_quick is (count == 2)


# -- bodies ----------------------------------------------------------------------------------------------

traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
usual_bodies = [
    seal(Envelope(task, "json", headers, payload))
    for task in ("shop.charge", "shop.100%d")
    for headers in ({}, traced, {"k": "a\nb", "ü": '"'})
    for payload in (b'[["o-1",5],{}]', b"[[],{}]", b"", b"\n\n")
]
odd_bodies = [
    b'{"v":1,"t":"shop.charge","s":"json","h":%b,"c":%d}\n[[],{}]' % (headers, checksum)
    for headers in (b"{}", b'{"k": "v"}', b'{},"c":1', b'{"k":1}', b"", b"[]", b'{},"x":{}')
    for checksum in (
        crc32(b'["shop.charge","json",{}][[],{}]'),
        crc32(b'["shop.charge","json",%b][[],{}]' % headers),
    )
]
some_bodies = st.sampled_from([*usual_bodies, *odd_bodies, b"", b"\n", b"null\n"])


@settings(max_examples=150)
@given(data=st.data())
def test_bodies_are_read_together_as_each_by_itself(data: st.DataObject) -> None:
    """All of them, or none: whatever lies beside a body, its own checksum counts, and its own payload."""
    beginning = plain_beginning(data.draw(st.sampled_from(usual_bodies)))
    assert beginning is not None
    one_kind = data.draw(st.booleans())
    alike = [body for body in usual_bodies if body.startswith(beginning.line)] if one_kind else usual_bodies
    bodies = data.draw(
        st.lists(
            st.sampled_from(alike) | some_bodies | mutations(tuple(alike))
            if not one_kind
            else st.sampled_from(alike),
            min_size=1,
            max_size=5,
        )
    )
    singly = [beginning.read(body) for body in bodies]
    together = beginning.read_all(bodies)
    if None in singly:
        assert together is None
    else:
        assert together is not None
        assert [*zip(*together, strict=True)] == singly
        assert len({*map(id, together[0])}) == len(bodies)


# -- jobs ------------------------------------------------------------------------------------------------


def a_job(name: str, payload: bytes, seq: int = 1, **more: Any) -> StoredJob:
    """A call of a task, as it is stored."""
    about = {"headers": {}, "serializer": "json", **{k: more.pop(k) for k in ("headers",) if k in more}}
    body = seal(Envelope(name, payload=payload, **about))
    return StoredJob(**{"id": f"q/p:{seq}", "seq": seq, "level": 3, "body": body, "eligible_at": 0.0, **more})


class Desk:
    """A lane and what its jobs call."""

    def __init__(self) -> None:
        self.app, self.bus, self.ran = Glassq("sqlite://"), Bus(), list[Any]()
        clock = FakeClock()
        attempts = Attempts(
            self.app.registry, self.bus, clock, serializer="json", max_crashes=5, random=lambda: 0.5
        )
        self.tasks = attempts.plain
        lane = HeldLane(Lease("q", "c-7", 41), clock.monotonic() + 15, clock)
        self.plain = PlainAttempts(attempts, lane)

    def task(self, func: Callable[..., Any], name: str, **options: Any) -> None:
        """Register one."""
        self.app.fifo("q", name=name, **options)(func)

    def taken(self, jobs: Sequence[StoredJob]) -> list[Any]:
        """What they call, in the way of a lane that is run ahead."""
        return [told(call) for call in self.plain.calls(jobs)]


def told(call: Any) -> Any:
    """A call in a form that can be compared."""
    return None if call is None else (call[0].name, *call[1:])


def generally(desk: Desk, job: StoredJob) -> Any:
    """What a job calls if it is plain, found out without any of the quick ways."""
    try:
        envelope = open_envelope(job.body)
    except CorruptRecord:
        return None
    task = desk.app.registry.find(envelope.task)
    if task is None or task.result_ttl or job.expires_at is not None:
        return None
    call = outcome(task.codec.decode, envelope.payload)
    return None if call is None else (task, envelope.headers, *call)


@settings(max_examples=100)
@given(data=st.data())
def test_jobs_are_opened_together_as_each_by_itself(data: st.DataObject) -> None:
    """Whatever lies beside a job in its lane: damaged ones, other tasks, other headers, hostile payloads. No
    job ever gets what is another one's."""
    desk = Desk()
    desk.task(charge, "charge")
    desk.task(remind, "remind")
    desk.task(anything, "kept", result_ttl=60)
    payloads = st.sampled_from(CALLS[charge] + CALLS[remind]) | hostile | mutations(CALLS[charge])
    usual: st.SearchStrategy[Any] = st.just(("charge", CALLS[charge][0], {}))
    odd: st.SearchStrategy[Any] = st.tuples(
        st.sampled_from(["charge", "remind", "kept", "unheard"]),
        payloads,
        st.sampled_from([{}, {"headers": traced}, {"expires_at": 0.0}, {"body": b"what nobody wrote"}]),
    )
    most = usual if data.draw(st.booleans()) else odd
    drawn = data.draw(st.lists(most | odd, min_size=1, max_size=12))
    jobs = [a_job(name, payload, seq, **more) for seq, (name, payload, more) in enumerate(drawn, 1)]
    expected = [told(generally(desk, job)) for job in jobs]
    assert repr(desk.taken(jobs)) == repr(expected)
    assert repr(desk.taken(jobs)) == repr(expected)  # with what is known by now


@pytest.mark.parametrize("headers", [{}, traced], ids=str)
def test_usual_jobs_are_opened_together(headers: dict[str, str]) -> None:
    """All that were read for a lane, with arguments of their own."""
    desk = Desk()
    desk.task(anything, "charge")
    jobs = [a_job("charge", b'[[%d,{"of":[%d]}],{}]' % (n, n), n, headers=headers) for n in range(100)]
    assert desk.tasks.open_together(jobs[:2]) is None  # nothing is known of such calls yet
    found = desk.taken(jobs)
    assert found == [("charge", headers, (n, {"of": [n]}), {}) for n in range(100)]
    opened = desk.tasks.open_together(jobs)
    assert [told(call) for call in opened or ()] == found
    alike = desk.tasks.open_together([jobs[0]] * 3) or ()
    assert len({id(call[2][1]) for call in alike}) == len({id(call[1]) for call in alike}) == 3


def test_large_jobs_are_opened_when_their_turn_comes() -> None:
    """They would all lie in memory twice, and the first one wait for all."""
    desk = Desk()
    desk.task(anything, "charge")
    jobs = [a_job("charge", b'[["%b"],{}]' % (b"x" * 3_000)) for _ in range(32)]
    assert len(desk.taken(jobs)) == 32
    assert desk.tasks.open_together(jobs) is None
    assert desk.tasks.open_together(jobs[:16]) is not None


def test_what_a_job_means_is_known_when_its_turn_comes() -> None:
    """A task that is changed between two jobs is changed for the second one, and so is who minds."""
    desk = Desk()
    desk.task(anything, "charge")
    calls = desk.plain.calls([a_job("charge", b"[[%d],{}]" % n, n) for n in range(9)])
    taken = []
    for change in (
        lambda: None,
        lambda: None,
        lambda: desk.app.registry.default(result_ttl=60),
        lambda: desk.app.registry.default(result_ttl=0),
        lambda: desk.bus.wrap(contextlib.nullcontext),
        lambda: desk.bus.unwrap(contextlib.nullcontext),
    ):
        change()
        taken.append(told(next(calls)))
    assert [call and call[2] for call in taken] == [(0,), (1,), None, (3,), None, (5,)]


@dataclasses.dataclass
class Counted:
    """Its own code runs when it is restored."""

    number: int

    def __post_init__(self) -> None:
        """Note that."""
        MADE.append(self.number)


class Picked(enum.Enum):
    """So does this one's, for values it does not have."""

    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Picked:
        MADE.append(value)
        return cls.ONE


MADE: list[Any] = []


@pytest.mark.parametrize("kind", [Counted, Picked, list[Counted], dict[str, Picked] | None, Counted | None])
def test_code_of_a_program_does_not_run_before_its_job(kind: Any) -> None:
    """Restoring what is a program's own waits for the job's turn."""
    desk = Desk()

    def take(it: Any) -> None: ...

    take.__annotations__ = {"it": kind}
    desk.task(take, "take")
    value = b'{"number":%d}' if "Counted" in str(kind) else b"%d"
    value = b"[%b]" % value if "list" in str(kind) else b'{"a":%b}' % value if "dict" in str(kind) else value
    calls = desk.plain.calls([a_job("take", b"[[%b],{}]" % (value % n), n) for n in range(7, 12)])
    for number in range(7, 12):
        MADE.clear()
        assert next(calls) is not None
        assert {*MADE} == {number}
