"""The proxy breaks connections as its faults say, or the rows that use it would prove nothing."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.chaos.proxy import DELAY_SECONDS, STRIKING, Fault, Proxy
from tests.processes import wait_until


class Echo(socketserver.ThreadingTCPServer):
    """Answers each line with itself and counts those that arrived."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Answering)


class _Answering(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Echo)
        try:
            for line in self.rfile:
                self.server.heard.append(line)
                self.wfile.write(line)
        except ConnectionError:
            return


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A server behind the proxy."""
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def through(echo: Echo, fault: Fault, calm: int = 2) -> Iterator[tuple[Proxy, socket.socket]]:
    """A client whose connection meets the fault at request number `calm`."""
    with Proxy(echo.server_address[1], seed=0, calm=(calm, calm)) as proxy:
        proxy.fault = fault
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.settimeout(10)
            yield proxy, client


def ask(client: socket.socket, line: bytes) -> bytes:
    """Send a line and read its answer, or what came of it before the end."""
    client.sendall(line)
    answer = b""
    while not answer.endswith(b"\n"):
        part = client.recv(100)
        if not part:
            break
        answer += part
    return answer


def arrives(echo: Echo, *lines: bytes) -> None:
    """Wait until the server has heard these lines, and no other."""
    wait_until(lambda: len(echo.heard) >= len(lines), "a line to arrive", lambda: echo.heard, timeout=10)
    assert echo.heard == list(lines)


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.DELAY, Fault.BYTEWISE])
def test_lasting_faults_lose_nothing(echo: Echo, fault: Fault) -> None:
    """A slow connection is a whole one."""
    lines = [b"line %d\n" % number for number in range(20)]
    began = time.monotonic()
    with through(echo, fault) as (proxy, client):
        assert [ask(client, line) for line in lines] == lines
        late = proxy.faults_done
    assert echo.heard == lines
    if fault is Fault.DELAY:
        assert time.monotonic() - began >= late * DELAY_SECONDS > 0
    assert (late > 0) == (fault is not Fault.NONE)


@pytest.mark.parametrize("fault", STRIKING)
def test_striking_faults_strike_at_their_request(echo: Echo, fault: Fault) -> None:
    """What came before passes; each fault decides whether the request arrives, and never shows its answer."""
    with through(echo, fault) as (proxy, client):
        assert ask(client, b"first\n") == b"first\n"
        if fault is Fault.RESET:
            with pytest.raises(ConnectionResetError):
                ask(client, b"second\n")
        elif fault in (Fault.SWALLOW_REQUESTS, Fault.SWALLOW_REPLIES):
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                ask(client, b"second\n")
        else:
            answer = ask(client, b"second\n")
            assert b"second\n".startswith(answer)
            assert answer != b"second\n"
        wait_until(lambda: proxy.faults_done == 1, "the fault", lambda: proxy.faults_done, timeout=10)
        if fault in (Fault.DROP, Fault.RESET, Fault.SWALLOW_REQUESTS):
            assert echo.heard == [b"first\n"]
        else:
            arrives(echo, b"first\n", b"second\n")


def test_a_half_closed_connection_still_sends(echo: Echo) -> None:
    """The client reads its end; what it writes after that still arrives."""
    with through(echo, Fault.HALF_CLOSE, calm=1) as (_, client):
        assert ask(client, b"first\n") == b""
        client.sendall(b"second\n")
        arrives(echo, b"first\n", b"second\n")


def test_connections_are_severed_and_led_elsewhere(echo: Echo) -> None:
    """A failover: old connections end, new ones reach the new server; where none is, they end at once."""
    with through(echo, Fault.NONE) as (proxy, client), Echo() as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        assert ask(client, b"first\n") == b"first\n"
        proxy.target = other.server_address[1]
        proxy.sever()
        assert client.recv(1) == b""
        with socket.create_connection(("127.0.0.1", proxy.port)) as again:
            assert ask(again, b"second\n") == b"second\n"
        other.shutdown()
        other.server_close()
        with socket.create_connection(("127.0.0.1", proxy.port)) as none:
            assert none.recv(1) == b""
        assert (echo.heard, other.heard) == ([b"first\n"], [b"second\n"])


def test_the_same_seed_strikes_at_the_same_requests(echo: Echo) -> None:
    """A run is repeated by its seed."""

    def calms(seed: int) -> list[int]:
        found = []
        with Proxy(echo.server_address[1], seed=seed) as proxy:
            proxy.fault = Fault.DROP
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                    passed = 0
                    while ask(client, b"x\n"):
                        passed += 1
                    found.append(passed)
        return found

    assert calms(7) == calms(7) != calms(8)
