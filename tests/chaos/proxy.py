"""A TCP proxy between processes under test and their server, which breaks connections as it is told."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import struct
import threading
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

DELAY_SECONDS: Final = 0.5
_CHUNK = 65536


class Fault(StrEnum):
    """What happens to a connection. All but the last two strike once, at a request of the connection that is
    drawn when it is made."""

    NONE = "none"
    DROP = "drop"
    """The connection is closed in place of a request."""
    RESET = "reset"
    """As `DROP`, but both ends see a reset."""
    HALF_CLOSE = "half_close"
    """A request arrives; its sender reads an end of file and may go on sending."""
    SWALLOW_REQUESTS = "swallow_requests"
    """From this request on nothing reaches the server, and nobody is told."""
    SWALLOW_REPLIES = "swallow_replies"
    """From this request on nothing comes back, and nobody is told."""
    CUT_BEFORE_REPLY = "cut_before_reply"
    """A request is carried out; the connection is closed in place of its reply."""
    CUT_IN_REPLY = "cut_in_reply"
    """As `CUT_BEFORE_REPLY`, after the first bytes of the reply."""
    DELAY = "delay"
    """Every now and then a reply is half a second late."""
    BYTEWISE = "bytewise"
    """Everything arrives a byte at a time."""


LASTING: Final = frozenset({Fault.NONE, Fault.DELAY, Fault.BYTEWISE})
STRIKING: Final = tuple(fault for fault in Fault if fault not in LASTING)


class Link:
    """One connection through the proxy: the two sockets and what was done to them."""

    def __init__(
        self, client: socket.socket, server: socket.socket, chance: random.Random, calm: int
    ) -> None:
        self.client = client
        self.server = server
        self.chance = chance
        self.calm = calm
        """Requests until a fault strikes."""
        self.struck = Fault.NONE
        self.threads: list[threading.Thread] = []
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def hang_up(self) -> None:
        """End both connections; whoever waits on them is woken."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End both connections as if the other machine had gone. For the thread that reads the client."""
        abrupt = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abrupt)
            self.client.close()
        with contextlib.suppress(OSError):
            self.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abrupt)
            self.server.shutdown(socket.SHUT_RDWR)  # wakes its reader, which then closes it

    def close(self) -> None:
        """Give the descriptors back."""
        self.client.close()
        self.server.close()


class Proxy:
    """Listens on a port of its own and speaks to `target`. What is random comes from `seed` alone.

    `calm` bounds how many requests of a connection pass before a fault strikes it.
    """

    def __init__(self, target: int, *, seed: object, calm: tuple[int, int] = (4, 40)) -> None:
        self.target = target
        self.fault = Fault.NONE
        self.knocks = 0
        """Connections that were asked for, those the target did not take included."""
        self.faults_done = 0
        self._seed = seed
        self._calm = calm
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._links: list[Link] = []
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def sever(self) -> None:
        """End every connection there is; new ones go to the present target."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.hang_up()

    def swallow(self) -> None:
        """From now on nothing passes any more, on the connections there are and on new ones."""
        self.fault = Fault.SWALLOW_REPLIES
        with self._lock:
            for link in self._links:
                link.struck = Fault.SWALLOW_REPLIES

    def close(self) -> None:
        """Nothing of it is left."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.sever()
        for link in self._links:
            for thread in link.threads:
                thread.join()
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- connections -------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.knocks += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # the server is away, as it would be without a proxy
                client.close()
                continue
            self._begin(client, server)

    def _begin(self, client: socket.socket, server: socket.socket) -> None:
        number = next(self._numbers)
        chance = random.Random(f"{self._seed}:{number}")
        link = Link(client, server, chance, chance.randint(*self._calm))
        link.threads = [
            threading.Thread(target=pump, args=(link,), name=f"proxy-{number}", daemon=True)
            for pump in (self._requests, self._replies)
        ]
        with self._lock:
            self._links.append(link)
        for thread in link.threads:
            thread.start()
        if self._closing.is_set():
            link.hang_up()

    def _requests(self, link: Link) -> None:
        """Client to server, until either goes or a fault ends it."""
        while data := _received(link.client):
            if self._strikes(link):
                with self._lock:
                    self.faults_done += 1
                if link.struck is Fault.DROP:
                    break
                if link.struck is Fault.RESET:
                    link.reset()
                    return
                if link.struck is Fault.HALF_CLOSE:
                    with contextlib.suppress(OSError):
                        link.client.shutdown(socket.SHUT_WR)
            if link.struck is not Fault.SWALLOW_REQUESTS and not self._send(link.server, data):
                break
        link.hang_up()

    def _replies(self, link: Link) -> None:
        """Server to client."""
        while data := _received(link.server):
            if link.struck in (Fault.CUT_BEFORE_REPLY, Fault.CUT_IN_REPLY):
                if link.struck is Fault.CUT_IN_REPLY:
                    self._send(link.client, data[: link.chance.randint(1, len(data))][:-1])
                break
            if link.struck in (Fault.SWALLOW_REPLIES, Fault.HALF_CLOSE):
                continue
            if self.fault is Fault.DELAY and link.chance.random() < 0.1:
                with self._lock:
                    self.faults_done += 1
                self._closing.wait(DELAY_SECONDS)
            if not self._send(link.client, data):
                break
        link.hang_up()

    def _strikes(self, link: Link) -> bool:
        """Whether this request is the one at which the fault strikes."""
        if self.fault in LASTING or link.struck is not Fault.NONE:
            return False
        link.calm -= 1
        if link.calm > 0:
            return False
        link.struck = self.fault
        return True

    def _send(self, end: socket.socket, data: bytes) -> bool:
        """Pass data on; False when nobody takes it any more."""
        size = 1 if self.fault is Fault.BYTEWISE else len(data)
        try:
            for start in range(0, len(data), max(1, size)):
                end.sendall(data[start : start + size])
        except OSError:
            return False
        if self.fault is Fault.BYTEWISE:
            with self._lock:
                self.faults_done += 1
        return True


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(_CHUNK)
    except OSError:
        return b""
