"""Who comes after a job of another shard has to make that known there, as an append reaches only its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from glassq.errors import EnqueueUncertain, JobNotFound, StorageError
from glassq.flowstorage import MAX_DELIVERIES
from glassq.model.edges import After, EdgePolicy
from glassq.model.flows import Delivery
from glassq.model.jobs import JobState
from glassq.model.names import is_gate, queue_of
from glassq.storage import Storage

Edges = dict[str, list[tuple[str, EdgePolicy]]]
"""By parent: who comes after it, and what becomes of those if it fails."""


def edges_elsewhere(children: Iterable[tuple[str, Sequence[After]]]) -> Edges:
    """The edges of new jobs that lead into other shards than their own."""
    edges: Edges = {}
    for child, after in children:
        home = queue_of(child)
        for each in after:
            if isinstance(each.job, str) and not is_gate(each.job) and queue_of(each.job) != home:
                edges.setdefault(each.job, []).append((child, each.policy))
    return edges


def follow(storage: Storage, edges: Edges) -> None:
    """Make edges known to their parents, and tell the children of parents that have ended. Idempotent; a
    round trip for each parent, or for every 100 of its children, and more where it has ended."""
    for parent, children in edges.items():
        for first in range(0, len(children), MAX_DELIVERIES):
            some = children[first : first + MAX_DELIVERIES]
            outcome = storage.follow(parent, some)
            if outcome is not None:
                _hand_on(storage, parent, outcome, [child for child, _ in some])


def _hand_on(storage: Storage, parent: str, outcome: JobState, children: Sequence[str]) -> None:
    """Deliver how a parent ended before it could be followed, with what it left, if that was kept."""
    notes = storage.notes(parent) if outcome is JobState.SUCCEEDED else []
    result = notes[-1].result if notes else None
    by_home: dict[str, list[Delivery]] = {}
    for child in children:
        delivery = Delivery(
            to=child, parent=parent, outcome=outcome, final=outcome is not JobState.BURIED, result=result
        )
        by_home.setdefault(queue_of(child), []).append(delivery)
    for home, deliveries in by_home.items():
        storage.deliver(home, deliveries)


def follow_or_withdraw(storage: Storage, edges: Edges) -> None:
    """As `follow`; where that fails, nobody would ever tell the children, so they are cancelled.

    Raises the error of the store, the children being cancelled then; or `EnqueueUncertain` when they could
    not be: they wait until somebody does it.
    """
    try:
        follow(storage, edges)
    except (StorageError, JobNotFound):
        for child in sorted({child for children in edges.values() for child, _ in children}):
            _withdraw(storage, child)
        raise


def _withdraw(storage: Storage, child: str) -> None:
    try:
        storage.cancel(child)
    except StorageError as error:
        raise EnqueueUncertain(
            f"{child} is stored and waits for jobs that do not know of it, and could not be cancelled; do "
            "that by app.cancel, then enqueue it again",
            child,
        ) from error
