"""The verbs about jobs that wait for others.

All queues are in one file, so most is done by the end of a job itself. What is left in the outbox are
children beyond those that one transaction lets go, and ends of workflows that nobody was told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from sqlite3 import Connection

from glassq.flowstorage import MAX_DELIVERIES
from glassq.model.clock import Clock
from glassq.model.edges import EdgePolicy
from glassq.model.flows import Delivered, Delivery, FlowRecord, Upstream
from glassq.model.jobs import JobState
from glassq.model.names import is_flow, queue_of
from glassq.stores.sqlite import flowrecords
from glassq.stores.sqlite.changes import Change, Changes
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.deferring import how_it_ended
from glassq.stores.sqlite.ending import Ends
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.naming import Names
from glassq.stores.sqlite.rows import micros
from glassq.stores.sqlite.ties import child_to_be_told, heritage, leave, tie_of


class FollowingVerbs:
    """See `glassq.flowstorage.FlowStorage`. A part of the store."""

    _changes: Changes
    _clock: Clock
    _connections: Connections
    _names: Names

    def follow(self, parent: str, children: Sequence[tuple[str, EdgePolicy]]) -> JobState | None:
        """See `FlowStorage.follow`. The append noted it all; a read."""
        _refuse_more("follow", len(children))
        with self._connections.reading() as cx:
            found = tie_of(cx, parent)
            if found is not None:
                return found.outcome if found.final else None
            queue = self._names.find(cx, queue_of(parent))
            return how_it_ended(cx, queue, parent, micros(self._clock.wall()))[0]

    def deliver(self, queue: str, deliveries: Sequence[Delivery]) -> Delivered:
        """See `FlowStorage.deliver`. One transaction."""
        _refuse_more("deliver", len(deliveries))

        def deliver(change: Change) -> Delivered:
            key = self._names.find(change.cx, queue)
            if key is None:
                return Delivered()
            ends = Ends(change.cx, Known(), key, change.touch(key))
            for each in deliveries:
                _hand_over(change.cx, ends, key, each)
            change.ring = ends.carry_out()
            return Delivered(
                released=len(ends.placed),
                cancelled=ends.cancelled,
                ended=ends.ended_flows(),
                relay=ends.relay,
            )

        return self._changes.insist(deliver)

    def outbox(self, queue: str, limit: int = MAX_DELIVERIES) -> list[Delivery]:
        """See `FlowStorage.outbox`."""
        with self._connections.reading() as cx:
            key = self._names.find(cx, queue)
            found = [] if key is None else _to_children(cx, key, limit)
            return [*found, *_to_flows(cx, queue, limit)][:limit]

    def delivered(self, queue: str, numbers: Sequence[int]) -> None:
        """See `FlowStorage.delivered`. Nothing is left to do: the file knows what was delivered."""

    def upstream(self, job_id: str) -> tuple[Upstream, ...]:
        """See `FlowStorage.upstream`."""
        with self._connections.reading() as cx:
            return tuple(
                Upstream(job, name, JobState(outcome), result)
                for job, name, outcome, result in heritage(cx, job_id)
            )

    # -- workflows ---------------------------------------------------------------------------------------

    def open_flow(self, flow: str, *, name: str, total: int, body: bytes, keep_seconds: float) -> None:
        """See `FlowStorage.open_flow`. One transaction."""

        def open_flow(change: Change) -> None:
            key = self._names.make(change.cx, queue_of(flow))
            now = change.touch(key)
            flowrecords.open_flow(change.cx, flow, name, total, body, micros(keep_seconds), now)

        self._changes.insist(open_flow)

    def flow(self, flow: str) -> FlowRecord | None:
        """See `FlowStorage.flow`."""
        with self._connections.reading() as cx:
            return flowrecords.find(cx, flow, micros(self._clock.wall()))

    def flow_outcomes(self, flow: str) -> dict[str, JobState]:
        """See `FlowStorage.flow_outcomes`."""
        with self._connections.reading() as cx:
            return flowrecords.outcomes(cx, flow, micros(self._clock.wall()))

    def cancel_flow(self, flow: str) -> bool:
        """See `FlowStorage.cancel_flow`. One transaction."""
        return self._changes.insist(lambda change: flowrecords.ask(change.cx, flow))


def _refuse_more(verb: str, count: int) -> None:
    if count > MAX_DELIVERIES:
        raise ValueError(f"one {verb} takes {MAX_DELIVERIES}, got {count}")


def _hand_over(cx: Connection, ends: Ends, queue: int, what: Delivery) -> None:
    """Tell whoever it is for."""
    if is_flow(what.to):
        ends.note_in_flow(what.to, what.parent, what.outcome)
    elif what.to == what.parent:
        ends.open_gate(queue, what.to)
    else:
        if what.result is not None and child_to_be_told(
            cx, what.parent, what.to, what.outcome, final=what.final
        ):
            leave(cx, queue, what.parent, what.outcome, what.result)
        ends.tell_one(what.parent, what.to, what.outcome, final=what.final)


def _to_children(cx: Connection, queue: int, limit: int) -> list[Delivery]:
    """Ends that children are yet to be told of."""
    rows = cx.execute(
        "SELECT child, parent, ties.outcome, ties.final, result FROM ties CROSS JOIN edges"
        " ON parent = job AND waits = 1 AND (edges.outcome IS NOT ties.outcome OR edges.final <> ties.final)"
        " WHERE queue = ? AND untold",
        (queue,),
    )
    return [
        Delivery(
            to=child,
            parent=parent,
            outcome=None if outcome is None else JobState(outcome),
            final=bool(final),
            result=result,
            number=number,
        )
        for number, (child, parent, outcome, final, result) in enumerate(islice(rows, limit), 1)
    ]


def _to_flows(cx: Connection, home: str, limit: int) -> list[Delivery]:
    """Workflows whose end was not told. What is for children has numbers from 1 on."""
    return [
        Delivery(to=flow, parent=job, outcome=JobState(outcome), number=-number)
        for number, flow, job, outcome in flowrecords.untold(cx, home, limit)
    ]
