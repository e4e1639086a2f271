"""A traced producer and a traced worker, as real processes, and the trace that they have to leave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from glassq.cli.demo.otlp import Span
from tests.integration.processes import Stage

SHOP = '''
"""A shop whose worker runs in another process."""
import logging, os, sys
from glassq import Glassq
from opentelemetry import trace

app = Glassq()
log = logging.getLogger("shop")

@app.fifo("payments", key="order", max_retries=1, retry_wait=0.05, name="charge")
def charge(order: str, fail_once: bool) -> None:
    from glassq import current_job
    log.warning("charging")
    if fail_once and current_job().attempt == 1:
        raise ValueError("declined")

if __name__ == "__main__":
    from glassq.observe.exporting import export_traces_from_environment
    flush = export_traces_from_environment()
    with trace.get_tracer("shop").start_as_current_span("POST /orders"):
        charge("o-1", False)
        charge("o-2", True)
        app.enqueue_many([charge.s("o-3", False), charge.s("o-4", False)])
    flush()
'''


class TracedShop:
    """The shop's producer and worker as processes that export to a collector."""

    def __init__(self, folder: Path, collector: str) -> None:
        (folder / "shop.py").write_text(SHOP)
        self._folder = folder
        self._stage = Stage(
            folder,
            f"sqlite:///{folder}/jobs.db",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector,
            PYTHONPATH=str(folder),
        )

    def produce(self) -> None:
        """Enqueue four calls."""
        command = [sys.executable, "shop.py"]
        environment = {**self._stage.environment, "OTEL_SERVICE_NAME": "producer"}
        subprocess.run(command, cwd=self._folder, env=environment, check=True, timeout=60)

    def worker(self) -> tuple[subprocess.Popen[str], str]:
        """`glassq worker`, and the address it serves."""
        command = [sys.executable, "-m", "glassq", "worker", "shop:app", "--http", "127.0.0.1:0"]
        with (self._folder / "log").open("w") as log:
            child = subprocess.Popen(
                [*command, "--log-format", "json"],
                cwd=self._folder,
                env=self._stage.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("http://"):
                return child, line.split("/metrics")[0]
        raise AssertionError((self._folder / "log").read_text())

    def logged(self) -> list[dict[str, str]]:
        """The worker's log, parsed."""
        return [json.loads(line) for line in (self._folder / "log").read_text().splitlines()]


def named(spans: Sequence[Span], name: str) -> list[Span]:
    """Spans of this name, oldest first."""
    return sorted((span for span in spans if span.name == name), key=lambda span: span.started)


def check_one_unbroken_trace(spans: Sequence[Span]) -> None:
    """Whatever received the spans of the shop: each attempt hangs below the call that it carries out, and
    knows the attempt before it."""
    (root,) = named(spans, "POST /orders")
    sends = named(spans, "enqueue payments")
    creates = named(spans, "create payments")
    processes = named(spans, "process payments")
    assert {span.trace for span in spans} == {root.trace}
    assert (len(sends), len(creates), len(processes)) == (3, 2, 5)
    assert {span.service for span in processes} == {"glassq-worker"}
    assert {span.service for span in sends} == {"producer"}
    creations = {span.attributes["messaging.message.id"]: span for span in (*sends[:2], *creates)}
    for span in processes:
        creation = creations[span.attributes["messaging.message.id"]]
        assert span.parent == creation.id
        assert creation.id in span.links
    first, second = (
        span for span in processes if span.attributes["messaging.destination.partition.id"] == "o-2"
    )
    assert (first.failed, second.failed) == (True, False)
    assert (first.attributes["glassq.job.attempt"], second.attributes["glassq.job.attempt"]) == ("1", "2")
    assert first.id in second.links, "an attempt links the one before it"
    assert first.attributes["error.type"] == "ValueError"
