"""The counter that must stay 0 does count: with stores that break the contract on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

import glassq.app
from glassq import Glassq
from glassq.model.events import LaneClaimed, OrderViolated
from glassq.model.jobs import StoredJob
from glassq.model.leases import ClaimCause, Claimed, Lease, Owner, Settled, Settlement
from glassq.model.runs import Listed
from glassq.observe.tokens import watch_tokens
from glassq.stores.sqlite.location import Location
from glassq.stores.sqlite.store import SqliteStorage
from glassq.telemetry import Bus


class Liar(SqliteStorage):
    """Tells sequences and tokens as `seqs` and `tokens` say, and does what it should otherwise."""

    seqs: dict[int, int]
    tokens: list[int]
    _true: dict[int, int]

    def _told(self, jobs: Sequence[StoredJob]) -> tuple[StoredJob, ...]:
        return tuple(msgspec.structs.replace(job, seq=self.seqs.get(job.seq, job.seq)) for job in jobs)

    def claim(self, *args: Any, **kwargs: Any) -> Claimed:
        """Lies about what it grants."""
        claimed = super().claim(*args, **kwargs)
        grants = []
        for grant in claimed.grants:
            token = self.tokens.pop(0) if self.tokens else grant.lease.token
            self._true[token] = grant.lease.token
            lease = Lease(grant.lease.queue, grant.lease.lane, token)
            grants.append(msgspec.structs.replace(grant, lease=lease, jobs=self._told(grant.jobs)))
        return msgspec.structs.replace(claimed, grants=tuple(grants))

    def settle(self, owner: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """Knows what it said, and lies about what comes next."""
        real = [msgspec.structs.replace(each, lease=self._meant(each.lease)) for each in settlements]
        return [
            msgspec.structs.replace(answer, jobs=self._told(answer.jobs))
            for answer in super().settle(owner, real)
        ]

    def release(self, owner: Owner, leases: Sequence[Lease], *, front: bool = True) -> None:
        """Knows what it said."""
        super().release(owner, [self._meant(lease) for lease in leases], front=front)

    def _meant(self, lease: Lease) -> Lease:
        return Lease(lease.queue, lease.lane, self._true[lease.token])


@pytest.fixture
def liar() -> Liar:
    """A store in memory that has not lied yet."""
    store = Liar(Location.parse("sqlite://"))
    store.seqs, store.tokens, store._true = {}, [], {}
    return store


@pytest.fixture
def app(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> Iterator[Glassq]:
    """An application that believes it."""
    monkeypatch.setattr(glassq.app, "open_storage", lambda *_, **__: liar)
    with Glassq("sqlite://", registry=CollectorRegistry()) as app:
        yield app


def violations(app: Glassq) -> dict[str, float]:
    """What was counted, by its kind; nothing that is 0."""
    value = app.metrics_registry.get_sample_value
    found = {
        kind: value("glassq_order_violations_total", {"queue": "q", "kind": kind}) or 0.0
        for kind in ("duplicate", "reorder", "stale_token")
    }
    return {kind: count for kind, count in found.items() if count}


def nothing() -> None:
    """What is run."""


def run(app: Glassq, *keys: str | None) -> None:
    """Enqueue three jobs for each key and run them."""
    task = app.fifo("q", name="nothing")(nothing)
    for key in keys:
        app.enqueue_many([task.options(key=key).s() for _ in range(3)])
    assert app.worker(concurrency=1).run_until_idle(timeout=20)


def test_a_store_that_keeps_the_contract_is_not_accused(app: Glassq) -> None:
    """Jobs of three lanes, one after the other and again: nothing to count."""
    run(app, None, "a", "b")
    run(app, "a", None)
    assert violations(app) == {}


def test_a_job_before_an_earlier_one_is_counted(app: Glassq, liar: Liar) -> None:
    """The second of three jobs was accepted before the first, says its sequence."""
    liar.seqs = {1: 20, 2: 10, 3: 30}
    run(app, None)
    assert violations(app) == {"reorder": 1.0}


def test_a_job_that_comes_twice_is_counted(app: Glassq, liar: Liar) -> None:
    """Two jobs under one sequence are one job, run twice."""
    liar.seqs = {2: 1}
    run(app, None)
    assert violations(app) == {"duplicate": 1.0}


def test_a_token_that_does_not_grow_is_counted(app: Glassq, liar: Liar) -> None:
    """An owner with an old token cannot be told from one that was replaced."""
    task = app.fifo("q", name="nothing")(nothing)
    liar.tokens = [50, 60, 55]
    with app.worker(concurrency=1) as worker:
        for _ in range(4):
            task()
            assert worker.run_until_idle(timeout=20)
    assert violations(app) == {"stale_token": 1.0}


def test_lanes_of_one_claim_may_come_in_any_order() -> None:
    """After a lost answer a store tells again what it granted, by name and not by token; and a lane under a
    token it has had is no new one."""
    bus, told = Bus(), []
    watch_tokens(bus)
    bus.subscribe(lambda event: told.append(event.kind), OrderViolated)
    for lane, token in (("b", 6), ("a", 5), ("a", 7), ("b", 8)):
        bus.emit(LaneClaimed(worker="w", lease=Lease("q", lane, token), cause=ClaimCause.READY))
    assert told == []
    bus.emit(LaneClaimed(worker="w", lease=Lease("q", "a", 7), cause=ClaimCause.READY))
    assert told == ["stale_token"]
    twice = [LaneClaimed(worker="w", lease=Lease("q", "b", 8), cause=ClaimCause.READY)] * 2
    bus.emit_together(Listed(twice))
    assert told == ["stale_token"] * 3
