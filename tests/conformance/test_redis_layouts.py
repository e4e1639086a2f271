"""A queue is cut anew step by step: whatever step its maker dies at, jobs are where workers look for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from glassq.errors import QueueClosed, ShardsInUse
from glassq.model.jobs import NewJob
from glassq.model.layouts import Layout
from glassq.stores.redis import layouts, scripts
from glassq.stores.redis.scripts import Script
from glassq.stores.redis.store import RedisStorage

QUEUE = "orders"
STEPS = 8
"""Requests of a change from two shards to three: the record is read, the change is announced, two shards are
closed, it is decided, and the list of queues follows. One more is never reached."""


class Died(Exception):
    """The process that made the change is gone."""


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStorage]:
    """A store with a queue of two shards, of which one was used."""
    monkeypatch.setattr(layouts, "_PATIENCE", 0.1)
    with closing(RedisStorage.open(server)) as opened:
        first, _ = opened.lay_out(QUEUE, 2).shards(QUEUE)
        opened.append(first, [NewJob(body=b"a")])
        opened.purge(first, dead=False)
        yield opened


def dying(store: RedisStorage, monkeypatch: pytest.MonkeyPatch, step: int, *, after: bool) -> None:
    """Let the store's process die at its n-th request: before it is sent, or when it has been carried out."""
    left = step
    carry_out, ask = store._server.carry_out, store._server.ask

    def counted(request: Callable[..., Any]) -> Callable[..., Any]:
        def count(*about: Any, **how: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0 or (left == 0 and not after):
                raise Died
            answer = request(*about, **how)
            if left == 0:
                raise Died
            return answer

        return count

    monkeypatch.setattr(store._server, "carry_out", counted(carry_out))
    monkeypatch.setattr(store._server, "ask", counted(ask))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_change_that_is_given_up_is_done_or_undone(
    server: str, store: RedisStorage, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    """Whichever request its maker dies at: whoever comes next finds the former cut, in which every shard
    takes jobs, or the new one, in which every new shard does and no former one."""
    with closing(RedisStorage.open(server)) as maker:
        dying(maker, monkeypatch, step, after=after)
        try:
            maker.lay_out(QUEUE, 3)
        except Died:
            pass
        else:
            pytest.fail("the change has more requests than this test knows")
    with closing(RedisStorage.open(server)) as other:
        former = Layout(2, 0).shards(QUEUE)
        for shard in reversed(former):  # who went by the former cut, and goes on
            try:
                other.append(shard, [NewJob(body=b"b")])
            except QueueClosed:
                assert other.layouts() == {QUEUE: Layout(3, 2)}
        layout = other.layouts()[QUEUE]
        for shard in layout.shards(QUEUE):
            [job] = other.append(shard, [NewJob(body=b"c")])
            assert job.seq
        held = [shard for shard in former if other.stats([shard])[0].depth] if layout.first == 0 else []
        assert held == list(former if layout.first == 0 else [])
        if layout.first == 0:
            with pytest.raises(ShardsInUse):
                other.lay_out(QUEUE, 3)


def test_a_late_maker_closes_nothing_for_good(store: RedisStorage) -> None:
    """A shard that is closed for a change nobody makes any more opens with the next job."""
    key = store._keys.counters(f"{QUEUE}#1")
    store._server.run(scripts.FORGET, key, "late")
    with pytest.raises(QueueClosed):
        store.stats([f"{QUEUE}#1"])
    [job] = store.append(f"{QUEUE}#1", [NewJob(body=b"b")])
    assert job.seq == 1
    store._server.run(scripts.REOPEN, key, "another mark")
    assert store.stats([f"{QUEUE}#1"])[0].depth == 1


def test_a_change_in_the_way_of_another_one_is_taken_back_first(store: RedisStorage) -> None:
    """What an earlier change left closed is opened, and found empty, by the one that comes after it."""
    record = store._server.fields(store._keys.layouts)[QUEUE]
    store._server.run(scripts.SWAP, store._keys.layouts, QUEUE, record, f"{record}:gone")
    store._server.run(scripts.FORGET, store._keys.counters(f"{QUEUE}#0"), "gone")
    assert store.layouts() == {QUEUE: Layout(2, 0)}
    assert store.lay_out(QUEUE, 3) == Layout(3, 2)


def test_scripts_that_stand_alone_are_those_of_layouts() -> None:
    """Every other one refuses a queue that is closed."""
    every = {name: script for name, script in vars(scripts).items() if isinstance(script, Script)}
    alone = {name for name, script in every.items() if "GLASSQFORMAT" not in script.source}
    assert alone == {"REOPEN", "SWAP"}
