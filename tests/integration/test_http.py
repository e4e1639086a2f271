"""The real server on loopback, asked by a real client."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from glassq.errors import ConfigurationError
from glassq.model.events import QueueDeclared
from glassq.observe.health import Health
from glassq.observe.prometheus import observe_metrics
from glassq.systemclock import SystemClock
from glassq.telemetry import Bus
from glassq.web.asgi import ASGIApp, build_asgi
from glassq.web.server import HttpServer, serve

TOKEN = "s3cret"


def application(token: str | None = None) -> ASGIApp:
    """Metrics and health of an application with one queue."""
    registry, bus, health = CollectorRegistry(), Bus(), Health(SystemClock())
    observe_metrics(bus, registry, store=lambda: "sqlite")
    health.attach(bus)
    bus.emit(QueueDeclared(queue="orders"))
    return build_asgi(registry=registry, health=health, token=token)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server on a free port."""
    running = serve(application(), host="127.0.0.1", port=0, token=None)
    yield running
    running.close()


def port_of(server: HttpServer) -> int:
    """The port it got."""
    return urlsplit(server.url).port or 0


def fetch(url: str, method: str = "GET", **headers: str) -> tuple[int, Message, bytes]:
    """Status, headers and body, whatever the status."""
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_the_server_answers_at_once(server: HttpServer) -> None:
    """Connections queue from the moment `serve` returns: no waiting, no retrying."""
    status, headers, body = fetch(f"{server.url}/livez")
    assert (status, headers["Content-Type"]) == (200, "application/health+json")
    assert json.loads(body)["status"] == "pass"
    assert "Server" not in headers


def test_metrics_are_negotiated_over_the_wire(server: HttpServer) -> None:
    """A scraper that asks for OpenMetrics gets what its parser accepts."""
    status, headers, body = fetch(
        f"{server.url}/metrics", Accept="application/openmetrics-text; version=1.0.0"
    )
    assert (status, headers.get_content_type()) == (200, "application/openmetrics-text")
    names = {family.name for family in parsed(body.decode())}  # type: ignore[no-untyped-call]
    assert {"glassq_jobs_processed", "glassq_order_violations", "glassq_build"} <= names
    assert fetch(f"{server.url}/metrics")[1].get_content_type() == "text/plain"


def test_head_and_errors_keep_the_connection_in_order(server: HttpServer) -> None:
    """A HEAD without a body and a 404 with one, then a good answer, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=30)
    for method, path, status in (
        ("HEAD", "/healthz", 200),
        ("GET", "/nothing", 404),
        ("POST", "/livez", 405),
    ):
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        assert (response.status, bool(body)) == (status, method != "HEAD")
    connection.close()


def test_a_taken_port_is_refused_at_once(server: HttpServer) -> None:
    """In one line that names the port and what to do."""
    with pytest.raises(ConfigurationError, match=f"port {port_of(server)} on 127.0.0.1 is taken"):
        serve(application(), host="127.0.0.1", port=port_of(server), token=None)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::"])
def test_other_machines_need_a_token(host: str) -> None:
    """Metrics and health tell a lot: without a token only this machine may ask."""
    with pytest.raises(ConfigurationError, match="token"):
        serve(application(), host=host, port=0, token=None)


def test_with_a_token_every_interface_may_be_bound() -> None:
    """And the token is what opens the details."""
    running = serve(application(TOKEN), host="0.0.0.0", port=0, token=TOKEN)
    try:
        url = f"http://127.0.0.1:{port_of(running)}"
        assert fetch(f"{url}/metrics")[0] == 401
        assert fetch(f"{url}/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert json.loads(fetch(f"{url}/livez")[2]) == {"status": "pass"}
    finally:
        running.close()


@pytest.mark.parametrize(
    ("host", "port", "problem"),
    [
        ("127.0.0.1", 70_000, "not a port"),
        ("127.0.0.1", -1, "not a port"),
        ("no such host", 0, "not an address"),
    ],
)
def test_an_address_that_cannot_be_is_refused(host: str, port: int, problem: str) -> None:
    """As a configuration error, not as whatever the socket library says."""
    with pytest.raises(ConfigurationError, match=problem):
        serve(application(), host=host, port=port, token=None)


def test_closing_frees_the_port_and_ends_the_thread() -> None:
    """Also when a client holds its connection open, and when it is closed twice."""
    running = serve(application(), host="127.0.0.1", port=0, token=None)
    port = port_of(running)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as idle:
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 200"
        running.close()
    running.close()
    assert "glassq-http" not in {thread.name for thread in threading.enumerate()}
    serve(application(), host="127.0.0.1", port=port, token=None).close()


def test_the_signal_handlers_of_the_application_stay(server: HttpServer) -> None:
    """A library that takes SIGTERM away from its host breaks the host's shutdown."""
    fetch(f"{server.url}/livez")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_requests_are_not_logged(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    """A probe every second would drown what the worker has to say."""
    with caplog.at_level(logging.INFO):
        fetch(f"{server.url}/livez")
        fetch(f"{server.url}/nothing")
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


# -- traces over HTTP --------------------------------------------------------------------------------------


class Sink(HTTPServer):
    """A collector of OTLP over HTTP that keeps what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SinkHandler)
        self.requests: list[ExportTraceServiceRequest] = []


class _SinkHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Sink)
        if self.path == "/v1/traces":
            self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A collector on a free port."""
    with Sink() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


EXPORTING = """
from opentelemetry import trace
from glassq.observe.exporting import export_traces_from_environment
finish = export_traces_from_environment()
assert finish is not None
trace.get_tracer("glassq").start_span("process orders").end()
finish()
"""


@pytest.mark.parametrize(
    ("variables", "service"), [({}, "glassq-worker"), ({"OTEL_SERVICE_NAME": "shop"}, "shop")]
)
def test_spans_reach_the_endpoint_the_environment_names(
    sink: Sink, variables: dict[str, str], service: str
) -> None:
    """Flushed before the process ends, under the name the environment gives, else ours."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.server_port}"}
    environment = {**os.environ, **endpoint, **variables}
    subprocess.run([sys.executable, "-c", EXPORTING], env=environment, check=True, timeout=60)
    spans = [
        (resource.resource.attributes, span.name)
        for request in sink.requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    ((attributes, name),) = spans
    assert name == "process orders"
    assert {each.key: each.value.string_value for each in attributes}["service.name"] == service


def test_a_collector_that_is_away_does_not_keep_the_process() -> None:
    """It accepts and never answers: after two seconds the log says what is lost, and the process ends."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        result = subprocess.run(
            [sys.executable, "-c", EXPORTING], env=environment, check=False, timeout=20, capture_output=True
        )
    assert result.returncode == 0
    assert b"the last spans are lost" in result.stderr
