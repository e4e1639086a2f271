"""A real Prometheus scrapes a real shop: the rules find their series, and what breaks raises its alert."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from glassq.app import Glassq
from tests.conformance.redisservers import any_server, free_port, running
from tests.integration.monitored import HASTE, STALE_SECONDS, Prometheus, scraping, seconds
from tests.promql import selectors
from tests.rules import ALERTS, RECORDED, RULES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SCRAPE_SECONDS = 10.0
"""What may pass beside an alert's own time: scrapes and evaluations, each once a second, where much runs."""

NOT_YET = ("LaneHalted", "WorkerStale", "StorageDown", "DataLossDetected", "OrderViolation", "MetricsAbsent")

SHOP = """
import os, sys, time
from glassq import Glassq

app = Glassq(os.environ["GLASSQ_URL"], lease_seconds=6)
app.queue("payments", max_age=60, max_blocked=30, job_timeout=10, max_length=100_000)

@app.fifo("payments", key="order", max_retries=1, retry_wait=0.1, name="charge")
def charge(order, ends_well):
    time.sleep(0.02)
    if not ends_well:
        raise ConnectionError("the bank does not answer")

@app.fifo("payments", key="order", max_retries=0, on_exhausted="halt", name="move")
def move(order):
    raise RuntimeError("the card is blocked")

if __name__ == "__main__":
    app.serve_http(host="127.0.0.1", port=int(sys.argv[1]))
    print("up", flush=True)
    number = 0
    while True:
        number += 1
        try:
            charge(f"o-{number % 7}", number % 10 > 0)
            if number % 20 == 0:
                charge.options(delay=0.5)("o-later", True)
        except Exception as error:
            print(error, file=sys.stderr)
        time.sleep(0.05)
"""


class Shop:
    """A producer and two workers on one Redis, each with an address of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._binary = any_server()
        self._port = free_port()
        self._redis = stack.enter_context(ExitStack())
        self.start_redis()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        (folder / "shop.py").write_text(SHOP, encoding="utf-8")
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in ("producer", "w1", "w2")}
        self.processes = {name: self._start(name) for name in self.addresses}

    def start_redis(self) -> None:
        """An empty server at the address of the shop."""
        self._redis.enter_context(running(self._binary, self._folder, port=self._port))

    def stop_redis(self) -> None:
        """Kill the server."""
        self._redis.close()

    def halt_a_lane(self) -> None:
        """Enqueue a job that fails for good and halts its lane."""
        with closing(Glassq(self.url)) as app:

            @app.fifo("payments", key="order", max_retries=0, on_exhausted="halt", name="move")
            def move(order: str) -> None: ...

            move("o-17")

    def metrics(self, name: str) -> str:
        """What a process answers to a scrape, which is never an error."""
        with urllib.request.urlopen(f"http://{self.addresses[name]}/metrics", timeout=10) as response:
            text: str = response.read().decode()
            return text

    def _start(self, name: str) -> subprocess.Popen[str]:
        address = self.addresses[name]
        command = {"producer": ["shop.py", address.partition(":")[2]]}.get(
            name, ["-m", "glassq", "worker", "shop:app", "--http", address]
        )
        log = self._stack.enter_context((self._folder / f"{name}.log").open("w"))
        environment = {**os.environ, "GLASSQ_URL": self.url, "PYTHONUNBUFFERED": "1"}
        child = self._stack.enter_context(
            subprocess.Popen(
                [sys.executable, *command],
                cwd=self._folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        )
        self._stack.callback(child.kill)
        assert child.stdout is not None
        assert child.stdout.readline(), (self._folder / f"{name}.log").read_text()
        return child


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Shop, Prometheus]]:
    """A shop that does business, and a Prometheus that watches it."""
    with ExitStack() as stack:
        shop = Shop(folder, stack)
        prometheus = stack.enter_context(scraping(folder, list(shop.addresses.values())))
        prometheus.wait_until(
            lambda: all(prometheus.series(name) for name in RECORDED),
            "every recorded series",
            lambda: [name for name in RECORDED if not prometheus.series(name)],
        )
        yield shop, prometheus


def waits(alert: str) -> float:
    """How long an alert waits here before it fires."""
    return max(seconds(rule.waits) for rule in ALERTS if rule.alert == alert) / HASTE


def test_what_breaks_raises_its_alert_in_time(tmp_path: Path) -> None:
    """Every rule evaluates, over series that are there. Then a lane halts, a worker is killed, Redis is
    killed and comes back empty: each raises its alert, none before, and scrapes are always answered."""
    with opened(tmp_path) as (shop, prometheus):
        rules = prometheus.rules()
        assert len(rules) == len(RULES)
        assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
        prometheus.wait_until(
            lambda: not empty_selectors(prometheus),
            "a series for every selector",
            lambda: empty_selectors(prometheus),
            30,
        )

        assert [prometheus.firing(alert) for alert in NOT_YET] == [[]] * len(NOT_YET)

        shop.halt_a_lane()
        prometheus.wait_for_alert("LaneHalted", waits("LaneHalted") + SCRAPE_SECONDS, queue="payments")

        shop.processes["w2"].kill()
        within = STALE_SECONDS + waits("WorkerStale") + SCRAPE_SECONDS
        prometheus.wait_for_alert("WorkerStale", within, instance=shop.addresses["w2"])
        assert {each["instance"] for each in prometheus.firing("WorkerStale")} == {shop.addresses["w2"]}

        shop.stop_redis()
        prometheus.wait_for_alert("StorageDown", waits("StorageDown") + SCRAPE_SECONDS, store="redis")
        assert 'glassq_collector_up{store="redis"} 0.0' in shop.metrics("w1")
        assert 'glassq_collector_up{store="redis"} 0.0' in shop.metrics("producer")

        shop.start_redis()
        prometheus.wait_for_alert(
            "DataLossDetected", waits("DataLossDetected") + 3 * SCRAPE_SECONDS, queue="payments"
        )
        prometheus.wait_until(
            lambda: not prometheus.firing("StorageDown"), "StorageDown to end", prometheus.rules
        )
        assert prometheus.firing("OrderViolation") == []


def empty_selectors(prometheus: Prometheus) -> set[str]:
    """Selectors of the rules that have found no series since the shop is open, where all of them should."""
    wanted = set()
    for rule in RULES:
        for selector in selectors(rule.expr):
            chosen = ", ".join(f'{each.label}=~"{"|".join(each.values)}"' for each in selector.matchers)
            wanted.add(f"{selector.name}{{{chosen}}}")
    return {each for each in wanted if not prometheus.series(f"count_over_time({each}[5m])")}
