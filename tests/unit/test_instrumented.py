"""Whoever counts is told of every call of the store, by names that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.errors import StorageUnavailable
from glassq.model.events import DataLossDetected, StorageCalled
from glassq.model.jobs import NewJob
from glassq.model.leases import Leaving, Owner, Settlement
from glassq.model.names import flow_id
from glassq.model.verdicts import Action
from glassq.observe.catalogue import STORAGE_DURATION
from glassq.stores.instrumented import InstrumentedStorage
from glassq.stores.open import open_storage
from glassq.telemetry import Bus

ALICE = Owner("alice", "first")


@pytest.fixture
def told() -> list[str]:
    """The operations that were told, in their order."""
    return []


@pytest.fixture
def store(told: list[str]) -> Iterator[InstrumentedStorage]:
    """A store in memory whose calls are told."""
    bus = Bus()
    bus.subscribe(lambda event: told.append(event.operation), StorageCalled)
    with closing(InstrumentedStorage(open_storage("sqlite://"), bus)) as storage:
        yield storage


def test_every_verb_is_told_by_a_name_of_the_catalogue(store: InstrumentedStorage, told: list[str]) -> None:
    """None is counted as `_other`, and the catalogue names none that does not exist."""
    store.listen(ALICE, ["q"])
    store.report(ALICE, ["q"])
    [job, other] = store.append("q", [NewJob(body=b"a"), NewJob(body=b"b", lane="x")])
    grant, second = store.claim(ALICE, ["q"], lanes=2, window=1, lease_seconds=15).grants
    store.renew(ALICE, [grant.lease], lease_seconds=15)
    store.settle(ALICE, [Settlement(lease=grant.lease, job_id=job.id, action=Action.BURY)])
    store.settle_later(ALICE, Settlement(lease=second.lease, job_id=other.id, action=Action.ACK)).answer()
    store.release(ALICE, [grant.lease])
    store.retry_lane("q", "x")
    store.skip_lane("q", "x")
    store.cancel(job.id)
    store.get(job.id)
    store.pause("q")
    store.resume("q")
    store.replay("q", [job.id], front=True)
    store.purge("q", dead=True)
    store.waiting("q", 1)
    store.dead("q", 1)
    store.halted("q", 1)
    store.stats(["q"])
    store.put("q", "name", b"", None)
    store.value("q", "name")
    store.values("q", "")
    store.drop("q", "name")
    store.notes(job.id)
    store.follow(job.id, [])
    store.deliver("q", [])
    store.outbox("q")
    store.delivered("q", [])
    store.upstream(job.id)
    flow = flow_id("q", "f")
    store.open_flow(flow, name="f", total=1, body=b"", keep_seconds=1)
    store.flow(flow)
    store.flow_outcomes(flow)
    store.cancel_flow(flow)
    store.queues()
    store.forget("q")
    assert set(told) == set(STORAGE_DURATION.values["operation"])


def test_settlements_of_a_message_are_told_as_one_call(store: InstrumentedStorage, told: list[str]) -> None:
    """For each queue one, whoever asks for which of the answers first."""
    for queue, lane in (("q", "x"), ("r", "x"), ("q", "y")):
        store.append(queue, [NewJob(body=b"a", lane=lane)])
    grants = store.claim(ALICE, ["q", "r"], lanes=3, window=1, lease_seconds=15).grants
    told.clear()
    sent = store.settle_together(
        ALICE,
        [
            Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, leaving=Leaving.YIELD)
            for grant in (grants[0], grants[2], grants[1])
        ],
    )
    assert told == []
    assert [each.answer().ordinal for each in sent] == [1, 1, 2]
    assert told == ["settle", "settle"]


def test_a_call_on_a_closed_application_is_counted_as_that() -> None:
    """It is the program's own doing, and no outage of the store."""
    app = Glassq("sqlite://", registry=CollectorRegistry())
    task = app.fifo("q", name="nothing")(lambda: None)
    app.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        task()
    failures = "glassq_enqueue_failures_total"
    value = app.metrics_registry.get_sample_value
    assert value(failures, {"queue": "q", "reason": "closed"}) == 1
    assert value(failures, {"queue": "q", "reason": "storage_unavailable"}) == 0


def test_what_was_to_be_forgotten_is_no_loss() -> None:
    """A queue that was taken out on purpose may begin anew without an alarm."""
    bus, losses = Bus(), list[DataLossDetected]()
    bus.subscribe(losses.append, DataLossDetected)
    with closing(InstrumentedStorage(open_storage("sqlite://"), bus)) as store:
        for _ in range(2):
            [job] = store.append("q", [NewJob(body=b"a")])
            store.cancel(job.id)
            assert job.seq == 1
            assert store.forget("q") is True
    assert losses == []
