"""A queue that is cut into shards, through the application: one queue to its users, in order for each key."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq, current_job
from glassq.errors import BadOption, QueueFull, ShardsInUse
from glassq.model.names import queue_of
from glassq.testing.history import check, dump, read
from tests.processes import wait_until

KEYS = [f"user-{number}" for number in range(20)]


class Shop:
    """An application with one queue of four shards, and what its task saw."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.history = folder / "history"
        self.app = Glassq(f"sqlite:///{folder}/jobs.db", registry=self.registry, history=self.history)
        self.app.queue("orders", shards=4, **options)
        self.ran: dict[str | None, list[int]] = defaultdict(list)
        self.queues: set[str] = set()
        lock = threading.Lock()

        @self.app.fifo("orders", key="key", name="charge", max_retries=0)
        def charge(key: str | None, number: int) -> None:
            job = current_job()
            with lock:
                self.ran[key].append(number)
                self.queues.add(job.queue)
            if number < 0:
                raise RuntimeError("declined")

        self.charge = charge

    def sample(self, name: str, **labels: str) -> float | None:
        """A figure of its metrics."""
        return self.registry.get_sample_value(name, {"queue": "orders", **labels})


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop, closed at the end."""
    made = Shop(tmp_path)
    with made.app:
        yield made


def test_keys_keep_their_order_over_shards(shop: Shop) -> None:
    """Calls, batches and calls without a key run in order, each key's; the history agrees, and everything
    is shown under the queue's one name."""
    receipts = shop.app.enqueue_many([shop.charge.s(key, 0) for key in KEYS])
    assert [receipt.key for receipt in receipts] == KEYS
    assert {receipt.queue for receipt in receipts} == {"orders"}
    assert len({receipt.id.partition("/")[0] for receipt in receipts}) == 4
    for number in range(1, 6):
        for key in (*KEYS, None):
            shop.charge(key, number)
    assert shop.app.worker(concurrency=4).run_until_idle(30)
    assert shop.ran == {None: [1, 2, 3, 4, 5]} | {key: [0, 1, 2, 3, 4, 5] for key in KEYS}
    assert shop.queues == {"orders"}
    assert shop.app.queue("orders").stats().settled["succeeded"] == 125
    assert shop.sample("glassq_jobs_processed_total", task="charge", outcome="succeeded") == 125
    assert shop.sample("glassq_queue_depth", state="ready") == 0
    samples = (sample for family in shop.registry.collect() for sample in family.samples)
    assert {sample.labels["queue"] for sample in samples if "queue" in sample.labels} == {"orders"}
    dump(shop.app, shop.history)
    report = check(read([shop.history]))
    assert not report.findings
    assert (report.figures["jobs_acknowledged"], report.figures["queues"]) == (125, 4)


def test_no_shard_waits_for_another_to_run_empty(tmp_path: Path) -> None:
    """One slot, and a key with more jobs than anybody waits for: another key in another shard gets its turn,
    although no store tells of a shard that lanes wait in another one."""
    with Glassq(f"sqlite:///{tmp_path}/jobs.db", registry=CollectorRegistry()) as app:
        app.queue("orders", shards=4)
        ran: list[str] = []

        @app.fifo("orders", key="key")
        def pack(key: str) -> None:
            ran.append(key)
            time.sleep(0.005)

        app.enqueue_many([pack.s(KEYS[0]) for _ in range(400)])
        assert queue_of(pack(KEYS[1]).id) != queue_of(pack(KEYS[0]).id)
        with app.worker(concurrency=1):
            wait_until(lambda: KEYS[1] in ran, "the other shard's job", lambda: len(ran), 20)
        assert ran.index(KEYS[1]) < 200


def test_what_people_do_to_a_queue_reaches_all_of_it(shop: Shop) -> None:
    """Dead letters are listed and brought back, jobs are found and cancelled by the queue's one name."""
    for key in KEYS:
        shop.charge(key, -1)
    assert shop.app.worker().run_until_idle(30)
    orders = shop.app.queue("orders")
    assert {letter.key for letter in orders.dead_letters()} == set(KEYS)
    assert {letter.queue for letter in orders.dead_letters()} == {"orders"}
    assert len(orders.replay()) == 20
    assert orders.stats().depth == 20
    receipt = shop.charge(KEYS[0], 7)
    assert shop.app.job(receipt.id).queue == "orders"
    assert [job.key for job in orders.peek(100)].count(KEYS[0]) == 2
    shop.app.cancel(receipt)
    orders.pause()
    assert orders.stats().paused_whole
    assert orders.purge() == 20


def test_a_batch_that_fails_tells_what_is_in(tmp_path: Path) -> None:
    """Each shard's part of a batch is stored whole or not at all; the receipts of what is in are told, in the
    order of the calls."""
    made = Shop(tmp_path, max_length=4)
    with made.app:
        with pytest.raises(QueueFull) as failed:
            made.app.enqueue_many([made.charge.s(key, 0) for key in (KEYS[0], KEYS[1], KEYS[1])])
        assert [receipt.key for receipt in failed.value.receipts] == [KEYS[0]]
        assert made.app.queue("orders").stats().depth == 1


def test_another_number_is_refused_where_it_is_used(shop: Shop, tmp_path: Path) -> None:
    """A worker does not start on a queue that holds jobs under another number; one that cannot be is refused
    at once."""
    shop.charge(KEYS[0], 1)
    with Glassq(f"sqlite:///{tmp_path}/jobs.db", registry=CollectorRegistry()) as other:
        other.queue("orders", shards=8)
        with pytest.raises(ShardsInUse, match="Keep shards=4"):
            other.worker().start()
        for wrong in (0, 257, "8", True):
            with pytest.raises(BadOption, match="shards"):
                other.queue("orders", shards=wrong)  # type: ignore[arg-type]
