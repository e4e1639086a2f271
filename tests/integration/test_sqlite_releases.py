"""What it costs the SQLite store to release who waits for a job: counted, as time is not the same twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import mode

import pytest

from glassq.model.edges import After
from glassq.model.jobs import NewJob
from glassq.model.leases import Owner, Settlement
from glassq.model.verdicts import Action
from glassq.stores.sqlite.location import Location
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.clock import FakeClock

QUEUE = "q"
FLOW = "~q/0123456789abcdef"
OWNER = Owner("n", "one")
STEPS = 8
_PLAIN = 5
_STEP = 12


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStorage]:
    """A store whose clock stands still."""
    opened = SqliteStorage(Location(path=tmp_path / "jobs.db"), clock=FakeClock())
    yield opened
    opened.close()


def statements(store: SqliteStorage) -> list[int]:
    """Run what there is in the lane; how many statements each settlement took."""
    taken: list[int] = []
    seen: list[str] = []
    writer = store._connections._writer
    assert writer is not None
    grant = store.claim(OWNER, [QUEUE], lanes=1, window=64, lease_seconds=15).grants[0]
    jobs, change = list(grant.jobs), grant.change
    writer.set_trace_callback(seen.append)
    while jobs:
        job = jobs.pop(0)
        seen.clear()
        answer = store.settle(
            OWNER,
            [
                Settlement(
                    lease=grant.lease,
                    job_id=job.id,
                    action=Action.ACK,
                    next_id=jobs[0].id if jobs else None,
                    change=change,
                    window=64,
                    result=b"left",
                )
            ],
        )[0]
        # What a trigger does is shown as a comment.
        taken.append(sum(not each.startswith("--") for each in seen))
        if answer.jobs:
            jobs, change = list(answer.jobs), answer.change
    writer.set_trace_callback(None)
    return taken


def test_a_step_of_a_chain_takes_few_statements(store: SqliteStorage) -> None:
    """Once the connection knows the lane; one of them is the workflow's, six those of any settlement."""
    steps = [
        NewJob(body=b"step", after=(After(place - 1),) if place else (), flow=FLOW) for place in range(STEPS)
    ]
    store.append(QUEUE, steps)
    store.open_flow(FLOW, name="f", total=STEPS, body=b"", keep_seconds=60)
    taken = statements(store)
    assert len(taken) == STEPS
    assert max(taken[2:-1]) <= _STEP, taken
    record = store.flow(FLOW)
    assert record is not None
    assert record.status == "succeeded"


def test_a_plain_job_pays_nothing_for_workflows_that_have_ended(store: SqliteStorage) -> None:
    """Their record is kept in the same file, and in the rows that a queue with tied jobs is looked up in."""
    store.append(
        QUEUE, [NewJob(body=b"first", flow=FLOW), NewJob(body=b"second", after=(After(0),), flow=FLOW)]
    )
    store.open_flow(FLOW, name="f", total=2, body=b"", keep_seconds=60)
    statements(store)
    assert len(store.flow_outcomes(FLOW)) == 2
    store.append(QUEUE, [NewJob(body=b"plain")] * STEPS)
    assert mode(statements(store)) == _PLAIN  # now and then one more reads what is further on in the lane
