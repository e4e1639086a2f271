"""Ten thousand calls awaited at once in one FastAPI application that is under load: their order, and for how
long its event loop stood still."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from tests.conformance.redisservers import free_port
from tests.integration.theatre import answers
from tests.processes import wait_until

ROOT = Path(__file__).parents[2]
CALLS, KEYS, CUSTOMERS = 10_000, 100, 8


class Served:
    """The application, asked on connections that are kept."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> closing[http.client.HTTPConnection]:
        """A connection."""
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60))

    def ask(self, path: str) -> Any:
        """One request on a connection of its own."""
        with self.connect() as connection:
            return ask(connection, path)


def ask(connection: http.client.HTTPConnection, path: str) -> Any:
    """One request's answer."""
    connection.request("POST", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return json.loads(body)


@pytest.fixture
def served(store_url: str, tmp_path: Path) -> Iterator[Served]:
    """It runs in a process of its own, in front of an empty store of each kind."""
    port = free_port()
    environment = {**os.environ, "GLASSQ_URL": store_url, "PYTHONPATH": str(ROOT)}
    words = ["-m", "uvicorn", "tests.integration.burstserved:web", "--port", str(port), "--no-access-log"]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, *words], env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), "the server", log.read_text)
        yield Served(port)
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.slow
def test_ten_thousand_calls_at_once_under_load(
    served: Served, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calls of one key are stored, and run, in the order in which they were begun; those of requests beside
    them, too. How long the loop stood still is printed, with what asyncio alone makes of so many."""
    over = threading.Event()
    waits: list[float] = []

    def order(customer: str) -> list[int]:
        places: list[int] = []
        with served.connect() as connection:
            while not over.is_set():
                began = time.perf_counter()
                places.append(ask(connection, f"/orders/{customer}/{len(places)}"))
                waits.append(time.perf_counter() - began)
        return places

    served.ask(f"/nothing/{CALLS}")
    alone = served.ask("/stall")
    with ThreadPoolExecutor(CUSTOMERS) as customers:
        ordering = {name: customers.submit(order, name) for name in "abcdefgh"[:CUSTOMERS]}
        try:
            wait_until(lambda: len(waits) > 10 * CUSTOMERS, "the load", lambda: waits)
            loaded = served.ask("/stall")
            began = time.perf_counter()
            seqs: list[int] = served.ask(f"/burst/{CALLS}/{KEYS}")
            seconds = time.perf_counter() - began
            stalled = served.ask("/stall")
        finally:
            over.set()
    places = {name: each.result() for name, each in ordering.items()}
    assert len({*seqs, *chain.from_iterable(places.values())}) == CALLS + len(waits)
    for of_key in (*(seqs[key::KEYS] for key in range(KEYS)), *places.values()):
        assert of_key == sorted(of_key)
    prove_they_run_so(store_url, {name: len(each) for name, each in places.items()})
    figures = (
        f"{CALLS} calls at once, {store_url.partition(':')[0]}: {CALLS / seconds:,.0f} a second; "
        f"the loop stood still for up to {stalled * 1000:.0f} ms ({loaded * 1000:.0f} ms under the same load "
        f"before, {alone * 1000:.0f} ms by as many coroutines that do nothing); "
        f"requests beside it took up to {max(waits) * 1000:.0f} ms"
    )
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")


def prove_they_run_so(url: str, ordered: dict[str, int]) -> None:
    """All jobs run, those of each key in the order of the calls."""
    ran = defaultdict(list)
    with Glassq(url, registry=CollectorRegistry()) as app:

        @app.fifo("orders", key="customer", name="pack")
        def pack(customer: str, number: int) -> None:
            ran[customer].append(number)

        assert app.worker(concurrency=8).run_until_idle(60)
    assert ran == {
        **{f"k{key}": [*range(key, CALLS, KEYS)] for key in range(KEYS)},
        **{name: [*range(count)] for name, count in ordered.items()},
    }
