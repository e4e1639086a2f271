"""The examples do what they say: one trace from the call to the execution, and metrics that tell of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.error import HTTPError

import pytest

from glassq.cli.demo.otlp import Span, SpanCollector
from tests.conformance.redisservers import free_port
from tests.integration.theatre import EXAMPLES, WORKER, Theatre, answers, fetch
from tests.processes import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def theatre(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Theatre]:
    """The stage of the example that the test names."""
    with SpanCollector() as collector:
        theatre = Theatre(tmp_path, f"sqlite:///{tmp_path}/jobs.db", request.param, collector)
        try:
            yield theatre
        finally:
            theatre.close()


def example(folder: str) -> pytest.MarkDecorator:
    """Which example a test is about."""
    return pytest.mark.parametrize("theatre", [folder], indirect=True)


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


@example("nightly")
def test_a_nightly_report(theatre: Theatre, tmp_path: Path) -> None:
    """A worker stores the schedules and leads them; what is run by hand it writes at once."""
    theatre.worker("nightly:app")

    def listed() -> str:
        return theatre.command("operator", "-m", "glassq", "schedule", "list", "nightly:app")

    wait_until(lambda: "report-south" in listed(), "the schedules to be stored", listed)
    assert "30 2 * * *" in listed()
    theatre.command("operator", "-m", "glassq", "schedule", "run-now", "nightly:app", "report-north")
    report = tmp_path / "north.txt"
    wait_until(report.exists, "the report", listed)
    assert report.read_text().startswith("written for 20")


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


@example("flask_shop")
def test_flask_with_workers_in_its_processes(theatre: Theatre) -> None:
    """With nothing beside the web processes, each runs jobs; those of one customer in their order."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    configuration = str(EXAMPLES / "flask_shop/gunicorn_conf.py")
    words = ("-m", "gunicorn", "--config", configuration, "--bind", f"127.0.0.1:{port}", "shop:web")
    theatre.start("shop", *words, WORK_HERE="1")
    log = partial(theatre.log, "shop")
    wait_until(lambda: answers(f"{address}/"), "the server", log)
    seen: set[int] = set()

    def order(customer: str) -> list[str]:
        """Until both processes have answered: gunicorn forgets to end one that it forked a moment ago."""
        ordered: list[str] = []
        while len(ordered) < 6 or len(seen) < 2:
            ordered.append(f"item-{len(ordered)}")
            seen.add(json.loads(fetch(f"{address}/orders/{customer}?item={ordered[-1]}", "POST"))["process"])
        return ordered

    with ThreadPoolExecutor(3) as customers:
        orders = dict(zip(("ann", "bob", "cy"), customers.map(order, ("ann", "bob", "cy")), strict=True))
    wait_until(lambda: log().count("packing") == sum(map(len, orders.values())), "the jobs", log)
    for customer, items in orders.items():
        assert re.findall(rf"packing (\S+) for {customer}", log()) == items
    assert "Traceback" not in log()


@example("django_shop")
def test_django_under_gunicorn(theatre: Theatre) -> None:
    """A job is there once its order is committed, so that a worker finds it, whichever process took it; of a
    transaction that is taken back there is none."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    theatre.command("migrate", str(EXAMPLES / "django_shop/manage.py"), "migrate", "--run-syncdb")
    pages = theatre.worker("shop.worker:app")
    theatre.start("shop", "-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", "shop.wsgi")
    wait_until(lambda: answers(f"{address}/"), "the server", lambda: theatre.log("shop"))
    items = [f"item-{number}" for number in range(12)]
    for item in items:
        fetch(f"{address}/orders/ann?item={item}", "POST")
    with pytest.raises(HTTPError, match="400"):
        fetch(f"{address}/orders/ann?item=", "POST")
    log = partial(theatre.log, WORKER)
    wait_until(lambda: log().count("packing") == len(items), "the jobs", log)
    assert re.findall(r"packing (\S+) for ann", log()) == items
    metrics = fetch(f"{pages}/metrics")
    assert 'glassq_queue_enqueued_total{queue="orders"} 12.0' in metrics
    assert (
        'glassq_jobs_processed_total{outcome="succeeded",queue="orders",task="shop.jobs.pack"} 12.0'
        in metrics
    )
    assert 'glassq_job_attempts_total{queue="orders",result="failed",task="shop.jobs.pack"} 0.0' in metrics
