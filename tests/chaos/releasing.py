"""A worker without an application that runs a graph of jobs to its end, and may be killed at any statement.

`python -m tests.chaos.releasing URL STATEMENT` ends itself with SIGKILL before the statement of this number
(0: never) of all that its store sends to SQLite; the last line tells how many there were.
"""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

from glassq.model.edges import After, EdgePolicy
from glassq.model.flows import Delivery, FlowEnded
from glassq.model.jobs import JobState, NewJob
from glassq.model.leases import Grant, Owner, Settlement
from glassq.model.names import gate_of, queue_of
from glassq.model.verdicts import Action
from glassq.stores.sqlite.store import SqliteStorage

QUEUE, OTHER = "steps", "more"
FLOW = f"~{QUEUE}/feedfacefeedface"
FAN = 120
"""Children of one job: more than one step lets go."""


def submit(store: SqliteStorage) -> int:
    """Store the graph behind a gate: a fan, a join, a chain into another queue, and a step that fails at
    first with children that run, wait, or are cancelled with theirs. Returns how many jobs it has."""

    def append(queue: str, body: str, *after: After, lane: str = "") -> str:
        job = NewJob(body=body.encode(), lane=lane, after=after, flow=FLOW)
        return store.append(queue, [job])[0].id

    root = append(QUEUE, "root", After(gate_of(FLOW)))
    bad = append(QUEUE, "bad", After(gate_of(FLOW)), lane="bad")
    fan = [NewJob(body=b"fan", lane=f"{n % 7}", after=(After(root),), flow=FLOW) for n in range(FAN)]
    fanned = [each.id for at in (0, 100) for each in store.append(QUEUE, fan[at : at + 100])]
    join = append(QUEUE, "join", *map(After, fanned))
    append(OTHER, "last", After(append(OTHER, "next", After(join))))
    cancelled = append(QUEUE, "cancelled", After(bad), After(root))
    append(OTHER, "cancelled too", After(cancelled))
    append(QUEUE, "runs", After(bad, EdgePolicy.RUN))
    append(QUEUE, "waits", After(bad, EdgePolicy.WAIT))
    total = FAN + 9
    store.open_flow(FLOW, name="graph", total=total, body=b"", keep_seconds=3600)
    return total


def run(store: SqliteStorage, owner: Owner) -> list[FlowEnded]:
    """Open the gate, run what can be run, relay, and bring back what failed, until there is nothing left."""
    store.listen(owner, [QUEUE, OTHER])
    gate = gate_of(FLOW)
    store.deliver(QUEUE, [Delivery(to=gate, parent=gate, outcome=JobState.SUCCEEDED)])
    told: list[FlowEnded] = []
    while True:
        told += relay(store)
        granted = store.claim(owner, [QUEUE, OTHER], lanes=2, window=4, lease_seconds=15).grants
        for grant in granted:
            told += work(store, owner, grant)
        dead = store.dead(QUEUE, 9)
        if dead and not granted:
            store.replay(QUEUE, [each.job.id for each in dead], front=True)
        elif not (granted or store.outbox(QUEUE) or store.outbox(OTHER)):
            return told


def work(store: SqliteStorage, owner: Owner, grant: Grant) -> list[FlowEnded]:
    """Settle the jobs of a lane until it has none."""
    told: list[FlowEnded] = []
    jobs, change = list(grant.jobs), grant.change
    while jobs:
        job = jobs.pop(0)
        fails = job.body == b"bad" and not job.replayed
        settlement = Settlement(
            lease=grant.lease,
            job_id=job.id,
            action=Action.BURY if fails else Action.ACK,
            result=None if fails else job.body,
            next_id=jobs[0].id if jobs else None,
            change=change,
            window=4,
        )
        [answer] = store.settle(owner, [settlement])
        told += answer.ended
        jobs = (jobs if not answer.jobs else list(answer.jobs)) if answer.held else []
        change = answer.change
    return told


def relay(store: SqliteStorage) -> list[FlowEnded]:
    """Deliver what is in the outboxes now."""
    told: list[FlowEnded] = []
    for queue in (QUEUE, OTHER):
        found = store.outbox(queue)
        for home in {queue_of(each.to) for each in found}:
            told += store.deliver(home, [each for each in found if queue_of(each.to) == home]).ended
        store.delivered(queue, [each.number for each in found])
    return told


def count_statements(fatal: int) -> Callable[[], int]:
    """From now on, end this process before the statement of this number; returns what tells how many came."""
    numbers = itertools.count(1)
    seen = 0
    connect = sqlite3.Connection

    def trace(_statement: str) -> None:
        nonlocal seen
        seen = next(numbers)
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(trace)
        return connection

    mock.patch("sqlite3.Connection", traced).start()
    return lambda: seen


if __name__ == "__main__":
    counted = count_statements(int(sys.argv[2]))
    storage = SqliteStorage.open(sys.argv[1])
    run(storage, Owner("victim", "first"))
    storage.close()
    print(counted())  # noqa: T201 - the answer
