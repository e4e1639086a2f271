"""The other side: a real HTTP server that takes webhooks, is slow at times and says 503 to every tenth."""

from __future__ import annotations

import re
import sys
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec

from glassq.cli.demo.eventlog import Event
from glassq.cli.demo.ledger import Delivery, Ledger
from glassq.cli.demo.settings import STOP_SECONDS

_PID = re.compile(r"pid (\d+)")


def refuses(event_id: str) -> bool:
    """Whether the first delivery of this event is answered 503: one in ten, the same ones in every run."""
    return zlib.crc32(event_id.encode()) % 10 == 0


def handling_seconds(event_id: str) -> float:
    """How long the receiver takes over an event: 20 to 59 ms, as a busy endpoint does."""
    return 0.020 + (zlib.crc32(event_id.encode()) >> 8) % 40 / 1000


class Receiver:
    """Serves on a loopback port of the system's choice while entered. What it saw is in `ledger`.

    `on_arrival` is called for every delivery, in the thread that will answer it and before it does.
    """

    def __init__(self, on_arrival: Callable[[Delivery], None]) -> None:
        self.ledger = Ledger()
        self._on_arrival = on_arrival
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(STOP_SECONDS,),
            name="receiver",
            daemon=True,
        )

    @property
    def url(self) -> str:
        """Where webhooks are delivered to."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, event: Event, *, worker: int, job_id: str, attempt: int) -> int:
        """Handle one delivery; returns the status to answer with."""
        delivery, first = self.ledger.arrival(event, worker=worker, job_id=job_id, attempt=attempt)
        self._on_arrival(delivery)
        time.sleep(handling_seconds(event.id))
        status = 503 if first and refuses(event.id) else 204
        self.ledger.answer(delivery, status)
        return status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        super().__init__(address, _Handler)
        self.receiver = receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed while it waited is the demo's point; anything else is reported."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """One webhook: read it, take it, answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            event = msgspec.json.decode(body, type=Event)
        except msgspec.DecodeError as error:
            self.send_error(400, f"not an event: {error}")
            return
        pid = _PID.search(self.headers.get("User-Agent", ""))
        status = self.server.receiver.take(
            event,
            worker=int(pid.group(1)) if pid else 0,
            job_id=self.headers.get("Glassq-Job-Id", ""),
            attempt=int(self.headers.get("Glassq-Attempt", "0")),
        )
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the ledger is the log."""
