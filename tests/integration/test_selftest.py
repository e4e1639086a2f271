"""`glassq telemetry selftest` as its user runs it: what it finds, and that it leaves a store as it was."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from glassq import Glassq
from glassq.cli.demo.otlp import SpanCollector
from tests.conformance.redisservers import free_port

CHECKS = ["job", "scrape", "exemplar", "spans", "log", "removal"]

SHOP = """
import os
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from glassq import Glassq, TraceOptions

provider = TracerProvider()
out = open("exported", "w")
exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.name + "\\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
app = Glassq(tracing=TraceOptions(max_parent_age=0))

@app.fifo("payments")
def charge() -> None: ...
"""

SelfTest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def selftest(tmp_path: Path, store_url: str) -> SelfTest:
    """Runs the command on an application's store, which is there and has a job in it."""
    with Glassq(store_url) as app:
        app.fifo("payments", name="charge")(lambda: None)()

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "glassq", "telemetry", "selftest", *arguments],
            cwd=tmp_path,
            env={**os.environ, "GLASSQ_URL": store_url, **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


any_store = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what has nothing to do with the store."""


def content(url: str) -> object:
    """All that is in a store."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return list(connection.iterdump())
        finally:
            connection.close()
    with redis.Redis.from_url(url) as client:
        return {key: client.dump(key) for key in client.scan_iter("*")}


def checks(ended: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The checks of `--json`, by name."""
    return {check["name"]: check for check in json.loads(ended.stdout)["checks"]}


def failed(ended: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What is to be done about each check that failed, of those `--json` tells."""
    return {name: check["to_do"] for name, check in checks(ended).items() if not check["passed"]}


def test_every_check_passes_and_the_store_is_as_it_was(selftest: SelfTest, store_url: str) -> None:
    """One line for each, with the ids that belong together; nothing is left of it, nothing else is gone."""
    before = content(store_url)
    ended = selftest()
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = [line.split(maxsplit=2) for line in ended.stdout.splitlines()]
    assert [(verdict, name) for verdict, name, _ in lines] == [("ok", name) for name in CHECKS]
    told = {name: words for _, name, words in lines}
    trace = told["spans"].rpartition(" ")[2]
    span = told["exemplar"].rpartition(" ")[2]
    assert len(trace) == 32
    assert f"trace {trace}" in told["exemplar"]
    assert f"trace_id={trace}, span_id={span}" in told["log"]
    queue = told["removal"].split()[1]
    assert f"glassq telemetry selftest > enqueue {queue} > process {queue}" in told["spans"]
    assert content(store_url) == before


def test_programs_read_the_same(selftest: SelfTest) -> None:
    """One document: whether all passed, and each check with what was seen."""
    ended = selftest("--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["passed"]) == (0, True)
    assert set(told) == {"passed", "store", "queue", "trace_id", "checks"}
    assert [check["name"] for check in told["checks"]] == CHECKS
    assert all(check["seen"] and check["to_do"] is None for check in told["checks"])


@any_store
def test_a_collector_gets_the_spans_and_one_that_is_away_is_named(selftest: SelfTest) -> None:
    """What is exported is the trace that was checked, whole."""
    with SpanCollector() as collector:
        ended = selftest("--json", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        trace = json.loads(ended.stdout)["trace_id"]
        spans = collector.wait_for(lambda seen: seen if len(seen) == 3 else None, timeout=5)
    assert ended.returncode == 0
    assert checks(ended)["export"]["passed"] is True
    assert {span.trace for span in spans or ()} == {trace}
    nobody = f"http://127.0.0.1:{free_port()}"
    ended = selftest("--json", OTEL_EXPORTER_OTLP_ENDPOINT=nobody, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert ended.returncode == 1
    assert "4318" in failed(ended)["export"]


@any_store
@pytest.mark.parametrize(
    ("environment", "fails", "remedy"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, {"exemplar", "spans"}, "parentbased_traceidratio"),
        ({"OTEL_SDK_DISABLED": "true"}, {"spans"}, "OTEL_SDK_DISABLED"),
        ({"OTEL_PROPAGATORS": "none"}, {"spans"}, "OTEL_PROPAGATORS=tracecontext"),
        ({"PROMETHEUS_MULTIPROC_DIR": "."}, {"exemplar"}, "PROMETHEUS_MULTIPROC_DIR"),
    ],
)
def test_what_is_broken_is_found_and_told_how_to_mend(
    selftest: SelfTest, environment: dict[str, str], fails: set[str], remedy: str
) -> None:
    """Each check fails for its own reason, with the setting that it is about."""
    ended = selftest("--json", **environment)
    assert ended.returncode == 1
    assert set(failed(ended)) == fails
    assert all(remedy in to_do for to_do in failed(ended).values())


@any_store
def test_a_sampler_that_keeps_little_keeps_this(selftest: SelfTest) -> None:
    """The usual sampler of a service in production does not make the self-test fail."""
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    assert selftest(**sampler).returncode == 0


def test_an_applications_own_provider_and_options_are_tested(
    selftest: SelfTest, tmp_path: Path, store_url: str
) -> None:
    """Its spans go where it sends them, too, and a trace that begins anew on purpose is not broken."""
    (tmp_path / "shop.py").write_text(SHOP)
    before = content(store_url)
    ended = selftest("shop:app", "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "a trace of its own" in checks(ended)["spans"]["seen"]
    queue = json.loads(ended.stdout)["queue"]
    exported = (tmp_path / "exported").read_text().splitlines()
    assert exported == [f"enqueue {queue}", "glassq telemetry selftest", f"process {queue}"]
    assert content(store_url) == before


def test_it_leaves_nothing_in_a_history_that_is_to_be_judged(
    selftest: SelfTest, tmp_path: Path, store_url: str
) -> None:
    """Of an application that records what it does: `glassq verify --strict` has nothing to say against it,
    though no dump can tell of a queue that is gone."""
    (tmp_path / "shop.py").write_text("from glassq import Glassq\napp = Glassq(history='history')\n")
    assert selftest("shop:app").returncode == 0
    ended = subprocess.run(
        [sys.executable, "-m", "glassq", "verify", "--strict", "history"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "note" not in ended.stdout


@any_store
def test_a_store_that_is_away_or_not_there_is_said_in_one_line(selftest: SelfTest, tmp_path: Path) -> None:
    """1 for a server that does not answer, 2 for a file that is not there, which looking does not make."""
    ended = selftest("--url", f"redis://127.0.0.1:{free_port()}/0")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    ended = selftest("--url", "sqlite:///none.db")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "none.db").exists()
