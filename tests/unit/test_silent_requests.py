"""Requests that get no answer: held back while nothing is awaited, never at the price of another one's."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import exceptions

from glassq.stores.redis.failures import diagnose
from glassq.stores.redis.line import MORE, Line
from glassq.stores.redis.location import Location
from glassq.stores.redis.pipeline import SKIP_REPLY, Stream
from glassq.stores.redis.resp import packed
from tests.unit.test_pipeline import Hand, Words, ask, connected, hand, shared, threads

__all__ = ["connected", "hand", "shared", "threads"]  # fixtures


def stream_of(pipeline: Words) -> Stream:
    """The connection it has."""
    assert pipeline.stream is not None
    return pipeline.stream


def silently(*words: str) -> bytes:
    """A request that gets no answer."""
    return SKIP_REPLY + packed(words)


@pytest.mark.parametrize(("said", "may"), [(b"+OK\r\n", True), (b"-NOPERM not you\r\n", False)])
def test_a_server_is_asked_once_whether_answers_may_be_skipped(
    hand: Hand, connected: Words, threads: ThreadPoolExecutor, said: bytes, may: bool
) -> None:
    """Nobody waits for it, and until it has said so they may not."""
    stream = stream_of(connected)
    assert not stream.may_skip
    assert hand.hear() == [b"CLIENT REPLY ON"]
    assert not stream.may_skip
    asked = ask(threads, connected, hand, "a")
    hand.say(said + b":1\r\n")
    assert asked.result(timeout=10) == 1
    assert stream.may_skip is may


def test_nothing_is_asked_where_nothing_can_be_held_back(
    hand: Hand, connected: Words, threads: ThreadPoolExecutor
) -> None:
    """Over TLS, through a socket file, on another system; nor of a stand-in, which tells no run."""
    stream = stream_of(connected)
    stream._line.holds_back = False
    assert not stream.may_skip
    stream._line.holds_back, stream.run = True, b""
    assert not stream.may_skip
    asked = ask(threads, connected, hand, "a")
    hand.say(b":1\r\n")
    assert asked.result(timeout=10) == 1


def test_only_over_tcp_and_in_the_clear_is_anything_held_back(
    hand: Hand, connected: Words, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """The system holds nothing back on other sockets."""
    assert stream_of(connected)._line.holds_back
    with socket.socket(socket.AF_UNIX) as file:
        file.bind(str(tmp_path / "redis.sock"))
        file.listen()
        location = Location.parse(f"unix://{tmp_path}/redis.sock")
        wire = location.wire(lambda wire: setattr(wire, "run", ""))
        wire.connect()
        assert not Line(wire).holds_back
        wire.disconnect()


def test_nothing_is_held_back_while_an_answer_is_awaited(
    hand: Hand, connected: Words, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O4: a process that dies with an answer unread resets its connection, and what it did not send is lost.
    Whatever is sent and answered brings along what was held back, in its order."""
    stream = stream_of(connected)
    sent: list[bool] = []
    hand_over = stream._line.hand_over

    def handing_over(packed: bytes, flags: int) -> None:
        sent.append(flags == MORE)
        hand_over(packed, flags)

    monkeypatch.setattr(stream._line, "hand_over", handing_over)
    assert stream.send_silently(silently("a"))
    assert stream.send_silently(silently("b"))
    awaited = connected.send("c")
    assert stream.send_silently(silently("d"))
    assert sent == [True, True, False, False]
    skip = b"CLIENT REPLY SKIP"
    assert hand.hear(7) == [skip, b"a", skip, b"b", b"c", skip, b"d"]
    hand.say(b":1\r\n")
    assert awaited.answer() == 1
    stream.send_silently(silently("e"))
    assert sent[-1]


def test_a_refusal_behind_requests_without_an_answer_breaks_the_connection(
    hand: Hand, connected: Words, threads: ThreadPoolExecutor
) -> None:
    """It may be one of theirs, of a client that may not skip answers any more: then all that follow belong to
    others than they seem to. Without such requests a refusal concerns only its own."""
    stream = stream_of(connected)
    stream.send_silently(silently("a"))
    first, second = connected.send("b"), connected.send("c")
    hand.hear(4)
    hand.say(b"-NOPERM not you any more\r\n:1\r\n:2\r\n")
    for each in (first, second):
        with pytest.raises(exceptions.ConnectionError) as raised:
            each.answer()
        assert diagnose(raised.value).lost
    assert not stream.send_silently(silently("d"))


@pytest.mark.parametrize(
    "refusal",
    [
        "NOSCRIPT No matching script. Please use EVAL.",
        "GLASSQNOTHEAD a:1",
        "OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:9.",
    ],
)
def test_what_is_refused_to_a_script_is_nobody_elses(hand: Hand, connected: Words, refusal: str) -> None:
    """A server that is new knows no script, and a full one takes no job: the connection goes on."""
    stream_of(connected).send_silently(silently("a"))
    first, second = connected.send("b"), connected.send("c")
    hand.hear(4)
    hand.say(b"-%b\r\n:1\r\n" % refusal.encode())
    with pytest.raises(exceptions.ResponseError):
        first.answer()
    assert second.answer() == 1
