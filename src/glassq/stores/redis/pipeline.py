"""One connection shared by all threads: requests go out as they come, answers come back in their order.

No thread of its own reads: of those that wait for an answer, one reads for all (the leader) until its own
has come, and then hands the reading on. A single caller so pays for no change of threads, and many callers
share the server's round trips.
"""

from __future__ import annotations

import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions

from glassq.forking import begin_in_children
from glassq.stores.redis.failures import NeverSent
from glassq.stores.redis.location import Wire

Command = Sequence[str | bytes | float]


class _Request:
    """A request on its way. `gate` is held while its thread sleeps until it is answered or to lead."""

    __slots__ = ("answer", "done", "gate", "leads")

    def __init__(self) -> None:
        self.done = False
        self.answer: Any = None
        self.leads = False
        self.gate: threading.Lock | None = None


class _Stream:
    """One connection's life. Broken once, it stays broken: what waited for it may have been carried out."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.run = wire.run
        """The run of the server it leads to."""
        self._sending = threading.Lock()
        self._state = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._led = False
        self._has_more = False  # perhaps: one look at the socket takes in what several are to be told
        # One for whoever sends and one for whoever reads: a poll object is no two threads' at a time.
        self._goodbye, self._incoming = _poll_of(wire), _poll_of(wire)
        self._broken = False

    @property
    def usable(self) -> bool:
        """Whether it has not broken yet."""
        return not self._broken

    def send(self, packed: bytes, count: int) -> list[_Request] | None:
        """Put requests on the wire, whole and next to each other; None when it had broken before."""
        requests = [_Request() for _ in range(count)]
        with self._sending:
            # Something to read while nothing was asked is the server's goodbye: a request that followed it
            # would be lost, and nobody could know whether it was carried out.
            if not self._waiting and self._goodbye.poll(0):
                self._break(exceptions.ConnectionError("the server closed the connection"))
            if self._broken:
                return None
            # Before it is sent: its answer may be there at once.
            self._waiting.extend(requests)
            try:
                self._wire.send_packed_command([packed], check_health=False)
            except BaseException as error:
                # Also on Ctrl-C: half a request would make the next one a part of it.
                self._break(error)
                raise
        return requests

    def answer(self, request: _Request) -> Any:
        """Wait for this answer, reading those before it; a failure is an answer, too."""
        try:
            while not request.done:
                if self._lead_or_sleep(request):
                    self._read_until(request)
        finally:
            # In this order: a promotion sets `leads` first.
            if request.gate is not None or request.leads:
                self._leave(request)
        return request.answer

    def arrived(self, request: _Request) -> bool:
        """Whether this answer is there. Reads what has come, for everybody, if nobody else reads now."""
        if request.done or not self._may_read(request):
            return request.done
        try:
            while self._readable():
                self._read_one()
        except exceptions.RedisError as error:  # it broke while nobody waited
            self.shut(error)
        finally:
            self._leave(request)
        return request.done

    def shut(self, error: BaseException) -> None:
        """Break it for this reason."""
        with self._sending:
            self._break(error)

    def _lead_or_sleep(self, request: _Request) -> bool:
        """Become the leader if there is none; otherwise sleep until answered or promoted."""
        with self._state:
            if request.done:
                return False
            if not self._led:
                self._led = request.leads = True
                return True
            gate = request.gate = threading.Lock()
            gate.acquire()
        gate.acquire()  # released by whoever answers or promotes
        return request.leads and not request.done

    def _may_read(self, request: _Request) -> bool:
        """Become the leader if there is none."""
        with self._state:
            if self._led:
                return False
            self._led = request.leads = True
            return True

    def _readable(self) -> bool:
        """Whether something can be read without waiting. Not while somebody sends: looking changes the
        time-out of the socket for a moment."""
        if self._incoming.poll(0):
            return not self._broken
        if not self._has_more or not self._sending.acquire(blocking=False):
            return False
        try:
            self._has_more = not self._broken and self._wire.can_read(timeout=0)
            return self._has_more
        finally:
            self._sending.release()

    def _read_until(self, request: _Request) -> None:
        while not request.done:
            self._read_one()

    def _read_one(self) -> None:
        """Read the next answer and deliver it. The stream is broken after a failure."""
        try:
            answer = self._read()
        except Exception as error:  # licensed: whatever it was, the place in the stream is lost with it
            self.shut(error)
            return
        except BaseException as error:
            self.shut(error)
            raise
        self._deliver(answer)
        self._has_more = bool(self._waiting)

    def _read(self) -> Any:
        try:
            return self._wire.read_response(disconnect_on_error=False)
        except exceptions.ResponseError as refusal:
            return refusal

    def _deliver(self, answer: Any) -> bool:
        """Give the answer to the request that waits longest; False when none does."""
        with self._state:
            if not self._waiting:  # another thread has broken the stream meanwhile
                return False
            request = self._waiting.popleft()
            request.answer = answer
            request.done = True
            if request.gate is not None:
                request.gate.release()
                request.gate = None
        return True

    def _leave(self, request: _Request) -> None:
        """Sleep and lead no more; a leader hands on to the first of those who sleep."""
        with self._state:
            request.gate = None
            if not request.leads:
                return
            request.leads = self._led = False
            # A copy: whoever sends adds to it meanwhile.
            sleeper = next((other for other in tuple(self._waiting) if other.gate is not None), None)
            if sleeper is not None and sleeper.gate is not None:
                self._led = sleeper.leads = True
                sleeper.gate.release()
                sleeper.gate = None

    def _break(self, error: BaseException) -> None:
        """Tell everybody who waits. The first meets the very failure, as the server may have said it about
        that request; of the others nobody knows whether they were carried out."""
        if self._broken:
            return
        self._broken = True
        self._wire.disconnect()
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


class Pending:
    """A command that was sent without waiting. Somebody has to ask for its answer, or for that of a later
    one: what has come is read only by those who ask."""

    __slots__ = ("_request", "_stream")

    def __init__(self, stream: _Stream, request: _Request) -> None:
        self._stream = stream
        self._request = request

    def arrived(self) -> bool:
        """Whether the answer is there, or never will be. Does not wait."""
        return self._stream.arrived(self._request)

    def answer(self) -> Any:
        """The answer, waited for. Raises `redis.exceptions.RedisError`: what the server said, or what became
        of the connection."""
        answer = self._stream.answer(self._request)
        if isinstance(answer, exceptions.RedisError):
            raise answer
        return answer


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
        self._opening = threading.Lock()
        self._stream: _Stream | None = None

    def ask_each(self, requests: Sequence[Callable[[str], Command]]) -> list[Any]:
        """Send commands together, each made for the run of the server they reach; their answers in order,
        failures among them as values. One round trip, shared with whoever asks meanwhile.

        Raises `redis.exceptions.RedisError` when it cannot be connected, caused by `NeverSent`.
        """
        while True:
            stream = self._opened()
            packed = b"".join([_packed(request(stream.run)) for request in requests])
            sent = stream.send(packed, len(requests))
            if sent is not None:
                return [stream.answer(each) for each in sent]

    def submit(self, request: Callable[[str], Command]) -> Pending:
        """Send one command, made as those of `ask_each`: it is on the wire when this returns. Nobody waits
        for its answer yet."""
        while True:
            stream = self._opened()
            sent = stream.send(_packed(request(stream.run)), 1)
            if sent is not None:
                return Pending(stream, sent[0])

    def close(self) -> None:
        """Close the connection; the next request would open another one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.shut(exceptions.ConnectionError("the store was closed"))

    def _opened(self) -> _Stream:
        stream = self._stream
        if stream is not None and stream.usable:
            return stream
        with self._opening:
            stream = self._stream
            if stream is None or not stream.usable:
                wire = self._connect()
                try:
                    wire.connect()
                except exceptions.RedisError as error:
                    raise error from NeverSent()
                stream = self._stream = _Stream(wire)
            return stream


def _poll_of(wire: Wire) -> select.poll:
    """Tells whether there is something to read on a connection, without waiting."""
    watched = select.poll()
    if wire._sock is not None:  # noqa: SLF001 - nothing else tells whether the server has hung up
        watched.register(wire._sock, select.POLLIN)  # noqa: SLF001
    return watched


def _packed(command: Command) -> bytes:
    """A command as RESP, the server's protocol. The client library's own packing is built for what may be
    anything, and took a third of an enqueue."""
    values = [
        part if type(part) is bytes else part.encode() if type(part) is str else str(part).encode()
        for part in command
    ]
    return b"*%d\r\n" % len(values) + b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in values])
