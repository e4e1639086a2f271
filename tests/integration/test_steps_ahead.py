"""Steps of a chain that are run ahead of the store read what the steps before them have left."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry

from glassq import From, Glassq, chain, current_job
from glassq.model.events import AttemptSettled, AttemptStarted
from glassq.model.flows import Upstream
from glassq.model.leases import Owner, Settlement
from glassq.settling import Settling
from glassq.stores.redis import scripts
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
    assert len(sent) > 5
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
    assert sent


@pytest.mark.parametrize("seed", range(3))
def test_chains_that_are_run_ahead_come_to_what_others_come_to(
    app: Glassq, seed: int, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that are slow, fail, fail once or have callbacks among quick ones: the same attempts in the same
    order, the same ends of the workflows, and the same left in the store."""
    together, ahead = play(app, Random(seed))
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    shortcuts = ("settle_next", "counting", "settle_turns")
    whole = scripts.Script("settle", *scripts.SETTLE_PARTS, shortcuts=shortcuts)
    monkeypatch.setattr(scripts, "SETTLE", whole)
    singly, none_ahead = play(Glassq(redis_url, registry=CollectorRegistry()), Random(seed))
    assert together == singly
    assert ahead > none_ahead


def play(app: Glassq, chance: Random) -> tuple[list[object], int]:
    """Run chains that chance makes, one after the other; what came of them, and how many attempts began while
    the one before was not known to have ended."""
    told: dict[str, list[tuple[object, ...]]] = {"AttemptStarted": [], "AttemptSettled": []}
    running = most = 0

    def note(event: AttemptStarted | AttemptSettled) -> None:
        nonlocal running, most
        kind = type(event).__name__
        running += 1 if kind == "AttemptStarted" else -1
        most += running > 1
        ended = (event.outcome, event.verdict.action) if isinstance(event, AttemptSettled) else ()
        told[kind].append((event.task, event.attempt, *ended))

    app.bus.subscribe(note, AttemptStarted, AttemptSettled)
    tasks, outcomes = declare(app), list[object]()
    with app.worker(concurrency=1) as worker:
        for _ in range(6):
            kinds = [chance.choice((*["quick"] * 12, *tasks)) for _ in range(20)]
            workflow = app.submit(chain(*(tasks[kind].s() for kind in kinds)))
            assert worker.run_until_idle(timeout=30)
            outcomes.append(workflow.status())
    stats = app.storage.stats(["q"])[0]
    app.close()
    return [told, outcomes, dict(stats.settled), stats.dead_letters, stats.depth], most


def declare(app: Glassq) -> dict[str, Any]:
    """One task of each kind."""

    @app.fifo("q")
    def quick() -> None:
        return None

    @app.fifo("q")
    def slow() -> None:
        time.sleep(0.006)

    @app.fifo("q", max_retries=0)
    def fails() -> None:
        raise ValueError

    @app.fifo("q", retry_wait=0.0)
    def fails_once() -> None:
        if current_job().attempt == 1:
            raise ValueError

    @app.fifo("q", lambda *_: None)
    def told() -> None:
        return None

    return {"quick": quick, "slow": slow, "fails": fails, "fails_once": fails_once, "told": told}
