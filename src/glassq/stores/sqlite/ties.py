"""Who has to hear of the end of a job: rows that most jobs do not have, and what those wait for who do.

A job is tied while it has children or a workflow, or waits or waited for others, until it is settled for good
and all its children were told. A gate is tied only while it is being opened. `edges` say who waits for whom.
"""

from __future__ import annotations

from sqlite3 import Connection
from typing import NamedTuple

from glassq.model.edges import EdgePolicy
from glassq.model.jobs import JobState


class Tie(NamedTuple):
    """A tied job: how it ended, if it has, and whether that is final."""

    queue: int
    flow: str | None
    outcome: JobState | None
    final: bool
    untold: bool


class Edge(NamedTuple):
    """That a child waits for a parent whose end it has to be told."""

    number: int
    child: str
    policy: EdgePolicy

    def is_good(self, outcome: JobState | None) -> bool:
        """Whether the child waits no more once its parent has ended so."""
        if self.policy is EdgePolicy.RUN:
            return outcome is not None
        return outcome is JobState.SUCCEEDED

    def refuses(self, outcome: JobState | None) -> bool:
        """Whether such an end cancels the child."""
        return self.policy is EdgePolicy.CANCEL and outcome not in (None, JobState.SUCCEEDED)


def tie_of(cx: Connection, job: str) -> Tie | None:
    """The row of a tied job."""
    row = cx.execute("SELECT queue, flow, outcome, final, untold FROM ties WHERE job = ?", (job,)).fetchone()
    if row is None:
        return None
    queue, flow, outcome, final, untold = row
    return Tie(queue, flow, None if outcome is None else JobState(outcome), bool(final), bool(untold))


def tie(
    cx: Connection,
    queue: int,
    job: str,
    flow: str | None = None,
    outcome: JobState | None = None,
    *,
    final: bool = False,
) -> None:
    """Note that others have to hear of the end of a job; nothing if that is noted."""
    made = cx.execute(
        "INSERT INTO ties (job, queue, flow, outcome, final) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (job, queue, flow, outcome, final),
    )
    if made.rowcount == 1:
        cx.execute("UPDATE queues SET tied = tied + 1 WHERE id = ?", (queue,))


def untie(cx: Connection, queue: int, job: str) -> None:
    """Nobody has to hear of this job any more."""
    cx.execute("DELETE FROM ties WHERE job = ?", (job,))
    cx.execute("UPDATE queues SET tied = tied - 1 WHERE id = ?", (queue,))


_TO_BE_TOLD = "parent = ? AND waits AND (outcome IS NOT ? OR final <> ?)"


def to_be_told(cx: Connection, job: str, tie: Tie, limit: int) -> list[Edge]:
    """Children that wait for this end and have not been told of it, in the order of their appends."""
    rows = cx.execute(
        f"SELECT number, child, policy FROM edges WHERE {_TO_BE_TOLD} ORDER BY number LIMIT ?",
        (job, tie.outcome, tie.final, limit),
    )
    return [Edge(number, child, EdgePolicy(policy)) for number, child, policy in rows.fetchall()]


def edge_to_be_told(
    cx: Connection, parent: str, child: str, outcome: JobState | None, *, final: bool
) -> Edge | None:
    """The edge between these two, if the child waits for such an end and has not been told of it."""
    row = cx.execute(
        f"SELECT number, child, policy FROM edges WHERE child = ? AND {_TO_BE_TOLD}",
        (child, parent, outcome, final),
    ).fetchone()
    return None if row is None else Edge(row[0], row[1], EdgePolicy(row[2]))


def tell(cx: Connection, edge: Edge, outcome: JobState | None, *, final: bool) -> None:
    """The child was told."""
    cx.execute(
        "UPDATE edges SET outcome = ?, final = ?, waits = ? WHERE number = ?",
        (outcome, final, not edge.is_good(outcome), edge.number),
    )


def waits(cx: Connection, child: str) -> bool:
    """Whether there is anything left that a job waits for."""
    return (
        cx.execute("SELECT 1 FROM edges WHERE child = ? AND waits LIMIT 1", (child,)).fetchone() is not None
    )


def is_refused(cx: Connection, child: str) -> bool:
    """Whether a parent ended so that the child must not run."""
    row = cx.execute(
        "SELECT 1 FROM edges WHERE child = ? AND waits AND policy = 'cancel' AND outcome IS NOT NULL LIMIT 1",
        (child,),
    ).fetchone()
    return row is not None


def add_edge(cx: Connection, parent: str, child: str, place: int, name: str, policy: EdgePolicy) -> None:
    """Note that a child waits for a parent; nothing if it does already."""
    cx.execute(
        "INSERT INTO edges (parent, child, place, name, policy) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (parent, child, place, name, policy),
    )


def drop_edges(cx: Connection, child: str) -> list[str]:
    """A child is settled for good: it waits for nobody, and nobody keeps a result for it. Returns parents it
    was yet to be told of."""
    owing = cx.execute(
        "SELECT parent FROM edges JOIN ties ON job = parent WHERE child = ? AND waits AND untold", (child,)
    ).fetchall()
    cx.execute(
        "DELETE FROM legacies WHERE parent IN (SELECT parent FROM edges WHERE child = ?1) AND NOT EXISTS"
        " (SELECT 1 FROM edges WHERE edges.parent = legacies.parent AND child <> ?1)",
        (child,),
    )
    cx.execute("DELETE FROM edges WHERE child = ?", (child,))
    return [parent for (parent,) in owing]


def leave(cx: Connection, parent: str, result: bytes) -> None:
    """Keep a result for the children, if there are any."""
    cx.execute(
        "INSERT INTO legacies (parent, result) SELECT ?1, ?2"
        " WHERE EXISTS (SELECT 1 FROM edges WHERE parent = ?1) ON CONFLICT DO NOTHING",
        (parent, result),
    )
