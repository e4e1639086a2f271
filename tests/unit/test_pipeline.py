"""One connection for all threads: every answer reaches the one who asked, whatever happens to the others."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
import pytest
from redis import exceptions

from glassq.stores.redis.failures import diagnose
from glassq.stores.redis.location import Location
from glassq.stores.redis.pipeline import Pending, Pipeline
from glassq.stores.redis.resp import packed
from tests.conformance.redisservers import standing_in


class Hand:
    """A server played by the test: it hears requests and says what the test wants, when it wants."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port = self._listener.getsockname()[1]
        self._peer: socket.socket | None = None
        self._heard = b""
        self.connections = 0

    def hear(self, count: int = 1) -> list[bytes]:
        """The next requests' words, of a connection that is accepted first if there is none."""
        words: list[bytes] = []
        while len(words) < count:
            if self._peer is None:
                self._peer, _ = self._listener.accept()
                self._peer.settimeout(10)
                self.connections += 1
            word, rest = _parsed(self._heard)
            if word is None:
                more = self._peer.recv(65536)
                assert more, "the client hung up"
                self._heard += more
                continue
            self._heard = rest
            if word.startswith(b"CLIENT SETINFO"):  # what the library says of itself when it connects
                self.say(b"+OK\r\n")
            else:
                words.append(word)
        return words

    def say(self, answer: bytes) -> None:
        """Send this."""
        assert self._peer is not None
        self._peer.sendall(answer)

    def hang_up(self) -> None:
        """Close the connection; the next request is on a new one."""
        assert self._peer is not None
        self._peer.close()
        self._peer, self._heard = None, b""

    def close(self) -> None:
        """Gone."""
        if self._peer is not None:
            self._peer.close()
        self._listener.close()


def _parsed(data: bytes) -> tuple[bytes | None, bytes]:
    """The first request in `data` as words with spaces between them, and what follows it."""
    head, found, rest = data.partition(b"\r\n")
    words = []
    for _ in range(int(head[1:]) if found else 0):
        length, found, rest = rest.partition(b"\r\n")
        size = int(length[1:]) if found else 0
        if not found or len(rest) < size + 2:
            return None, data
        words.append(rest[:size])
        rest = rest[size + 2 :]
    return (b" ".join(words), rest) if words else (None, data)


def saying(*words: str | bytes | int) -> Callable[[bytes], bytes]:
    """A request of these words, whatever the run it is made for."""
    return lambda _: packed(words)


class Words(Pipeline):
    """Asks one thing at a time, in words."""

    def ask(self, *words: str) -> Any:
        """The answer; raises what is a refusal."""
        (answer,) = self.ask_each([saying(*words)])
        if isinstance(answer, exceptions.RedisError):
            raise answer
        return answer

    def send(self, *words: str) -> Pending:
        """Do not wait for the answer."""
        return self.submit(saying(*words))


def greet(wire: Any) -> None:
    """What is said on a new connection, which then knows where it leads to."""
    wire.on_connect()
    wire.run = "run"


@pytest.fixture
def hand() -> Iterator[Hand]:
    """The server."""
    played = Hand()
    yield played
    played.close()


@pytest.fixture
def shared(hand: Hand) -> Iterator[Words]:
    """The connection under test."""
    location = Location.parse(f"redis://127.0.0.1:{hand.port}/0")
    pipeline = Words(partial(location.wire, greet))
    yield pipeline
    pipeline.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Those who ask."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def ask(threads: ThreadPoolExecutor, shared: Words, hand: Hand, word: str) -> Future[Any]:
    """Ask in a thread of its own, and wait until the server has heard it."""
    asked = threads.submit(shared.ask, word)
    assert hand.hear() == [word.encode()]
    return asked


def test_answers_reach_those_who_asked_in_the_order_of_the_requests(
    hand: Hand, shared: Words, threads: ThreadPoolExecutor
) -> None:
    """Several threads share one connection; nobody waits for another one's answer before it sends."""
    asked = [ask(threads, shared, hand, word) for word in ("a", "b", "c")]
    for number in (1, 2, 3):
        hand.say(b":%d\r\n" % number)
        assert asked[number - 1].result(timeout=10) == number
    assert hand.connections == 1


def test_the_leader_hands_the_reading_on(hand: Hand, shared: Words, threads: ThreadPoolExecutor) -> None:
    """Whoever reads leaves with its own answer; those who still wait are read for by one of them."""
    asked = [ask(threads, shared, hand, word) for word in "abcdefgh"]
    for number, each in enumerate(asked):
        hand.say(b":%d\r\n" % number)
        assert each.result(timeout=10) == number


def test_a_refusal_concerns_only_its_request(hand: Hand, shared: Words, threads: ThreadPoolExecutor) -> None:
    """An error the server answers with is raised where it was asked; the connection goes on."""
    first, second = ask(threads, shared, hand, "a"), ask(threads, shared, hand, "b")
    hand.say(b"-NOSCRIPT no such script\r\n+OK\r\n")
    with pytest.raises(exceptions.NoScriptError):
        first.result(timeout=10)
    assert second.result(timeout=10) == b"OK"


def test_a_broken_connection_is_told_to_everybody_who_waits(
    hand: Hand, shared: Words, threads: ThreadPoolExecutor
) -> None:
    """All that were on their way may have been carried out; the next request opens a new connection."""
    asked = [ask(threads, shared, hand, word) for word in "abc"]
    hand.hang_up()
    for each in asked:
        with pytest.raises(exceptions.ConnectionError) as raised:
            each.result(timeout=10)
        assert diagnose(raised.value).lost
    again = ask(threads, shared, hand, "d")
    hand.say(b"+OK\r\n")
    assert again.result(timeout=10) == b"OK"
    assert hand.connections == 2


def test_what_the_server_says_last_concerns_the_first_who_waits(
    hand: Hand, shared: Words, threads: ThreadPoolExecutor
) -> None:
    """LOADING ends a connection in the client library: the one it was said to knows it was not carried out,
    of the others nobody knows."""
    first, second = ask(threads, shared, hand, "a"), ask(threads, shared, hand, "b")
    hand.say(b"-LOADING Redis is loading the dataset in memory\r\n")
    with pytest.raises(exceptions.BusyLoadingError):
        first.result(timeout=10)
    with pytest.raises(exceptions.ConnectionError) as raised:
        second.result(timeout=10)
    assert diagnose(raised.value).lost


def test_a_goodbye_while_nobody_asks_is_heard_before_the_next_request(
    hand: Hand, shared: Words, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that restarted while the connection was idle costs nothing: the request goes to the new one,
    and nobody has to doubt whether it was carried out."""
    first = ask(threads, shared, hand, "a")
    hand.say(b"+OK\r\n")
    first.result(timeout=10)
    hand.hang_up()
    monkeypatch.setattr("glassq.stores.redis.line._JUST_NOW", 0.0)  # as if nobody had asked for a while
    again = ask(threads, shared, hand, "b")
    hand.say(b"+OK\r\n")
    assert again.result(timeout=10) == b"OK"


@pytest.fixture
def hasty(hand: Hand) -> Iterator[Words]:
    """A connection that is given up after a moment."""
    location = Location.parse(f"redis://127.0.0.1:{hand.port}/0")
    settings = {**location.settings, "socket_timeout": 0.2}
    pipeline = Words(partial(msgspec.structs.replace(location, settings=settings).wire, greet))
    yield pipeline
    pipeline.close()


def test_a_silent_server_is_given_up_in_time(hand: Hand, hasty: Words, threads: ThreadPoolExecutor) -> None:
    """Nobody knows whether the request was carried out; the next one goes out on a new connection."""
    asked = ask(threads, hasty, hand, "a")
    with pytest.raises(exceptions.TimeoutError) as raised:
        asked.result(timeout=10)
    assert diagnose(raised.value).lost
    hand.hang_up()
    again = ask(threads, hasty, hand, "b")
    hand.say(b"+OK\r\n")
    assert again.result(timeout=10) == b"OK"


def test_a_server_that_takes_nothing_is_given_up_in_time(
    hand: Hand, hasty: Words, threads: ThreadPoolExecutor
) -> None:
    """A request that is larger than what the system keeps for it, and that nobody reads."""
    first = ask(threads, hasty, hand, "a")
    hand.say(b"+OK\r\n")
    first.result(timeout=10)
    with pytest.raises(exceptions.TimeoutError) as raised:
        hasty.send("x" * 50_000_000)
    assert diagnose(raised.value).lost


def test_requests_sent_together_are_answered_together(
    hand: Hand, shared: Words, threads: ThreadPoolExecutor
) -> None:
    """Refusals among them are values, so that the others' answers are not lost."""
    asked = threads.submit(shared.ask_each, [saying("a", 1), saying("b", b"\xff"), saying("c")])
    assert hand.hear(3) == [b"a 1", b"b \xff", b"c"]
    hand.say(b":1\r\n-ERR no\r\n:3\r\n")
    one, two, three = asked.result(timeout=10)
    assert (one, type(two), three) == (1, exceptions.ResponseError, 3)


def asleep(shared: Words) -> bool:
    """Whether the last one who asked waits for another thread to read."""
    assert shared._stream is not None
    return shared._stream._waiting[-1].gate is not None


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "sleeper"])
def test_an_interrupted_caller_leaves_the_others_their_answers(
    hand: Hand, shared: Words, threads: ThreadPoolExecutor, leads: bool
) -> None:
    """Ctrl-C while it waits: a sleeper is simply answered to nobody; a leader's place in the stream is lost
    with it, so all are told and nobody waits for ever."""
    other = None if leads else ask(threads, shared, hand, "other")

    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        hand.hear()
        while not leads and not asleep(shared):  # in the middle of sending it would break the connection
            threading.Event().wait(0.001)
        signal.pthread_kill(main, signal.SIGINT)

    threads.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        shared.ask("mine")
    if other is not None:
        late = ask(threads, shared, hand, "late")
        hand.say(b":1\r\n:2\r\n:3\r\n")
        assert (other.result(timeout=10), late.result(timeout=10)) == (1, 3)
    else:
        hand.hang_up()
        after = ask(threads, shared, hand, "after")
        hand.say(b":1\r\n")
        assert after.result(timeout=10) == 1


def test_a_forked_child_has_a_connection_of_its_own(
    hand: Hand, shared: Words, threads: ThreadPoolExecutor
) -> None:
    """It neither reads the parent's answers nor ends its connection, of which it keeps no copy either."""
    first = ask(threads, shared, hand, "a")
    hand.say(b"+OK\r\n")
    first.result(timeout=10)
    assert shared._stream is not None
    socket_of_parent = shared._stream._line._sock
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if socket_of_parent.fileno() != -1:
            os._exit(1)
        try:
            shared.ask("child")
        except exceptions.RedisError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    second = ask(threads, shared, hand, "b")  # on the old connection: the child's is not accepted yet
    hand.say(b"+OK\r\n")
    assert second.result(timeout=10) == b"OK"
    hand.hang_up()
    assert hand.hear() == [b"child"]
    hand.hang_up()
    assert os.waitpid(child, 0)[1] == 0
    assert b"closed" in os.read(reader, 1000)
    os.close(reader)


@pytest.fixture
def redis_like() -> Iterator[str]:
    """A stand-in that echoes."""
    with standing_in() as url:
        yield url


def test_many_threads_get_their_own_answers(redis_like: str) -> None:
    """Under load, with many leaders in turn, no answer goes astray."""
    shared = Words(partial(Location.parse(redis_like).wire, greet))
    wrong: list[tuple[str, Any]] = []

    def echo(name: int) -> None:
        for number in range(300):
            word = f"{name}:{number}"
            answer = shared.ask("ECHO", word)
            if answer != word.encode():
                wrong.append((word, answer))

    everyone = [threading.Thread(target=echo, args=(name,)) for name in range(16)]
    for each in everyone:
        each.start()
    for each in everyone:
        each.join()
    shared.close()
    assert not wrong


@pytest.fixture
def connected(hand: Hand, shared: Words, threads: ThreadPoolExecutor) -> Words:
    """The connection under test, open."""
    asked = ask(threads, shared, hand, "hello")
    hand.say(b"+OK\r\n")
    assert asked.result(timeout=10) == b"OK"
    return shared


def test_an_answer_that_nobody_waits_for_is_taken_in_by_whoever_looks(hand: Hand, connected: Words) -> None:
    """Sent without waiting, looked for without waiting; a look takes in all that has come."""
    sent = [connected.send(word) for word in "abc"]
    assert hand.hear(3) == [b"a", b"b", b"c"]
    assert not any(each.arrived() for each in sent)
    hand.say(b"+one\r\n+two\r\n")
    assert sent[1].answer() == b"two"
    assert [each.arrived() for each in sent] == [True, True, False]
    assert sent[0].answer() == b"one"
    hand.say(b"-ERR no\r\n")
    with pytest.raises(exceptions.ResponseError):
        sent[2].answer()
    assert sent[2].arrived()


def test_a_look_finds_what_an_earlier_reader_has_taken_in(hand: Hand, connected: Words) -> None:
    """The socket may be empty already, and the answer in the reader's memory."""
    first, second = connected.send("a"), connected.send("b")
    hand.hear(2)
    hand.say(b":1\r\n:2\r\n")
    assert first.answer() == 1
    assert second.arrived()
    assert second.answer() == 2


def test_a_look_does_not_wait_for_the_rest_of_an_answer(hand: Hand, connected: Words) -> None:
    """A piece of it may be all that has come."""
    sent = connected.send("a")
    hand.hear()
    hand.say(b"*2\r\n$3\r\nab")
    for _ in range(3):
        assert not sent.arrived()
    hand.say(b"c\r\n:2\r\n")
    assert sent.answer() == [b"abc", 2]


def test_whoever_waits_reads_what_nobody_waited_for(
    hand: Hand, connected: Words, threads: ThreadPoolExecutor
) -> None:
    """The answers before its own are on the same connection."""
    sent = connected.send("a")
    hand.hear()
    asked = ask(threads, connected, hand, "b")
    assert not sent.arrived()
    hand.say(b":1\r\n:2\r\n")
    assert asked.result(timeout=10) == 2
    assert sent.arrived()
    assert sent.answer() == 1


def test_a_connection_that_breaks_is_told_to_those_who_did_not_wait(hand: Hand, connected: Words) -> None:
    """Nobody knows whether their requests were carried out; the next one goes out on a new connection."""
    sent = [connected.send(word) for word in "ab"]
    hand.hear(2)
    hand.hang_up()
    for each in sent:
        with pytest.raises(exceptions.ConnectionError):
            each.answer()
    assert all(each.arrived() for each in sent)
    assert hand.connections == 1


def test_a_look_at_a_broken_connection_says_that_nothing_will_come(hand: Hand, connected: Words) -> None:
    """Not waiting must not mean never hearing of it."""
    sent = connected.send("a")
    hand.hear()
    hand.hang_up()
    deadline = time.monotonic() + 10
    while not sent.arrived():
        assert time.monotonic() < deadline
    with pytest.raises(exceptions.ConnectionError):
        sent.answer()


def test_those_who_send_and_those_who_look_do_not_get_in_each_others_way(
    hand: Hand, connected: Words, threads: ThreadPoolExecutor
) -> None:
    """Some threads look for answers while others send: nothing fails, nothing is lost."""

    def serve() -> None:
        for _ in range(4 * 200):
            hand.hear()
            hand.say(b"+OK\r\n")

    def run_ahead() -> list[Any]:
        answers = []
        for _ in range(200):
            sent = connected.send("a")
            sent.arrived()
            answers.append(sent.answer())
        return answers

    served = threads.submit(serve)
    found = [each.result(timeout=30) for each in [threads.submit(run_ahead) for _ in range(4)]]
    served.result(timeout=10)
    assert found == [[b"OK"] * 200] * 4
