"""Steps of a chain that are run ahead of the store read what the steps before them have left."""

from __future__ import annotations

import threading

import pytest
import redis
from prometheus_client import CollectorRegistry

from glassq import From, Glassq, chain, current_job
from glassq.model.flows import Upstream
from glassq.model.leases import Owner, Settlement
from glassq.settling import Settling
from glassq.stores.redis.store import RedisStorage


@pytest.fixture
def app(redis_url: str) -> Glassq:
    """On an empty server."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return Glassq(redis_url, registry=CollectorRegistry())


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Settling]:
    """The settlements that nobody waited for."""
    found: list[Settling] = []
    settle_later = RedisStorage.settle_later

    def noting(self: RedisStorage, owner: Owner, settlement: Settlement) -> Settling:
        found.append(settle_later(self, owner, settlement))
        return found[-1]

    monkeypatch.setattr(RedisStorage, "settle_later", noting)
    return found


def test_what_was_sent_is_heard_before_it_is_read_what_it_left(
    app: Glassq, sent: list[Settling], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that asks for a result finds it, whatever was on its way; the others wait for nothing."""
    upstream, unheard = RedisStorage.upstream, list[int]()

    def reading(self: RedisStorage, job_id: str) -> tuple[Upstream, ...]:
        unheard.append(sum(not each.arrived() for each in sent))
        return upstream(self, job_id)

    monkeypatch.setattr(RedisStorage, "upstream", reading)

    @app.fifo("q")
    def step(number: int) -> int:
        return number

    @app.fifo("q")
    def asks(number: int, before: int) -> int:
        job = current_job()
        assert job is not None
        assert list(job.upstream.values()) == [before]
        return number if number == before + 1 else -1

    steps = [
        asks.s(number, From("step")).named("step") if number % 5 == 4 else step.s(number)
        for number in range(40)
    ]
    workflow = app.submit(chain(*steps))
    with app.worker(concurrency=1) as worker:
        assert worker.run_until_idle(timeout=30)
    assert str(workflow.status()) == "succeeded"
    assert len(sent) > 30
    assert unheard == [0] * 8


def test_another_thread_reads_it_too(app: Glassq, sent: list[Settling]) -> None:
    """What was sent belongs to the lane's thread; the order of the connection makes it true for others."""
    read: list[object] = []

    @app.fifo("q")
    def step(number: int) -> int:
        job = current_job()
        if number and job is not None:
            thread = threading.Thread(target=lambda: read.append(job.upstream["step"]))
            thread.start()
            thread.join()
        return number

    app.submit(chain(*(step.s(number) for number in range(20))))
    with app.worker(concurrency=1) as worker:
        assert worker.run_until_idle(timeout=30)
    assert read == list(range(19))
    assert len(sent) > 10
