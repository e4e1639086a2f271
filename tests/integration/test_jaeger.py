"""One call seen in Jaeger, if there is one: version 2 (`jaeger`) or 1 (`jaeger-all-in-one`) on the PATH."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.jaeger import BINARIES, Jaeger, installed, running
from tests.integration.tracedshop import TracedShop, check_one_unbroken_trace, named
from tests.processes import wait_until


@pytest.mark.skipif(installed() is None, reason=f"needs Jaeger: one of {', '.join(BINARIES)} on the PATH")
def test_jaeger_shows_one_unbroken_trace(tmp_path: Path) -> None:
    """What Jaeger tells of an order, from the call to the last attempt of its jobs: one trace, found by the
    service and the name of its root, as a person would look for it."""
    binary = installed()
    assert binary is not None
    with running(binary, tmp_path) as jaeger:
        shop = TracedShop(tmp_path, jaeger.url)
        shop.produce()
        worker, _ = shop.worker()
        try:
            _wait_for_attempts(jaeger)
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=30) == 0
            if worker.stdout is not None:
                worker.stdout.close()
        (trace,) = jaeger.traces(service="producer", operation="POST /orders")
        check_one_unbroken_trace(trace)
        assert jaeger.traces(service="glassq-worker", operation="process payments") == [trace]


def _wait_for_attempts(jaeger: Jaeger) -> None:
    def seen() -> bool:
        traces = jaeger.traces(service="producer", operation="POST /orders")
        return [len(named(trace, "process payments")) for trace in traces] == [5]

    wait_until(seen, "the spans of five attempts", lambda: jaeger.traces(service="producer"), every=0.2)
