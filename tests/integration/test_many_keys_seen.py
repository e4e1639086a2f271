"""The keys that stand out among ten thousand: all of them are looked at, and the server hardly notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest
import redis
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.model.jobs import NewJob
from glassq.model.lanes import LaneOrder, TopKeys
from glassq.model.leases import Owner, Settlement
from glassq.model.stats import LaneState
from glassq.model.verdicts import Action

LANES, HELD, FAILED = 10_000, 200, 100
ME = Owner("me", "first")

pytestmark = pytest.mark.slow


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """A queue of ten thousand lanes: some are held, some have a head that failed, and one is deep."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        body = b"x" * 200
        for start in range(0, LANES, 100):
            lanes = [f"key-{number:05}" for number in range(start, start + 100)]
            app.storage.append("q", [NewJob(body=body, lane=lane) for lane in lanes])
        app.storage.append("q", [NewJob(body=body, lane="key-07777")] * 20)
        for _ in range(0, HELD, 100):
            app.storage.claim(ME, ["q"], lanes=100, window=1, lease_seconds=600)
        grants = app.storage.claim(ME, ["q"], lanes=FAILED, window=1, lease_seconds=600).grants
        for grant in grants:
            failed = Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.RETRY, wait=600)
            app.storage.settle(ME, [failed])
        yield app


def test_ten_thousand_lanes_are_looked_at(app: Glassq) -> None:
    """By each order the first ones are right, no lane is left out, and it takes a fraction of a second."""
    queue = app.queue("q")
    started = time.process_time()
    deepest, oldest, blocked = (queue.keys(20, by.value) for by in LaneOrder)
    spent = time.process_time() - started
    assert (deepest.keys[0].key, deepest.keys[0].depth) == ("key-07777", 21)
    assert (deepest.lanes, deepest.looked_at, deepest.exact) == (LANES, LANES, True)
    assert [each.key for each in oldest.keys] == [f"key-{number:05}" for number in range(20)]
    assert oldest.exact
    assert {each.key for each in blocked.keys} == {f"key-{number:05}" for number in range(HELD, HELD + 20)}
    assert blocked.exact
    (me,) = queue.workers()
    assert (me.lanes, me.running, me.alive) == (HELD, HELD, False)
    assert spent < 5, f"{spent:.2f} s of this process for three looks"


def test_no_look_keeps_the_server_for_long(app: Glassq, store_url: str) -> None:
    """On Redis: a call of a look takes it less than a millisecond, and none searches all its keys."""
    if not store_url.startswith("redis"):
        pytest.skip("nobody waits for a reader of a file")
    queue, looks = app.queue("q"), 5
    with redis.Redis.from_url(store_url) as admin:
        for by in LaneOrder:
            queue.keys(20, by.value)  # from here on the scripts are known
            admin.config_resetstat()
            before = cpu_seconds(admin)
            for _ in range(looks):
                queue.keys(20, by.value)
            spent = cpu_seconds(admin) - before
            asked = admin.info("commandstats")
            calls = asked["cmdstat_evalsha"]["calls"]
            assert spent / calls < 0.001
            assert calls / looks <= (LANES if by is LaneOrder.DEPTH else 2 * HELD) / 50 + 10
            assert not {name for name in asked if name == "cmdstat_keys" or name.endswith("scan")}


def test_lanes_may_change_hands_meanwhile(store_url: str) -> None:
    """While workers take, run and leave lanes, and others fill and steer them, each look is an answer: rows
    that can be, and no key twice."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        queue, ended = app.queue("q"), threading.Event()

        @app.fifo("q", key="key", max_retries=1, retry_wait=0.01)
        def work(key: str, number: int) -> None:
            if number % 17 == 0:
                raise ValueError(key)

        def fill() -> None:
            for round_ in count():
                if ended.is_set():
                    return
                app.enqueue_many([work.s(f"k{number % 301}", number) for number in range(400)])
                (queue.pause if round_ % 2 else queue.resume)(f"k{round_ % 301}")
                while queue.stats().depth > 3000 and not ended.is_set():
                    time.sleep(0.01)

        filler = threading.Thread(target=fill)
        filler.start()
        try:
            with app.worker(concurrency=4):
                for _ in range(40):
                    for by in LaneOrder:
                        check_look(queue.keys(30, by.value))
                    assert all(each.running <= each.lanes for each in queue.workers())
        finally:
            ended.set()
            filler.join()


def check_look(found: TopKeys) -> None:
    """What is true of every look."""
    names = [each.key for each in found.keys]
    assert len(set(names)) == len(names) <= 30
    for each in found.keys:
        assert each.depth > 0
        assert each.head.startswith("q/")
        assert 0 <= each.attempts <= 2
        assert min(each.head_age, each.blocked) >= 0
        assert each.blocked or found.by is not LaneOrder.BLOCKED
        assert each.oldest_age >= each.head_age
        assert (each.state is LaneState.LEASED) == bool(each.owner)


def cpu_seconds(server: redis.Redis) -> float:
    """What a server has spent: it may have to wait for a processor, which is no fault of a script."""
    spent = server.info("cpu")
    return float(spent["used_cpu_user"]) + float(spent["used_cpu_sys"])
