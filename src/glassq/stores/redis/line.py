"""A connection that is signed in, with the library that made it out of the way: one call to the operating
system sends, and one takes in as many answers as have come."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from redis import exceptions

from glassq.stores.redis.location import Wire
from glassq.stores.redis.resp import NOTHING, Answers

_MOST_AT_ONCE: Final = 65536
"""Bytes that one call takes in."""
_JUST_NOW: Final = 0.001
"""Seconds for which a server that has answered is not asked whether it has hung up since."""
MORE: Final[int] = getattr(socket, "MSG_MORE", 0)
"""Says to `Line.hand_over` that more comes at once. Not every platform can be told."""
AT_ONCE: Final = 0
"""Says that it is to travel now."""


class Line:
    """Sends requests and reads answers. One thread may send while another one reads, and none else.

    Raises `redis.exceptions.RedisError` as the client library does, which has connected and signed in.
    """

    def __init__(self, wire: Wire) -> None:
        sock = wire._sock  # noqa: SLF001 - the library has no other way to read what several have asked for
        assert sock is not None  # noqa: S101 - it is connected
        _let_the_system_time(sock)
        self._wire = wire
        self._sock = sock
        self._receive = sock.recv
        self.hand_over: Callable[[bytes, int], None] = sock.sendall
        """Give requests to the operating system: to send them `AT_ONCE`, or with `MORE`, where it
        `holds_back`, together with the next ones, after 0.2 seconds at the latest; also when this process
        dies, unless it leaves answers unread then. An `OSError` is for `unsent` to name. (The system's own
        call: it is made for every job.)"""
        at_once = sock.gettimeout() is None and not isinstance(sock, ssl.SSLSocket)
        self._has_come: Callable[[], bool] = self._received_at_once if at_once else self._received_when_asked
        self._answers = Answers(wire._parser.parse_error)  # noqa: SLF001 - its classes are what callers know
        # One for whoever sends and one for whoever reads: a poll object is no two threads' at a time.
        self._goodbye, self._incoming = select.poll(), select.poll()
        self._goodbye.register(sock, select.POLLIN)
        self._incoming.register(sock, select.POLLIN)
        self._heard = monotonic()
        self.run = wire.run.encode()
        """The run of the server it leads to."""
        over_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        self.holds_back = bool(MORE) and over_tcp and not isinstance(sock, ssl.SSLSocket)
        """Whether it can be left to the system when requests travel."""

    def send(self, packed: bytes) -> None:
        """Put requests on the wire."""
        try:
            self.hand_over(packed, AT_ONCE)
        except OSError as error:
            raise unsent(error) from error

    def said_more(self) -> bool:
        """Whether the server says anything, while nothing was asked: for whoever sends. One that has said
        something just now may hang up at any moment, before the next request or after it."""
        if monotonic() - self._heard < _JUST_NOW:
            return self._answers.left
        return bool(self._goodbye.poll(0)) or self._answers.left

    def read(self) -> Any:
        """Wait for the next answer. A refusal is one, too, and one that ends the connection is raised."""
        answers = self._answers
        while not answers.left or (answer := answers.take()) is NOTHING:
            self._take_in()
        return answer if type(answer) is bytes else _passed(answer)

    def look(self) -> Any:
        """The next answer if it is there, else `NOTHING`. Does not wait."""
        answers = self._answers
        if not answers.left or (answer := answers.take()) is NOTHING:
            if not self._has_come():
                return NOTHING
            answer = answers.take()
        return answer if type(answer) is bytes else _passed(answer)

    def take(self) -> Any:
        """The next answer if it has come along with an earlier one, else `NOTHING`."""
        answer = self._answers.take() if self._answers.left else NOTHING
        return answer if type(answer) is bytes else _passed(answer)

    @property
    def holds_more(self) -> bool:
        """Whether something has come along that is not taken yet."""
        return self._answers.left

    def close(self) -> None:
        """Hang up, also when another thread reads."""
        self._wire.disconnect()

    def let_go(self) -> None:
        """In a forked child: close this copy of the parent's connection, of which nobody else hears. Not by
        the library, which might wait for a lock that a thread of the parent held."""
        self._sock.close()

    def _take_in(self) -> None:
        try:
            data = self._receive(_MOST_AT_ONCE)
        except (TimeoutError, BlockingIOError) as error:
            raise exceptions.TimeoutError("the server did not answer in time") from error
        except OSError as error:
            raise _unreadable(error) from error
        self._feed(data)

    def _received_at_once(self) -> bool:
        """Take in what has come; False when nothing has. One call to the operating system."""
        try:
            data = self._receive(_MOST_AT_ONCE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _unreadable(error) from error
        self._feed(data)
        return True

    def _received_when_asked(self) -> bool:
        """The same where there is no such call: over TLS, and where the language ends what takes too long."""
        if not self._incoming.poll(0):
            return False
        self._take_in()
        return True

    def _feed(self, data: bytes) -> None:
        if not data:
            raise exceptions.ConnectionError("the server closed the connection")
        self._heard = monotonic()
        self._answers.feed(data)


def unsent(error: OSError) -> exceptions.RedisError:
    """What it means when requests could not be handed over."""
    if isinstance(error, TimeoutError | BlockingIOError):
        return exceptions.TimeoutError("the server took no request in time")
    return exceptions.ConnectionError(f"cannot send to the server: {error}")


def _unreadable(error: OSError) -> exceptions.ConnectionError:
    return exceptions.ConnectionError(f"cannot read from the server: {error}")


def _passed(answer: Any) -> Any:
    if isinstance(answer, exceptions.ConnectionError):
        raise answer  # LOADING and the like: nothing that follows is worth waiting for
    return answer


def _let_the_system_time(sock: socket.socket) -> None:
    """Let the operating system end what takes too long, with `BlockingIOError`. Where the language does that,
    it asks before every call whether that would wait, which is two calls more for each request."""
    seconds = sock.gettimeout()
    if not seconds:
        return
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    sock.settimeout(None)
    try:
        waits = os.get_blocking(sock.fileno())  # other kinds of sockets never wait in the system
        if waits:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    except OSError:  # the system takes times in another form
        waits = False
    if not waits:
        sock.settimeout(seconds)
