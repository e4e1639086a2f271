"""Stages for programs of several processes, on each store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.conformance.redisservers import any_server, running
from tests.integration.processes import Stage, staged


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis: the installed one, or the one a Python package brings."""
    with running(any_server(), tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    url: str = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def stage(tmp_path: Path, store_url: str) -> Iterator[Stage]:
    """A fresh store with a log beside it. Leases are short where only they tell of a death."""
    lease = "15" if store_url.startswith("sqlite") else "2"
    with staged(tmp_path, store_url, LEASE=lease) as stage:
        yield stage


@pytest.fixture
def file_stage(tmp_path: Path) -> Iterator[Stage]:
    """A fresh SQLite file with a log beside it."""
    with staged(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as stage:
        yield stage


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A provider of this test's own, which remembers what was recorded."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()
