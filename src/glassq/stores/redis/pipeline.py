"""One connection shared by all threads: requests go out as they come, answers come back in their order.

No thread of its own reads: of those that wait for an answer, one reads for all (the leader) until its own
has come, and then hands the reading on. A single caller so pays for no change of threads, and many callers
share the server's round trips.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from redis import exceptions

from glassq.forking import begin_in_children
from glassq.stores.redis.failures import NeverSent
from glassq.stores.redis.line import AT_ONCE, MORE, Line, unsent
from glassq.stores.redis.location import Wire
from glassq.stores.redis.resp import NOTHING, packed

_REPLY_ON: Final = packed(("CLIENT", "REPLY", "ON"))
"""Changes nothing: who may say this may say `SKIP_REPLY`, too."""
SKIP_REPLY: Final = packed(("CLIENT", "REPLY", "SKIP"))
"""Stands before a request that is not to be answered. Only where a stream `may_skip`."""

Made = Callable[[bytes], bytes]
"""A request as it is sent, made for the run of the server that it is sent to."""


class Pending(msgspec.Struct, eq=False):
    """A request that was sent. Somebody has to ask for its answer, or for that of a later one: what has come
    is read only by those who ask. `gate` is held while a thread sleeps until it is answered or to lead.
    `follows_silence` says that requests which get no answer were sent right before it."""

    _stream: Stream
    done: bool = False
    value: Any = None
    leads: bool = False
    follows_silence: bool = False
    gate: threading.Lock | None = None

    def arrived(self) -> bool:
        """Whether the answer is there, or never will be. Does not wait."""
        return self.done or self._stream.look_for(self)

    def answer(self) -> Any:
        """The answer, waited for. Raises `redis.exceptions.RedisError`: what the server said, or what became
        of the connection."""
        value = self.value if self.done else self._stream.wait_for(self)
        if isinstance(value, exceptions.RedisError):
            raise value
        return value


class Stream:
    """One connection's life. Broken once, it stays broken: what waited for it may have been carried out."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.run = line.run
        """The run of the server it leads to."""
        self._sending = threading.Lock()
        self._state = threading.Lock()
        self._waiting: deque[Pending] = deque()
        self._sleepers = 0
        self._led = False
        self._silent = False
        self._permission: Pending | None = None
        self.broken = False

    @property
    def may_skip(self) -> bool:
        """Whether requests may be sent here that get no answer (`send_silently`). The first who wants to know
        has the server asked; nobody waits for what it says, and until then it is False.

        Never where nothing is saved by it, nor of what does not tell its run: a stand-in for a server, which
        may hang up on what it does not know.
        """
        asked = self._permission
        if asked is None and self._line.holds_back and self.run:
            asked = self._permission = Pending(self)
            try:
                self.send(_REPLY_ON, (asked,))
            except exceptions.RedisError as error:
                asked.value = error
        return asked is not None and asked.value == b"OK"

    def send_silently(self, packed: bytes) -> bool:
        """Put requests on the wire, each behind a `SKIP_REPLY`; False when it had broken before. The system
        has them when this returns. It may send them with the next ones, see `Line.hand_over`: unless any
        answer is awaited, as a process that dies with an answer unread takes with it what is held back.

        Whether they were carried out is known from later requests.
        """
        with self._sending:
            if self.broken:
                return False
            self._silent = True
            hand_over = self._line.hand_over
            try:
                hand_over(packed, AT_ONCE if self._waiting else MORE)
            except OSError as error:
                failure = unsent(error)
                self._break(failure)
                raise failure from error
            except BaseException as error:
                self._break(error)
                raise
        return True

    def send(self, packed: bytes, requests: Sequence[Pending]) -> bool:
        """Put requests on the wire, whole and next to each other; False when it had broken before."""
        with self._sending:
            # Something to read while nothing was asked is the server's goodbye: a request that followed it
            # would be lost, and nobody could know whether it was carried out.
            if not self._waiting and self._line.said_more():
                self._break(exceptions.ConnectionError("the server closed the connection"))
            if self.broken:
                return False
            if self._silent and requests:
                self._silent, requests[0].follows_silence = False, True
            # Before it is sent: its answer may be there at once.
            self._waiting.extend(requests)
            try:
                self._line.send(packed)
            except BaseException as error:
                # Also on Ctrl-C: half a request would make the next one a part of it.
                self._break(error)
                raise
        return True

    def wait_for(self, request: Pending) -> Any:
        """Wait for this answer, reading those before it; a failure is an answer, too."""
        read = self._line.read
        try:
            while not request.done:
                if self._lead_or_sleep(request):
                    while not request.done:
                        self._read_one(read, request)
            # What has come along wakes those it is for at once, not one by the other.
            while request.leads and self._read_one(self._line.take, request):
                pass
        finally:
            # In this order: a promotion sets `leads` first.
            if request.gate is not None or request.leads:
                self._leave(request)
        return request.value

    def look_for(self, request: Pending) -> bool:
        """Whether this answer is there. Reads what has come before it and with it, if nobody else reads
        now."""
        with self._state:  # lead, if nobody does
            if self._led:
                return request.done
            self._led = request.leads = True
        read = self._line.look
        try:
            while (answer := read()) is not NOTHING and self._deliver(self._sound(answer), request):
                if not request.leads:
                    break
                if request.done:
                    read = self._line.take
        except Exception as error:  # licensed: whatever it was, the place in the stream is lost with it
            self.shut(error)
        except BaseException as error:
            self.shut(error)
            raise
        finally:
            if request.leads:
                self._leave(request)
        return request.done

    def shut(self, error: BaseException) -> None:
        """Break it for this reason."""
        with self._sending:
            self._break(error)

    def let_go(self) -> None:
        """See `Line.let_go`."""
        self._line.let_go()

    def _lead_or_sleep(self, request: Pending) -> bool:
        """Become the leader if there is none; otherwise sleep until answered or promoted."""
        with self._state:
            if request.done:
                return False
            if not self._led:
                self._led = request.leads = True
                return True
            gate = request.gate = threading.Lock()
            self._sleepers += 1
            gate.acquire()
        gate.acquire()  # released by whoever answers or promotes
        return request.leads and not request.done

    def _read_one(self, read: Callable[[], Any], leader: Pending) -> bool:
        """Read the next answer and deliver it; False when there was none. The stream is broken after a
        failure."""
        try:
            answer = read()
            return answer is not NOTHING and self._deliver(self._sound(answer), leader)
        except Exception as error:  # licensed: whatever it was, the place in the stream is lost with it
            self.shut(error)
            return False
        except BaseException as error:
            self.shut(error)
            raise

    def _sound(self, answer: Any) -> Any:
        """This answer, if it surely belongs to the request that waits longest. A refusal behind requests that
        get no answer may be meant for one of them: whoever may not skip answers any more is told so, and gets
        them. Then nobody knows which answer is whose."""
        if type(answer) is not bytes and isinstance(answer, exceptions.RedisError):
            waiting = next(iter(tuple(self._waiting)), None)
            if waiting is not None and waiting.follows_silence and not _of_a_script(answer):
                raise exceptions.ConnectionError(f"nobody knows which request was refused: {answer}")
        return answer

    def _deliver(self, answer: Any, leader: Pending | None = None) -> bool:
        """Give the answer to the request that waits longest; False when none does. A leader that has its own
        leads no more, unless more has come along."""
        with self._state:
            if not self._waiting:  # another thread has broken the stream meanwhile
                return False
            request = self._waiting[0]
            if not request.done:  # it is when Ctrl-C came just before it was taken out
                request.value = answer
                request.done = True
            if request.gate is not None:
                self._wake(request)
            self._waiting.popleft()
            if request is leader and not self._line.holds_more:
                if self._sleepers:
                    self._hand_on(leader)
                else:
                    leader.leads = self._led = False
        return True

    def _leave(self, request: Pending) -> None:
        """Sleep and lead no more."""
        with self._state:
            if request.gate is not None:
                self._wake(request)
            if request.leads:
                self._hand_on(request)

    def _hand_on(self, leader: Pending) -> None:
        """The first of those who sleep leads from now on."""
        leader.leads = self._led = False
        if self._sleepers and (sleeper := self._first_asleep()) is not None:
            self._led = sleeper.leads = True
            self._wake(sleeper)

    def _first_asleep(self) -> Pending | None:
        # A copy: whoever sends adds to it meanwhile.
        return next((request for request in tuple(self._waiting) if request.gate is not None), None)

    def _wake(self, request: Pending) -> None:
        """It sleeps no more. Its thread may have been interrupted, and is awake then."""
        gate, request.gate = request.gate, None
        self._sleepers -= 1
        if gate is not None:
            gate.release()

    def _break(self, error: BaseException) -> None:
        """Tell everybody who waits. The first meets the very failure, as the server may have said it about
        that request; of the others nobody knows whether they were carried out."""
        if self.broken:
            return
        self.broken = True
        self._line.close()
        kind = (
            exceptions.TimeoutError
            if isinstance(error, exceptions.TimeoutError)
            else exceptions.ConnectionError
        )
        lost = kind("the connection broke before the answer came")
        lost.__cause__ = error
        if self._deliver(error if isinstance(error, exceptions.RedisError) else lost):
            while self._deliver(lost):
                pass


def _of_a_script(refusal: exceptions.RedisError) -> bool:
    """Whether what was refused was surely to run a script, or was refused by one."""
    words = str(refusal)
    return not words.startswith("BUSY") and ("script" in words or "GLASSQ" in words)


class Pipeline:
    """The process's connection for everything that does not block. Thread-safe; a forked child has its own.

    A broken connection is replaced by the next request. Nothing is repeated here: only `Server` knows what
    may be.
    """

    def __init__(self, connect: Callable[[], Wire]) -> None:
        self._connect = connect
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: the parent's socket is its own, and its threads are not here to
        let go of their locks."""
        inherited: Stream | None = getattr(self, "_stream", None)
        self._opening = threading.Lock()
        self._stream: Stream | None = None
        if inherited is not None:
            inherited.let_go()

    def ask_each(self, requests: Sequence[Made]) -> list[Any]:
        """Send requests together; their answers in order, failures among them as values. One round trip,
        shared with whoever asks meanwhile.

        Raises `redis.exceptions.RedisError` when it cannot be connected, caused by `NeverSent`.
        """
        while True:
            stream = self._stream
            if stream is None or stream.broken:
                stream = self._opened()
            sent = [Pending(stream) for _ in requests]
            if stream.send(b"".join([made(stream.run) for made in requests]), sent):
                return [stream.wait_for(each) for each in sent]

    @property
    def stream(self) -> Stream | None:
        """The connection there is, if there is one and it is whole."""
        stream = self._stream
        return None if stream is None or stream.broken else stream

    def submit(self, request: Made) -> Pending:
        """Send one request: it is on the wire when this returns. Nobody waits for its answer yet. Raises as
        `ask_each` does."""
        while True:
            stream = self._stream
            if stream is None or stream.broken:
                stream = self._opened()
            sent = Pending(stream)
            if stream.send(request(stream.run), (sent,)):
                return sent

    def close(self) -> None:
        """Close the connection; the next request would open another one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.shut(exceptions.ConnectionError("the store was closed"))

    def _opened(self) -> Stream:
        with self._opening:
            stream = self._stream
            if stream is None or stream.broken:
                wire = self._connect()
                try:
                    wire.connect()
                except exceptions.RedisError as error:
                    raise error from NeverSent()
                stream = self._stream = Stream(Line(wire))
            return stream
