"""Who has to hear of the end of a job: rows that most jobs do not have, and what those wait for who do.

A job is tied while it has children or a workflow, or waits or waited for others, until it is settled for good
and all its children were told. A gate is tied only while it is being opened. `edges` say who waits for whom.
Who writes ties counts them: see `tallies`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from glassq.model.edges import After, EdgePolicy
from glassq.model.jobs import JobState, NewJob
from glassq.model.names import is_gate
from glassq.stores.sqlite.rows import Placed, a_body, micros


class Tie(msgspec.Struct):
    """A tied job: how it ended, if it has, and whether that is final; and the record of its workflow."""

    queue: int
    flow: str | None = None
    outcome: JobState | None = None
    final: bool = False
    parents: int = 0
    """How many edges it has as a child."""
    awaited: int = 0
    """How many of these wait."""
    record: int | None = None
    """The number of the workflow's record, if there is one."""
    result: bytes | None = None
    """What it left, just now."""
    left: int | None = None
    """How many of its jobs had not ended, if that is known."""

    @property
    def has_company(self) -> bool:
        """Whether its workflow cannot end with it, as there are others that have not ended."""
        return self.outcome is None and self.left is not None and self.left > 1


class Child(NamedTuple):
    """A deferred job, or one that a parent's failure cancelled, and what it says of the end of a parent."""

    id: str
    policy: str
    name: str
    queue: int
    flow: str | None
    lane: str
    rank: int
    ttl: int | None
    dedup: str | None
    parents: int
    awaited: int
    withdrawn: bool
    body: bytes

    def placed(self, seq: int, now: int) -> Placed:
        """What becomes of it when it is released."""
        expires_at = None if self.ttl is None else now + self.ttl
        return Placed(
            self.queue, self.lane, self.rank, seq, self.id, now, expires_at, 0, self.dedup, a_body(self.body)
        )

    def is_good(self, outcome: JobState | None) -> bool:
        """Whether it waits no more for a parent that has ended so."""
        if self.policy == EdgePolicy.RUN:
            return outcome is not None
        return outcome is JobState.SUCCEEDED

    def inherits_from(self, outcome: JobState | None) -> bool:
        """Whether it waits for nobody else, nor ever did."""
        return outcome is JobState.SUCCEEDED and self.parents == 1 and not self.withdrawn

    def refuses(self, outcome: JobState | None) -> bool:
        """Whether such an end cancels it."""
        return self.policy == EdgePolicy.CANCEL and outcome not in (None, JobState.SUCCEEDED)


def tie_of(cx: Connection, job: str) -> Tie | None:
    """The row of a tied job; None when nobody is to be told of it, or everybody was for good."""
    row = cx.execute(
        "SELECT queue, flow, outcome, final, parents, awaited, number,"
        " total - succeeded - buried - cancelled - expired"
        " FROM ties LEFT JOIN flows ON flows.id = flow WHERE job = ? AND (untold OR NOT final)",
        (job,),
    ).fetchone()
    if row is None:
        return None
    queue, flow, outcome, final, parents, awaited, record, left = row
    return Tie(queue, flow, outcome and JobState(outcome), bool(final), parents, awaited, record, left=left)


def tie(
    cx: Connection,
    queue: int,
    job: str,
    flow: str | None = None,
    outcome: JobState | None = None,
    *,
    final: bool = False,
) -> bool:
    """Note that others have to hear of the end of a job; False when that is noted already."""
    made = cx.execute(
        "INSERT INTO ties (job, queue, flow, outcome, final) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (job, queue, flow, _text(outcome), int(final)),
    )
    return made.rowcount == 1


def defer(
    cx: Connection, queue: int, job: str, new: NewJob, parents: Mapping[str, tuple[int, After]], number: int
) -> None:
    """Keep a job that waits for these: each with its place among them. `number` orders it among the children
    of each."""
    unique = None if new.dedup is None or new.dedup.window is not None else new.dedup.id
    ttl = None if new.ttl is None else micros(new.ttl)
    cx.execute(
        "INSERT INTO ties (job, queue, flow, parents, awaited, lane, rank, ttl, dedup, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (job, queue, new.flow, len(parents), len(parents), new.lane, -new.level, ttl, unique, new.body),
    )
    cx.executemany(
        "INSERT INTO edges (child, parent, number, place, name, policy) VALUES (?, ?, ?, ?, ?, ?)",
        [(job, parent, number, place, each.name, each.policy) for parent, (place, each) in parents.items()],
    )


def end_tied(cx: Connection, job: str, ended: Tie, *, untold: bool) -> None:
    """Write down how a tied job ended, and whether there are children who are yet to be told. What has ended
    for good is never released; when all were told of it, it is kept as long as anybody may ask for it."""
    if ended.final and not untold and ended.flow is None and ended.result is None:
        gone = cx.execute("DELETE FROM ties WHERE job = ? AND result IS NULL", (job,))
        if gone.rowcount == 1:
            return
    outcome = _text(ended.outcome)
    if not ended.final:
        cx.execute(
            "UPDATE ties SET outcome = ?, final = 0, untold = ? WHERE job = ?", (outcome, int(untold), job)
        )
    elif ended.result is None:
        cx.execute(f"UPDATE ties SET outcome = ?, {_FOR_GOOD} WHERE job = ?", (outcome, int(untold), job))
    else:
        cx.execute(
            f"UPDATE ties SET outcome = ?, {_FOR_GOOD}, result = coalesce(result, ?) WHERE job = ?",
            (outcome, int(untold), ended.result, job),
        )


_FOR_GOOD = (
    "final = 1, untold = ?, parents = 0, awaited = 0,"
    " body = NULL, heir_of = NULL, heir_as = NULL, legacy = NULL"
)


def _text(outcome: JobState | None) -> str | None:
    """As it is written. SQLite's module looks around for what could make text of anything but plain text."""
    return None if outcome is None else str(outcome)


def leave(cx: Connection, queue: int, parent: str, outcome: JobState | None, result: bytes) -> None:
    """Keep a result for the children of a job that has ended for good, and is not tied."""
    cx.execute(
        "INSERT INTO ties (job, queue, outcome, final, result) VALUES (?, ?, ?, 1, ?)"
        " ON CONFLICT DO UPDATE SET result = coalesce(result, excluded.result)",
        (parent, queue, outcome, result),
    )


# -- children --------------------------------------------------------------------------------------------

_TO_BE_TOLD = "parent = ? AND waits = 1 AND (edges.outcome IS NOT ? OR edges.final <> ?)"
_CHILDREN = (
    "SELECT child, policy, name, queue, flow, lane, rank, ttl, dedup, parents, awaited,"
    " ties.outcome IS NOT NULL, body"
    " FROM edges CROSS JOIN ties ON job = child AND body IS NOT NULL WHERE"
)
_ALL_TO_BE_TOLD = f"{_CHILDREN} {_TO_BE_TOLD} ORDER BY number LIMIT ?"


def to_be_told(cx: Connection, job: str, outcome: JobState | None, limit: int, *, final: bool) -> list[Child]:
    """Children that wait for this end and have not been told of it, in the order of their appends."""
    rows = cx.execute(_ALL_TO_BE_TOLD, (job, _text(outcome), int(final), limit))
    return list(map(Child._make, rows))


def has_children(cx: Connection, job: str) -> bool:
    """Whether anybody waits, or waited, for a job."""
    return cx.execute("SELECT 1 FROM edges WHERE parent = ? LIMIT 1", (job,)).fetchone() is not None


def child_to_be_told(
    cx: Connection, parent: str, child: str, outcome: JobState | None, *, final: bool
) -> list[Child]:
    """This child, if it waits for such an end of this parent and has not been told of it."""
    rows = cx.execute(f"{_CHILDREN} child = ? AND {_TO_BE_TOLD}", (child, parent, outcome, final))
    return list(map(Child._make, rows))


def tell(
    cx: Connection, parent: str, children: Sequence[Child], outcome: JobState | None, *, final: bool
) -> None:
    """These children were told. One that waits no more for this parent never will again."""
    cx.executemany(
        "UPDATE edges SET outcome = ?, final = ?, waits = ? WHERE child = ? AND parent = ?",
        [
            (_text(outcome), int(final), int(not child.is_good(outcome)), child.id, parent)
            for child in children
        ],
    )


def await_less(cx: Connection, children: Iterable[Child]) -> None:
    """These wait for one parent less, and are not released."""
    cx.executemany("UPDATE ties SET awaited = awaited - 1 WHERE job = ?", [(child.id,) for child in children])


def let_out(cx: Connection, children: Iterable[Child]) -> None:
    """These are deferred no more: they have their places."""
    cx.executemany(_LET_OUT, [(child.id,) for child in children])


_NOT_DEFERRED = "awaited = 0, lane = NULL, rank = NULL, ttl = NULL, dedup = NULL, body = NULL"
_LET_OUT = f"UPDATE ties SET {_NOT_DEFERRED} WHERE job = ?"
_LET_OUT_HEIR = (
    f"UPDATE ties SET {_NOT_DEFERRED}, parents = 0, heir_of = ?, heir_as = ?, legacy = ? WHERE job = ?"
)


def let_out_heir(cx: Connection, child: Child, parent: str, result: bytes | None) -> None:
    """The same of one who waited for nobody else than this parent, which succeeded."""
    cx.execute("DELETE FROM edges WHERE child = ? AND parent = ?", (child.id, parent))
    cx.execute(_LET_OUT_HEIR, (parent, child.name, result, child.id))


def heritage(cx: Connection, job: str) -> list[tuple[str, str, str, bytes | None]]:
    """Of each parent of a job that has been told how it ended: its id, name, outcome and result."""
    row = cx.execute(
        "SELECT heir_of, heir_as, legacy FROM ties WHERE job = ? AND heir_of IS NOT NULL", (job,)
    ).fetchone()
    if row is not None:
        parent, name, result = row
        found = [(parent, name, JobState.SUCCEEDED, result)]
    else:
        found = cx.execute(
            "SELECT parent, name, edges.outcome, result FROM edges LEFT JOIN ties ON job = parent"
            " WHERE child = ? AND edges.outcome IS NOT NULL ORDER BY place",
            (job,),
        ).fetchall()
    return [each for each in found if not is_gate(each[0])]


def withdraw(cx: Connection, child: str) -> None:
    """It is cancelled, by an end that may be undone."""
    cx.execute("UPDATE ties SET outcome = ?, dedup = NULL WHERE job = ?", (JobState.CANCELLED, child))


def revive(cx: Connection, child: str) -> None:
    """It is deferred again."""
    cx.execute("UPDATE ties SET outcome = NULL WHERE job = ?", (child,))


def is_refused(cx: Connection, child: str) -> bool:
    """Whether a parent ended so that the child must not run."""
    row = cx.execute(
        "SELECT 1 FROM edges WHERE child = ? AND waits AND policy = 'cancel' AND outcome IS NOT NULL LIMIT 1",
        (child,),
    ).fetchone()
    return row is not None


def owing_to(cx: Connection, child: str) -> list[str]:
    """Parents who have ended, and whose end the child is yet to be told of."""
    rows = cx.execute(
        "SELECT parent FROM edges CROSS JOIN ties ON job = parent WHERE child = ? AND waits AND untold",
        (child,),
    )
    return [parent for (parent,) in rows]


def drop_result(cx: Connection, parent: str) -> None:
    """Nobody may want the result of a job that has ended for good."""
    cx.execute("UPDATE ties SET result = NULL WHERE job = ?", (parent,))


def drop_edges(cx: Connection, child: str) -> None:
    """A child is settled for good: it waits for nobody, and nobody keeps a result for it."""
    cx.execute("DELETE FROM edges WHERE child = ?", (child,))
