"""RESP2: requests are framed as the server reads them, answers are found whatever pieces they come in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from redis import exceptions

from glassq.stores.redis.resp import NOTHING, Answers, packed


class Refusal(Exception):
    """What the tests make of the server's words."""


def refusal(words: str) -> Refusal:
    """The words, kept."""
    return Refusal(words)


def told(value: Any) -> bytes:
    """The bytes of an answer."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(map(told, value))


def taken(pieces: list[bytes]) -> list[Any]:
    """All answers in these pieces, each looked for as soon as it may be whole."""
    answers = Answers(refusal)
    found = []
    for piece in pieces:
        answers.feed(piece)
        while (answer := answers.take()) is not NOTHING:
            found.append(answer)
    assert not answers.left
    return found


VALUES = some.recursive(
    some.none() | some.integers(-(2**63), 2**63 - 1) | some.binary(max_size=40),
    lambda inner: some.lists(inner, max_size=4),
    max_leaves=12,
)


@given(values=some.lists(VALUES, max_size=5), size=some.integers(1, 50))
def test_answers_are_found_in_pieces_of_any_size(values: list[Any], size: int) -> None:
    """Several at once, or one in many pieces: each comes out whole, in its order."""
    data = b"".join(map(told, values))
    assert taken([data[at : at + size] for at in range(0, len(data), size)]) == values


def test_an_answer_is_not_there_before_its_last_byte() -> None:
    """Nor is an array before its last element, however many are."""
    data = b"*3\r\n$2\r\nab\r\n*2\r\n:-7\r\n+OK\r\n$0\r\n\r\n"
    answers = Answers(refusal)
    for at in range(len(data) - 1):
        answers.feed(data[at : at + 1])
        assert answers.take() is NOTHING
    answers.feed(data[-1:])
    assert answers.take() == [b"ab", [-7, b"OK"], b""]


def test_a_null_array_and_an_empty_one_are_told_apart() -> None:
    """Also as the last element of another one."""
    assert taken([b"*-1\r\n*0\r\n*2\r\n*0\r\n*-1\r\n"]) == [None, [], [[], None]]


def test_a_refusal_is_a_value() -> None:
    """Whoever asked is to raise it; those who asked for something else are not."""
    (alone, (first, within)) = taken([b"-ERR no\r\n*2\r\n:1\r\n-WRONGTYPE \xff\r\n"])
    assert (type(alone), str(alone)) == (Refusal, "ERR no")
    assert (first, type(within), str(within)) == (1, Refusal, "WRONGTYPE \N{REPLACEMENT CHARACTER}")


def test_what_is_no_resp2_is_refused() -> None:
    """Nobody asked for another protocol: the connection cannot be trusted."""
    answers = Answers(refusal)
    answers.feed(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(exceptions.InvalidResponse):
        answers.take()


@given(parts=some.lists(some.text(max_size=20) | some.binary(max_size=20) | some.integers(), min_size=1))
def test_requests_are_arrays_of_bytes(parts: list[str | bytes | int]) -> None:
    """Text by its UTF-8, numbers by their digits, bytes as they are."""
    words = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    assert taken([packed(parts)]) == [words]


def test_numbers_are_told_as_they_are_given() -> None:
    """Equal ones may have different texts."""
    assert taken([packed((1, 1.0, "1", True))]) == [[b"1", b"1.0", b"1", b"True"]]


@given(
    texts=some.lists(
        some.binary(max_size=20) | some.sampled_from([b"\r\n", b"$3\r\nabc", b"a\r\n$1\r\nb"]) | some.none(),
        min_size=6,
        max_size=30,
    ),
    size=some.integers(1, 400),
)
def test_texts_of_an_array_are_found_whatever_is_in_them(texts: list[Any], size: int) -> None:
    """Also where they look like the lengths of others."""
    data = told(texts) + told(b"next")
    assert taken([data[at : at + size] for at in range(0, len(data), size)]) == [texts, b"next"]
