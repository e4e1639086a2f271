"""How often somebody who waits for a result looks for it, and what ends that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from glassq.client.results import Results
from glassq.codec import Envelope, JsonSerializer, seal
from glassq.codec.results import seal_result
from glassq.errors import ResultNotKept, ResultTimeout, StorageUnavailable
from glassq.model.jobs import NewJob
from glassq.model.keeping import Note
from glassq.model.leases import Owner, Settlement
from glassq.model.verdicts import Action
from glassq.registry import Registry
from glassq.stores.open import open_storage
from glassq.stores.sharded import ShardedQueues
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock

ALICE = Owner("alice", "first")


class Sleeps(FakeClock):
    """Time that passes only while somebody sleeps. What happens meanwhile is said by the second."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        self.events: dict[float, Callable[[], object]] = {}

    def sleep(self, seconds: float) -> None:
        """Move time, and let happen what is due."""
        self.slept.append(seconds)
        super().sleep(seconds)
        for moment in [each for each in self.events if each <= sum(self.slept)]:
            self.events.pop(moment)()


class Looked(ShardedQueues):
    """A store whose looks for notes and jobs are counted, and that may be away."""

    looks = searches = 0
    away: Exception | None = None

    def notes(self, job_id: str, limit: int = 1) -> list[Note]:
        """As the store, if it is there."""
        self.looks += 1
        if self.away is not None:
            raise self.away
        return super().notes(job_id, limit)

    def get(self, job_id: str) -> Any:
        """As the store."""
        self.searches += 1
        return super().get(job_id)


@pytest.fixture
def store() -> Iterator[Looked]:
    """A store in memory."""
    with closing(Looked(open_storage("sqlite://"))) as store:
        yield store


@pytest.fixture
def clock() -> Sleeps:
    """The clock of whoever waits."""
    return Sleeps()


@pytest.fixture
def results(store: Looked, clock: Sleeps) -> Results:
    """Who answers."""
    return Results(lambda: store, clock, JsonSerializer(), Registry(Bus()))


def put(store: Looked) -> str:
    """A job whose result is kept; its id."""
    body = seal(Envelope("t", "json", {}, b"[[],{}]", keep=60.0))
    return store.append("q", [NewJob(body=body)])[0].id


def end(store: Looked) -> None:
    """Run the job to its end."""
    [grant] = store.claim(ALICE, ["q"], lanes=1, window=1, lease_seconds=15).grants
    result = seal_result("t", JsonSerializer(), 5, {})
    what = Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, keep=60.0, result=result)
    store.settle(ALICE, [what])


def test_looks_become_rarer(store: Looked, clock: Sleeps, results: Results) -> None:
    """At once, after 10 ms, then ever more seldom, down to two a second; the last when the time is over."""
    job = put(store)
    with pytest.raises(ResultTimeout, match="within 20 s"):
        results.result(job, 20.0)
    assert clock.slept[:2] == [0.0, 0.01]
    assert clock.slept[:-1] == sorted(clock.slept[:-1])
    assert max(clock.slept) == 0.5
    assert sum(clock.slept) == pytest.approx(20.0)
    assert store.looks == len(clock.slept) < 55
    assert store.searches == 0


def test_a_result_is_found_soon_after_it_is_there(store: Looked, clock: Sleeps, results: Results) -> None:
    """Within half a second of it; one that is there already without a wait."""
    job = put(store)
    clock.events[7.0] = lambda: end(store)
    assert results.result(job, None) == 5
    assert 7.0 <= sum(clock.slept) < 7.6
    clock.slept.clear()
    assert results.result(job, 0.0) == 5
    assert clock.slept == [0.0]


def test_who_waits_for_nothing_is_told(store: Looked, clock: Sleeps, results: Results) -> None:
    """A job that was purged ends without a word. It is looked for after half a minute, then seldom; one that
    is there is waited for."""
    job = put(store)
    clock.events[100.0] = lambda: store.purge("q", dead=False)
    with pytest.raises(ResultNotKept, match="was purged"):
        results.result(job, None)
    assert 120.0 <= sum(clock.slept) < 122.0
    assert store.searches == 3


def test_a_store_that_is_away_for_a_while_is_waited_for(
    store: Looked, clock: Sleeps, results: Results
) -> None:
    """The job may run meanwhile; a store that was closed does not come back."""
    job = put(store)
    store.away = StorageUnavailable("gone", "connection")

    def come_back() -> None:
        end(store)
        store.away = None

    clock.events[3.0] = come_back
    assert results.result(job, 10.0) == 5
    store.away = StorageUnavailable("closed", "closed")
    with pytest.raises(StorageUnavailable):
        results.result(job, 10.0)
