from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from glassq.errors import ConfigurationError
from glassq.model.events import WorkerChanged
from glassq.observe.health import Health
from glassq.telemetry import Bus
from glassq.web.asgi import build_asgi
from glassq.web.routes import Response, Routes
from tests.unit.observing import SPAN, TRACE, MovedClock

HEALTH = ("/livez", "/readyz", "/startupz", "/healthz")
each_health_path = pytest.mark.parametrize("path", HEALTH)


def healthy() -> Health:
    """Of an application that only produces: everything passes."""
    return Health(MovedClock())


def stopped() -> Health:
    """Of an application whose worker was stopped: alive, not ready."""
    health, bus = healthy(), Bus()
    health.attach(bus)
    bus.emit(WorkerChanged(worker="w", state="stopped"))
    return health


def get(routes: Routes, path: str, *, method: str = "GET", **headers: str) -> tuple[Response, dict[str, str]]:
    """The response, and its headers by name."""
    response = routes.respond(method, path, headers)
    return response, dict(response.headers)


def routes(health: Health | None = None, **options: Any) -> Routes:
    """Routes over a registry with one histogram that holds an exemplar."""
    registry = CollectorRegistry()
    Histogram("h_seconds", "H.", registry=registry).observe(0.2, {"trace_id": TRACE, "span_id": SPAN})
    return Routes(registry, health or healthy(), **options)


# -- routes --------------------------------------------------------------------------------------------


@each_health_path
def test_health_is_json_that_nothing_may_keep(path: str) -> None:
    """The media type of health documents, uncached, with status, version and checks."""
    response, headers = get(routes(), path)
    assert response.status == 200
    assert headers["Content-Type"] == "application/health+json"
    assert headers["Cache-Control"] == "no-store"
    body = json.loads(response.body)
    assert body["status"] == "pass"
    assert body["checks"]
    assert {"service", "version", "time"} <= set(body)


def test_a_failed_check_is_503() -> None:
    """A probe looks at the status code alone."""
    assert get(routes(stopped()), "/readyz")[0].status == 503
    assert get(routes(stopped()), "/livez")[0].status == 200


@pytest.mark.parametrize("path", [*HEALTH, "/metrics", "/nothing"])
def test_head_is_get_without_a_body(path: str) -> None:
    """Same status, same headers, no body."""
    both = routes()
    response, headers = get(both, path, method="HEAD")
    full, same = get(both, path)
    assert response.body == b""
    assert response.status == full.status
    assert headers.keys() == same.keys()
    assert headers["Content-Length"] == str(len(full.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", ""])
def test_other_methods_are_refused_with_those_allowed(method: str) -> None:
    """405 as JSON, with `Allow`."""
    response, headers = get(routes(), "/livez", method=method)
    assert (response.status, headers["Allow"]) == (405, "GET, HEAD")
    assert json.loads(response.body)["error"]


@pytest.mark.parametrize("path", ["", "/", "/metrics/", "/livez/x", "/../metrics", "//metrics", "/LIVEZ"])
def test_other_paths_are_not_found(path: str) -> None:
    """404 as JSON that says which paths there are."""
    response, _ = get(routes(), path)
    assert response.status == 404
    assert "/healthz" in json.loads(response.body)["error"]


def test_metrics_come_in_the_format_asked_for() -> None:
    """Text by default, OpenMetrics with exemplars for those who ask."""
    text, headers = get(routes(), "/metrics")
    assert headers["Content-Type"].startswith("text/plain")
    assert TRACE not in text.body.decode()
    openmetrics, headers = get(
        routes(), "/metrics", accept="application/openmetrics-text;version=1.0.0,*/*;q=0.1"
    )
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert f'# {{span_id="{SPAN}",trace_id="{TRACE}"}}' in openmetrics.body.decode()
    assert openmetrics.body.endswith(b"# EOF\n")


def test_a_token_guards_metrics_and_details() -> None:
    """Without it probes still work, and say nothing but the status."""
    guarded = routes(token="s3cret")
    for path in ("/metrics", "/healthz"):
        response, headers = get(guarded, path)
        assert (response.status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert get(guarded, path, authorization="Bearer s3cret")[0].status == 200
    for path in ("/livez", "/readyz", "/startupz"):
        assert json.loads(get(guarded, path)[0].body) == {"status": "pass"}
        assert "checks" in json.loads(get(guarded, path, authorization="bearer s3cret")[0].body)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "s3cret",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3crett",
        "Basic s3cret",
        "Bearer \xff\u20ac",
    ],
)
def test_a_wrong_token_opens_nothing(given: str) -> None:
    """Whatever comes in the header."""
    assert get(routes(token="s3cret"), "/metrics", authorization=given)[0].status == 401


def test_a_token_may_hold_any_text() -> None:
    """Headers arrive as Latin-1; what was sent are the token's bytes."""
    header = "Bearer " + "geheim\u20ac".encode().decode("latin-1")
    assert get(routes(token="geheim\u20ac"), "/metrics", authorization=header)[0].status == 200


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_refused(token: str) -> None:
    """A token file that was never filled must not mean that an empty token opens everything."""
    with pytest.raises(ConfigurationError, match="empty"):
        routes(token=token)


@pytest.mark.parametrize("path", HEALTH)
def test_details_can_be_left_out(path: str) -> None:
    """For an application whose health is mounted in public."""
    assert json.loads(get(routes(detail=False), path)[0].body) == {"status": "pass"}


# -- the ASGI application --------------------------------------------------------------------------------


async def call(app: Any, path: str, *, root: str = "", method: str = "GET") -> tuple[int, bytes]:
    """One request, as a server makes it."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "headers": [(b"Accept", b"*/*")],
    }
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert all(name == name.lower() for name, _ in sent[0]["headers"])
    return sent[0]["status"], sent[1]["body"]


def test_it_answers_below_the_path_it_is_mounted_at() -> None:
    """Servers that pass the whole path and those that pass the rest of it."""
    app = build_asgi(registry=CollectorRegistry(), health=healthy())
    for path, root, status in (
        ("/livez", "", 200),
        ("/ops/livez", "/ops", 200),
        ("/livez", "/ops", 200),
        ("/opslivez", "/ops", 404),
        ("/ops", "/ops", 404),
    ):
        assert asyncio.run(call(app, path, root=root))[0] == status


def test_it_takes_part_in_the_servers_lifespan() -> None:
    """Startup and shutdown are acknowledged."""
    app = build_asgi(registry=CollectorRegistry(), health=healthy())
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan"}, receive, send))  # type: ignore[arg-type]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_other_protocols_are_refused() -> None:
    """As the ASGI specification wants it: by raising."""
    app = build_asgi(registry=CollectorRegistry(), health=healthy())
    with pytest.raises(RuntimeError, match="websocket"):
        asyncio.run(app({"type": "websocket"}, None, None))  # type: ignore[arg-type]


class SlowCollector(Collector):
    """A scrape that takes as long as the test wants."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.free = threading.Event()

    def describe(self) -> Iterable[Metric]:
        """Nothing to clash with."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Waits, then yields one sample."""
        self.entered.set()
        self.free.wait(30)
        yield GaugeMetricFamily("late", "Late.", value=1)


def test_a_slow_scrape_does_not_hold_up_the_probes() -> None:
    """Liveness is answered while a scrape hangs: both are under way at once."""
    slow = SlowCollector()
    registry = CollectorRegistry()
    registry.register(slow)
    app = build_asgi(registry=registry, health=healthy())

    async def both() -> tuple[int, bytes]:
        scrape = asyncio.create_task(call(app, "/metrics"))
        await asyncio.to_thread(slow.entered.wait, 30)
        status, _ = await call(app, "/livez")
        assert (status, scrape.done()) == (200, False)
        slow.free.set()
        return await scrape

    status, body = asyncio.run(both())
    assert (status, b"late 1.0" in body) == (200, True)
