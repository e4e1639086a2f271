"""A small OTLP/HTTP receiver: keeps the spans that the demo's processes really export."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self, TypeVar

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from glassq.cli.demo.settings import STOP_SECONDS

Found = TypeVar("Found")


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One exported span. Ids are lower-case hex, `parent` is empty for a root, times are epoch seconds."""

    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    name: str
    service: str
    started: float
    ended: float
    failed: bool
    message: str
    attributes: dict[str, str]

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.started


class SpanCollector:
    """Serves `/v1/traces` on a loopback port of the system's choice while entered."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._spans: list[Span] = []
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(STOP_SECONDS,),
            name="otlp",
            daemon=True,
        )

    @property
    def url(self) -> str:
        """What belongs into `OTEL_EXPORTER_OTLP_ENDPOINT`."""
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

    def add(self, spans: Sequence[Span]) -> None:
        """Keep spans that were received."""
        with self._changed:
            self._spans.extend(spans)
            self._changed.notify_all()

    def wait_for(self, search: Callable[[Sequence[Span]], Found | None], timeout: float) -> Found | None:
        """What `search` finds among the spans so far, asked again as they arrive; None at the timeout."""
        ends = time.monotonic() + timeout
        with self._changed:
            while True:
                found = search(tuple(self._spans))
                left = ends - time.monotonic()
                if found is not None or left <= 0:
                    return found
                self._changed.wait(left)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], collector: SpanCollector) -> None:
        super().__init__(address, _Handler)
        self.collector = collector


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """One export request, protobuf, possibly gzipped."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            self.server.collector.add(decode(body))
        except DecodeError as error:
            self.send_error(400, f"not an OTLP trace export: {error}")
            return
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the spans are the log."""


def decode(body: bytes) -> list[Span]:
    """The spans of one export request; `DecodeError` when it is none."""
    spans: list[Span] = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _plain(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            spans += [_span(service, each) for each in scope.spans]
    return spans


def _span(service: str, wire: WireSpan) -> Span:
    return Span(
        trace=wire.trace_id.hex(),
        id=wire.span_id.hex(),
        parent=wire.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in wire.links),
        name=wire.name,
        service=service,
        started=wire.start_time_unix_nano / 1e9,
        ended=wire.end_time_unix_nano / 1e9,
        failed=wire.status.code == Status.STATUS_CODE_ERROR,
        message=wire.status.message,
        attributes=_plain(wire.attributes),
    )


def _plain(attributes: Sequence[KeyValue]) -> dict[str, str]:
    """Attributes as text: the demo only shows them."""
    plain = {}
    for each in attributes:
        kind = each.value.WhichOneof("value")
        plain[each.key] = str(getattr(each.value, kind)) if kind else ""
    return plain
