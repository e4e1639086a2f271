"""What the end of a job does to those who wait for it: in the transaction that ends it.

A child is told of the end of each of its parents, and then is as all it was told says: released when there is
nothing left to wait for; cancelled when a parent failed it, and dropped or kept (withdrawn) as that is final
or may be undone by a replay; brought back when it is undone. Cancelled, it has ended itself, and so on. Only
so many are told in one transaction; a parent with children left is noted, and a later one goes on there.
"""

from __future__ import annotations

from collections import Counter
from sqlite3 import Connection
from typing import NamedTuple

from glassq.flowstorage import MAX_DELIVERIES
from glassq.model.flows import FlowEnded
from glassq.model.jobs import JobState
from glassq.stores.sqlite import flowrecords
from glassq.stores.sqlite.arriving import Placed, place, take_seqs
from glassq.stores.sqlite.jumps import touch
from glassq.stores.sqlite.rows import a_body
from glassq.stores.sqlite.ties import (
    Edge,
    Tie,
    drop_edges,
    edge_to_be_told,
    is_refused,
    leave,
    tell,
    tie,
    tie_of,
    to_be_told,
    untie,
    waits,
)


class _Deferred(NamedTuple):
    """A child's row."""

    id: str
    queue: int
    lane: str
    rank: int
    ttl: int | None
    dedup: str | None
    withdrawn: int
    body: bytes


class Ends:
    """Ends of jobs at work in one transaction, which is one of `queue`, where it is `now`."""

    def __init__(self, cx: Connection, queue: int, now: int) -> None:
        self._cx = cx
        self.now = now
        self._times = {queue: now}
        self._left = MAX_DELIVERIES
        self._ended: dict[str, Tie] = {}
        self._owing: set[str] = set()
        self._released: list[_Deferred] = []
        self._cancelled: Counter[int] = Counter()
        self._revived: Counter[int] = Counter()
        self._flows: dict[str, None] = {}
        self.released = self.cancelled = 0
        self.relay = False

    def note(
        self, job: str, outcome: JobState | None, *, final: bool = True, result: bytes | None = None
    ) -> bool:
        """A job has ended, or (None) is unsettled again; whether anybody has to hear of it."""
        found = self._ended.pop(job, None) or tie_of(self._cx, job)
        if found is None:
            return False
        if found.flow is not None and found.outcome is not outcome:
            self.note_in_flow(found.flow, job, outcome)
        if result is not None:
            leave(self._cx, job, result)
        if outcome is not None and final:
            self._owing.update(drop_edges(self._cx, job))
        self._ended[job] = found._replace(outcome=outcome, final=final)  # written when it has been told
        return True

    def note_in_flow(self, flow: str, job: str, outcome: JobState | None) -> None:
        """The same of one job of a workflow."""
        flowrecords.note(self._cx, flow, job, outcome, self.now)
        self._flows[flow] = None

    def open_gate(self, queue: int, gate: str) -> None:
        """Let go whoever waits at a gate."""
        tie(self._cx, queue, gate, outcome=JobState.SUCCEEDED, final=True)
        self._ended[gate] = Tie(queue, None, JobState.SUCCEEDED, final=True, untold=False)

    def tell_one(self, parent: str, child: str, outcome: JobState | None, *, final: bool) -> None:
        """Tell a child of an end, whoever says so; of what this file knows itself, it tells that."""
        known = self._ended.get(parent) or tie_of(self._cx, parent)
        if known is not None:
            outcome, final = known.outcome, known.final
            self._owing.add(parent)
        edge = edge_to_be_told(self._cx, parent, child, outcome, final=final)
        if edge is not None:
            self.tell_edge(edge, outcome, final=final)

    def tell_edge(self, edge: Edge, outcome: JobState | None, *, final: bool) -> None:
        """Tell a child; what it does then follows from all that it was told."""
        self._left -= 1
        tell(self._cx, edge, outcome, final=final)
        row = self._cx.execute(
            "SELECT id, queue, lane, rank, ttl, dedup, withdrawn, body FROM deferred WHERE id = ?",
            (edge.child,),
        ).fetchone()
        child = _Deferred(*row)
        if edge.refuses(outcome):
            if final:
                self._drop(child)
            elif not child.withdrawn:
                self._withdraw(child)
        elif child.withdrawn and not self._revive(child):
            return
        elif edge.is_good(outcome) and not waits(self._cx, edge.child):
            self._cx.execute("DELETE FROM deferred WHERE id = ?", (edge.child,))
            self._released.append(child)

    def _drop(self, child: _Deferred) -> None:
        self._cx.execute("DELETE FROM deferred WHERE id = ?", (child.id,))
        if not child.withdrawn:
            self._cancel(child)
        self.note(child.id, JobState.CANCELLED)

    def _withdraw(self, child: _Deferred) -> None:
        self._cx.execute("UPDATE deferred SET withdrawn = 1, dedup = NULL WHERE id = ?", (child.id,))
        self._cancel(child)
        self.note(child.id, JobState.CANCELLED, final=False)

    def _cancel(self, child: _Deferred) -> None:
        self._cancelled[child.queue] += 1
        self.cancelled += 1
        if child.dedup is not None:
            self._cx.execute(
                "DELETE FROM dedup WHERE queue = ? AND id = ? AND job = ? AND until IS NULL",
                (child.queue, child.dedup, child.id),
            )

    def _revive(self, child: _Deferred) -> bool:
        """Bring a child back, unless there is something else against it; whether it is back."""
        if is_refused(self._cx, child.id):
            return False
        self._cx.execute("UPDATE deferred SET withdrawn = 0 WHERE id = ?", (child.id,))
        self._revived[child.queue] += 1
        self.note(child.id, None, final=False)
        return True

    # -- at the end --------------------------------------------------------------------------------------

    def carry_out(self) -> bool:
        """Tell whoever has to be told, and do what follows from it; whether idle lanes became ready."""
        while self._ended:
            job = next(iter(self._ended))
            self._tell_children(job, self._ended.pop(job))
        for parent in self._owing:
            found = tie_of(self._cx, parent)
            if found is not None:
                self._close(parent, found, owes=bool(to_be_told(self._cx, parent, found, 1)))
        self._count()
        return self._place()

    def _tell_children(self, job: str, ended: Tie) -> None:
        edges = to_be_told(self._cx, job, ended, self._left + 1)
        now = edges[: max(0, self._left)]
        self._close(job, ended, owes=len(edges) > len(now))
        for edge in now:
            self.tell_edge(edge, ended.outcome, final=ended.final)

    def _close(self, job: str, ended: Tie, *, owes: bool) -> None:
        """Write down how a job ended, and whether it has children that are yet to be told; where there are
        none, and it will not come back, nothing of it is kept."""
        self.relay = self.relay or owes
        if ended.final and not owes:
            untie(self._cx, ended.queue, job)
            return
        self._cx.execute(
            "UPDATE ties SET outcome = ?, final = ?, untold = ? WHERE job = ?",
            (ended.outcome, ended.final, owes, job),
        )

    def _place(self) -> bool:
        opened = False
        of_queue: dict[int, list[_Deferred]] = {}
        for child in self._released:
            of_queue.setdefault(child.queue, []).append(child)
        for queue, jobs in of_queue.items():
            now = self._time_of(queue)
            # order: a released job takes its sequence here, behind all that are in its lane.
            seqs = take_seqs(self._cx, queue, len(jobs))
            opened |= place(
                self._cx,
                queue,
                [
                    Placed(
                        queue=queue,
                        lane=job.lane,
                        rank=job.rank,
                        seq=seq,
                        id=job.id,
                        eligible_at=now,
                        expires_at=None if job.ttl is None else now + job.ttl,
                        replayed=0,
                        dedup=job.dedup,
                        body=a_body(job.body),
                    )
                    for seq, job in zip(seqs, jobs, strict=True)
                ],
            )
        self.released += len(self._released)
        return opened

    def _count(self) -> None:
        for queue in {*self._cancelled, *self._revived}:
            now, cancelled = self._time_of(queue), self._cancelled[queue]
            self._cx.execute(
                "UPDATE queues SET settled = settled + :cancelled, cancelled = cancelled + :cancelled,"
                " settled_at = CASE WHEN :cancelled THEN :now ELSE settled_at END,"
                " replayed = replayed + :revived WHERE id = :queue",
                {"cancelled": cancelled, "revived": self._revived[queue], "now": now, "queue": queue},
            )

    def _time_of(self, queue: int) -> int:
        if queue not in self._times:
            self._times[queue] = touch(self._cx, queue, self.now)
        return self._times[queue]

    def ended_flows(self) -> tuple[FlowEnded, ...]:
        """Workflows that ended with this, for whoever can tell; what is not asked for here a relay tells."""
        told = [flowrecords.tell(self._cx, flow) for flow in self._flows]
        return tuple(each for each in told if each is not None)
