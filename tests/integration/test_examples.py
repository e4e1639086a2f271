"""The examples do what they say: one trace from the call to the execution, and metrics that tell of it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from glassq.cli.demo.otlp import Span, SpanCollector
from tests.integration.processes import Stage
from tests.processes import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
WORKER = "glassq-worker"


class Theatre:
    """Programs of an example on one store, which export to one collector."""

    def __init__(self, folder: Path, example: str, collector: SpanCollector) -> None:
        self.collector = collector
        self._folder = folder
        self._environment = {
            **Stage(folder, f"sqlite:///{folder}/jobs.db").environment,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "PYTHONPATH": str(EXAMPLES / example),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._ending = ExitStack()

    def command(self, service: str, *words: str) -> str:
        """Run a program to its end; what it printed."""
        ended = subprocess.run(
            [sys.executable, *words],
            cwd=self._folder,
            env={**self._environment, "OTEL_SERVICE_NAME": service},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def start(self, service: str, *words: str) -> subprocess.Popen[str]:
        """A program that runs until the theatre closes."""
        log = self._ending.enter_context((self._folder / f"{service}.log").open("w"))
        child = subprocess.Popen(
            [sys.executable, *words],
            cwd=self._folder,
            env={**self._environment, "OTEL_SERVICE_NAME": service},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._ending.callback(self._end, child)
        return child

    def _end(self, child: subprocess.Popen[str]) -> None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout=30)
        finally:
            child.kill()

    def worker(self, application: str) -> str:
        """`glassq worker`; the address of its pages."""
        self.start(WORKER, "-m", "glassq", "worker", application, "--http", "127.0.0.1:0")
        wait_until(lambda: "/metrics" in self.log(WORKER), "the worker's address", lambda: self.log(WORKER))
        return self.log(WORKER).partition("/metrics")[0].split()[-1]

    def log(self, service: str) -> str:
        """What a program printed so far."""
        return (self._folder / f"{service}.log").read_text()

    def spans(self, enough: Callable[[Sequence[Span]], bool]) -> list[Span]:
        """The exported spans, once there are enough of them."""
        seen = self.collector.wait_for(lambda all_: list(all_) if enough(all_) else None, timeout=60)
        assert seen is not None, "the spans of all jobs"
        return seen

    def close(self) -> None:
        """Nothing outlives a test."""
        self._ending.close()


@pytest.fixture
def theatre(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Theatre]:
    """The stage of the example that the test names."""
    with SpanCollector() as collector:
        theatre = Theatre(tmp_path, request.param, collector)
        try:
            yield theatre
        finally:
            theatre.close()


def example(folder: str) -> pytest.MarkDecorator:
    """Which example a test is about."""
    return pytest.mark.parametrize("theatre", [folder], indirect=True)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def fetch(url: str, method: str = "GET") -> str:
    """The body of a page."""
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as response:
        body: str = response.read().decode()
    return body


def answers(url: str) -> bool:
    """Whether somebody listens there already."""
    try:
        fetch(url)
    except OSError as error:
        return hasattr(error, "code")
    return True


def processed(spans: Sequence[Span], queue: str) -> list[Span]:
    """The attempts of a queue's jobs."""
    return [span for span in spans if span.name == f"process {queue}"]


def prove_one_trace_each(spans: Sequence[Span], root: str, queue: str, workers: str) -> None:
    """Every attempt is below the enqueue below its root, in another process or not."""
    by_id = {span.id: span for span in spans}
    for attempt in processed(spans, queue):
        enqueued = by_id[attempt.parent]
        called = by_id[enqueued.parent]
        assert (enqueued.name, called.name) == (f"enqueue {queue}", root)
        assert attempt.trace == enqueued.trace == called.trace
        assert attempt.service == workers


@example("script")
def test_a_plain_script(theatre: Theatre, tmp_path: Path) -> None:
    """Its jobs run after it has ended, in order, in the trace that it began; the worker shows its totals."""
    printed = theatre.command("reports", str(EXAMPLES / "script/reports.py"), "north", "south")
    assert printed.splitlines()[3] == "south, month 1: number 4"
    address = theatre.worker("reports:app")
    spans = theatre.spans(lambda seen: len(processed(seen, "reports")) == 6)
    assert len({span.trace for span in spans}) == 1
    prove_one_trace_each(spans, "quarter's end", "reports", WORKER)
    for region in ("north", "south"):
        assert (tmp_path / f"{region}.txt").read_text() == "month 1\nmonth 2\nmonth 3\n"
    metrics = fetch(f"{address}/metrics")
    assert 'glassq_queue_enqueued_total{queue="reports"} 6.0' in metrics
    assert 'glassq_job_attempts_total{queue="reports",result="succeeded",' in metrics
    assert 'glassq_queue_objective_seconds{objective="max_age",queue="reports"} 300.0' in metrics


@example("fastapi_shop")
def test_fastapi_with_the_worker_inside(theatre: Theatre) -> None:
    """One process takes orders, runs them in order, and serves metrics and health below its own address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    theatre.start("shop", "-m", "uvicorn", "shop:web", "--port", str(port))
    wait_until(lambda: answers(f"{address}/glassq/livez"), "the server", lambda: theatre.log("shop"))
    for item in ("tea", "milk", "salt"):
        assert '"number":' in fetch(f"{address}/orders/ann?item={item}", "POST")
    spans = theatre.spans(lambda seen: len(processed(seen, "orders")) == 3)
    assert len({span.trace for span in processed(spans, "orders")}) == 3, "a trace for each request"
    prove_one_trace_each(spans, "POST /orders/{customer}", "orders", "shop")
    assert re.findall(r"packing (\w+) for ann", theatre.log("shop")) == ["tea", "milk", "salt"]
    metrics = fetch(f"{address}/glassq/metrics")
    assert 'glassq_jobs_enqueued_total{queue="orders",task="shop.pack"} 3.0' in metrics
    assert 'glassq_jobs_processed_total{outcome="succeeded",queue="orders",task="shop.pack"} 3.0' in metrics
    assert '"pass"' in fetch(f"{address}/glassq/readyz")


@example("flask_shop")
def test_flask_under_gunicorn(theatre: Theatre) -> None:
    """Forked web processes enqueue in one order; the worker shows what all of them enqueued; every order is
    one trace over the fork and into the worker."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    configuration = str(EXAMPLES / "flask_shop/gunicorn_conf.py")
    words = ("-m", "gunicorn", "--config", configuration, "--bind", f"127.0.0.1:{port}", "shop:web")
    web = theatre.start("shop", *words)
    wait_until(lambda: answers(f"{address}/"), "the server", lambda: theatre.log("shop"))
    items = [f"item-{number}" for number in range(12)]
    answered = [fetch(f"{address}/orders/ann?item={item}", "POST") for item in items]
    assert all(f'"process":{web.pid}' not in answer for answer in answered), "the forked ones answer"
    pages = theatre.worker("shop:app")
    spans = theatre.spans(lambda seen: len(processed(seen, "orders")) == len(items))
    prove_one_trace_each(spans, "POST /orders/<customer>", "orders", WORKER)
    assert re.findall(r"packing (\S+) for ann", theatre.log(WORKER)) == items
    metrics = fetch(f"{pages}/metrics")
    assert 'glassq_queue_enqueued_total{queue="orders"} 12.0' in metrics
    assert 'glassq_jobs_processed_total{outcome="succeeded",queue="orders",task="shop.pack"} 12.0' in metrics
