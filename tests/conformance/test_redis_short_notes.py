"""Lanes granted for one plain job are noted in short: who looks finds what a hash would say and leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from glassq.model.edges import After
from glassq.model.jobs import Cancellation, Dedup, JobState, NewJob
from glassq.model.lanes import LaneOrder
from glassq.model.leases import Grant, Owner
from glassq.storage import Terms
from glassq.stores.redis.store import RedisStorage
from glassq.testing.clock import FakeClock

QUEUE = "orders"
ALICE = Owner("alice", "first|0")


class Shelf:
    """A store whose grants begin together, and what its server notes."""

    def __init__(self, server: str) -> None:
        self.store = RedisStorage.open(server, clock=FakeClock())
        self._admin = redis.Redis.from_url(server, decode_responses=True)

    def claim(self, *, lanes: int = 9, window: int = 1) -> dict[str, Grant]:
        """Ready lanes, by their names."""
        terms = {QUEUE: Terms(together=True)}
        found = self.store.claim(ALICE, [QUEUE], lanes=lanes, window=window, lease_seconds=15, terms=terms)
        return {grant.lease.lane: grant for grant in found.grants}

    def shorts(self) -> set[str]:
        """The lanes that are noted in short."""
        return {str(lane) for lane in self._admin.hkeys(f"gq:{{{QUEUE}}}:t")}

    def hash_of(self, lane: str) -> dict[Any, Any]:
        """What is noted of a lane by itself."""
        return self._admin.hgetall(f"gq:{{{QUEUE}}}:l:{lane}")

    def close(self) -> None:
        """Both connections."""
        self.store.close()
        self._admin.close()


@pytest.fixture
def shelf(server: str) -> Iterator[Shelf]:
    """An empty one."""
    made = Shelf(server)
    yield made
    made.close()


def test_who_looks_finds_and_leaves_what_is_noted_in_short(shelf: Shelf) -> None:
    """Who holds lanes and what runs is told of these as of others."""
    [job, _] = [each.id for each in shelf.store.append(QUEUE, [NewJob(body=b"", lane=lane) for lane in "xy"])]
    shelf.store.report(ALICE, [QUEUE])
    shelf.claim()
    [worker] = shelf.store.workers(QUEUE)
    assert (worker.owner, worker.lanes, worker.running) == (str(ALICE), 2, 2)
    seen = shelf.store.lanes(QUEUE, by=LaneOrder.DEPTH, limit=9, look=9)
    assert [(lane.lane, lane.owner, lane.attempts) for lane in seen.lanes] == [
        ("x", str(ALICE), 1),
        ("y", str(ALICE), 1),
    ]
    found = shelf.store.get(job)
    assert found is not None
    assert found.state is JobState.LEASED
    assert shelf.shorts() == {"x", "y"}
    assert not shelf.hash_of("x")


def test_who_writes_has_it_written_out(shelf: Shelf) -> None:
    """The lane's hash says what it would have said from the claim on; that of others is left in short."""
    ids = [each.id for each in shelf.store.append(QUEUE, [NewJob(body=b"", lane=lane) for lane in "xyz"])]
    grants = shelf.claim()
    x = grants["x"]
    assert shelf.store.renew(ALICE, [x.lease], lease_seconds=15).lost == frozenset()
    told = shelf.hash_of("x")
    assert told["go"] == f"{x.lease.token}|{ALICE}|{told['b']}|0"
    assert {name: told[name] for name in ("t", "o", "cu", "ln")} == {
        "t": str(x.lease.token),
        "o": str(ALICE),
        "cu": ids[0].removeprefix(f"{QUEUE}/"),
        "ln": "15000000",
    }
    assert shelf.store.cancel(ids[1]) is Cancellation.ASKED
    assert shelf.shorts() == {"z"}


def test_only_plain_jobs_alone_are_noted_in_short(shelf: Shelf) -> None:
    """Not those that are unique, expire or are waited for in a chain, nor lanes granted with several jobs."""
    shelf.store.append(QUEUE, [NewJob(body=b"", lane="plain")])
    shelf.store.append(QUEUE, [NewJob(body=b"", lane="unique", dedup=Dedup("u"))])
    shelf.store.append(QUEUE, [NewJob(body=b"", lane="expires", ttl=9)])
    shelf.store.append(QUEUE, [NewJob(body=b"", lane="chain"), NewJob(body=b"", lane="c", after=(After(0),))])
    shelf.store.append(QUEUE, [NewJob(body=b"", lane="two"), NewJob(body=b"", lane="two")])
    assert set(shelf.claim(window=2)) == {"plain", "unique", "expires", "chain", "two"}
    assert shelf.shorts() == {"plain"}


def test_sets_of_many_lanes_become_tables(server: str, shelf: Shelf) -> None:
    """Of lanes that are held, and that are left, but nothing is in them besides."""
    names = {f"lane {each}" for each in range(30)}
    shelf.store.append(QUEUE, [NewJob(body=b"", lane=name) for name in sorted(names)])
    held = set(shelf.claim(lanes=10))
    with redis.Redis.from_url(server, decode_responses=True) as admin:
        sets = {name: f"gq:{{{QUEUE}}}:{name}" for name in "hra"}
        assert {admin.object("encoding", key) for key in sets.values()} == {"skiplist"}
        found = {name: {str(lane) for lane in admin.zrange(key, 0, -1)} for name, key in sets.items()}
    assert found == {"h": held, "r": names - held, "a": names - held}
