"""A Jaeger of a test's own, where one is installed, and what it says about a trace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import yaml

from glassq.cli.demo.otlp import Span
from tests.conformance.redisservers import free_port
from tests.processes import wait_until

BINARIES = ("jaeger", "jaeger-all-in-one")
"""Version 2, and version 1 under the name of its distribution."""

_V1_PORTS = (
    "ADMIN_HTTP_HOST_PORT",
    "COLLECTOR_GRPC_SERVER_HOST_PORT",
    "COLLECTOR_HTTP_SERVER_HOST_PORT",
    "COLLECTOR_OTLP_GRPC_HOST_PORT",
    "HTTP_SERVER_HOST_PORT",
    "PROCESSOR_JAEGER_BINARY_SERVER_HOST_PORT",
    "PROCESSOR_JAEGER_COMPACT_SERVER_HOST_PORT",
    "PROCESSOR_ZIPKIN_COMPACT_SERVER_HOST_PORT",
    "QUERY_GRPC_SERVER_HOST_PORT",
)
"""What a version 1 listens on besides; told by its environment, because not every version knows each flag."""


class Jaeger(msgspec.Struct, frozen=True):
    """A running Jaeger: where it takes spans (OTLP over HTTP), and where it answers questions."""

    url: str
    queries: str

    def traces(self, **parameters: str) -> list[list[Span]]:
        """The traces that its search finds, oldest span first."""
        found: list[dict[str, Any]] = _read(f"{self.queries}/api/traces?{urlencode(parameters)}")["data"]
        return [_spans(trace) for trace in found]


def installed() -> str | None:
    """The path of a Jaeger, or None."""
    return next((path for name in BINARIES if (path := shutil.which(name))), None)


@contextmanager
def running(binary: str, folder: Path) -> Iterator[Jaeger]:
    """That Jaeger, with its spans in memory, on free ports of the loopback interface."""
    jaeger = Jaeger(f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")
    is_first = Path(binary).name == "jaeger-all-in-one"
    log_file = folder / "jaeger.log"
    arguments, environment = _first(jaeger) if is_first else _second(jaeger, folder)
    with log_file.open("w") as log:
        child = subprocess.Popen(
            [binary, *arguments], env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            lambda: child.poll() is not None or _answers(jaeger),
            "Jaeger to answer",
            log_file.read_text,
            every=0.1,
        )
        assert child.poll() is None, log_file.read_text()
        yield jaeger
    finally:
        child.kill()
        child.wait()


def _first(jaeger: Jaeger) -> tuple[list[str], dict[str, str]]:
    own = {name: f"127.0.0.1:{free_port()}" for name in _V1_PORTS}
    return [], {
        **own,
        "SPAN_STORAGE_TYPE": "memory",
        "COLLECTOR_OTLP_HTTP_HOST_PORT": _port_of(jaeger.url),
        "QUERY_HTTP_SERVER_HOST_PORT": _port_of(jaeger.queries),
    }


def _second(jaeger: Jaeger, folder: Path) -> tuple[list[str], dict[str, str]]:
    storage = "memory"
    configuration = {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {storage: {"memory": {"max_traces": 1000}}}},
            "jaeger_query": {
                "storage": {"traces": storage},
                "http": {"endpoint": _port_of(jaeger.queries)},
                "grpc": {"endpoint": f"127.0.0.1:{free_port()}"},
            },
        },
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": _port_of(jaeger.url)}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": storage}},
    }
    file = folder / "jaeger.yaml"
    file.write_text(yaml.safe_dump(configuration))
    return ["--config", str(file)], {}


def _port_of(url: str) -> str:
    return url.removeprefix("http://")


def _answers(jaeger: Jaeger) -> bool:
    try:
        _read(f"{jaeger.queries}/api/services")
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def _read(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as response:
        found: dict[str, Any] = json.loads(response.read())
    return found


def _spans(trace: dict[str, Any]) -> list[Span]:
    """A trace of its API, in the form in which the receiver of the demo keeps them."""
    services = {name: process["serviceName"] for name, process in trace["processes"].items()}
    return sorted((_span(span, services) for span in trace["spans"]), key=lambda span: span.started)


def _span(wire: dict[str, Any], services: dict[str, str]) -> Span:
    tags = {tag["key"]: tag["value"] for tag in wire["tags"]}
    references: Sequence[dict[str, str]] = wire["references"]
    # A parent that is linked, too, is kept as a link alone; pages hang a span below what it refers to first.
    parents = [each["spanID"] for each in references if each["traceID"] == wire["traceID"]]
    return Span(
        trace=wire["traceID"],
        id=wire["spanID"],
        parent=parents[0] if parents else "",
        links=tuple(each["spanID"] for each in references if each["refType"] == "FOLLOWS_FROM"),
        name=wire["operationName"],
        service=services[wire["processID"]],
        started=wire["startTime"] / 1e6,
        ended=(wire["startTime"] + wire["duration"]) / 1e6,
        failed=tags.get("error") is True,
        message=str(tags.get("otel.status_description", "")),
        attributes={name: str(value) for name, value in tags.items()},
    )
