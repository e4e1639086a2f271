"""Bodies of jobs that are opened in the quick ways: as in the general one, or not at all."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassq.codec import UNREADABLE, ArgumentCodec, Call, JsonSerializer, Reader
from glassq.errors import CorruptRecord


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
@settings(max_examples=200)
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
