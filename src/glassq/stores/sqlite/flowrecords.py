"""The records of workflows: opened once, ended with the last of their jobs, kept for a while."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any

from glassq.model.flows import FlowEnded, FlowRecord, status_of
from glassq.model.jobs import JobState
from glassq.model.names import queue_of
from glassq.stores.sqlite.rows import MICRO
from glassq.stores.sqlite.ties import Tie

_OUTCOMES = (JobState.SUCCEEDED, JobState.BURIED, JobState.CANCELLED, JobState.EXPIRED)
_COUNTED = ", ".join(_OUTCOMES)
_UNOPENED = 86_400_000_000
"""µs for which outcomes are kept of a workflow that nobody has opened."""
_SWEPT_FOR_EACH = 10
_SWEPT_AT_A_BEAT = 1_000


def open_flow(cx: Connection, flow: str, name: str, total: int, body: bytes, keep: int, now: int) -> None:
    """Make a workflow's record, unless it is there; what came before may have ended it."""
    sweep_flows(cx, now)
    number = _number(cx, flow, now)
    opened = cx.execute(
        "UPDATE flows SET name = ?, total = ?, keep = ?, began_at = ?, until = NULL"
        " WHERE number = ? AND total IS NULL",
        (name, total, keep, now, number),
    )
    if opened.rowcount == 1:
        cx.execute("INSERT INTO graphs (flow, body) VALUES (?, ?)", (number, body))
    _end_if_done(cx, number, now)


def _number(cx: Connection, flow: str, now: int) -> int:
    """The workflow's row, made if there is none."""
    row = cx.execute("SELECT number FROM flows WHERE id = ?", (flow,)).fetchone()
    if row is None:
        values = (flow, queue_of(flow), now + _UNOPENED)
        cx.execute("INSERT INTO flows (id, home, until) VALUES (?, ?, ?)", values)
        row = cx.execute("SELECT last_insert_rowid()").fetchone()
    return int(row[0])


def outcome_of(cx: Connection, flow: str, job: str) -> JobState | None:
    """How this job of a workflow ended, as far as was noted."""
    row = cx.execute("SELECT outcome FROM ties WHERE job = ? AND flow = ?", (job, flow)).fetchone()
    return None if row is None or row[0] is None else JobState(row[0])


def note(cx: Connection, tied: Tie, outcome: JobState | None, now: int) -> None:
    """One of the jobs, which was noted as `tied` says, ended otherwise; None: it came back, and so the
    workflow has not ended. Who calls this writes that down in the job's row."""
    assert tied.flow is not None  # noqa: S101 - the caller saw it
    number, before = tied.record or _number(cx, tied.flow, now), tied.outcome
    if before is not None:
        cx.execute(f"UPDATE flows SET {before} = {before} - 1 WHERE number = ?", (number,))
    if outcome is None:
        cx.execute(
            "UPDATE flows SET ended_at = NULL, told = 0, until = NULL"
            " WHERE number = ? AND ended_at IS NOT NULL",
            (number,),
        )
        return
    cx.execute(f"UPDATE flows SET {outcome} = {outcome} + 1 WHERE number = ?", (number,))
    if not tied.has_company:
        _end_if_done(cx, number, now)


def note_foreign(cx: Connection, tied: Tie, job: str, outcome: JobState | None) -> None:
    """Write down how a job ended that is not in this file."""
    cx.execute(
        "INSERT INTO ties (job, queue, flow, outcome, final) VALUES (?, ?, ?, ?, 1)"
        " ON CONFLICT DO UPDATE SET outcome = excluded.outcome",
        (job, tied.queue, tied.flow, outcome),
    )


def _end_if_done(cx: Connection, number: int, now: int) -> None:
    cx.execute(
        "UPDATE flows SET ended_at = :now, until = :now + keep WHERE number = :number AND ended_at IS NULL"
        " AND total <= succeeded + buried + cancelled + expired",
        {"now": now, "number": number},
    )


def tell(cx: Connection, flow: str) -> FlowEnded | None:
    """That a workflow has ended, if that was not told before."""
    row = cx.execute(
        f"SELECT number, name, asked, ended_at - began_at, {_COUNTED} FROM flows"
        " WHERE id = ? AND ended_at IS NOT NULL AND NOT told",
        (flow,),
    ).fetchone()
    if row is None:
        return None
    number, name, asked, taken, *counts = row
    cx.execute("UPDATE flows SET told = 1 WHERE number = ?", (number,))
    return FlowEnded(flow, name, status_of(_ended(counts), cancelled=bool(asked)), taken / MICRO)


def untold(cx: Connection, home: str, limit: int) -> list[tuple[int, str, str, str]]:
    """Workflows of a home whose end was not told: number, id, and one of their jobs with its outcome."""
    return cx.execute(
        "SELECT number, id, job, outcome FROM flows CROSS JOIN ties"
        " ON job = (SELECT min(job) FROM ties WHERE flow = flows.id AND outcome IS NOT NULL)"
        " WHERE home = ? AND ended_at IS NOT NULL AND NOT told LIMIT ?",
        (home, limit),
    ).fetchall()


def _ended(counts: list[int]) -> dict[JobState, int]:
    return {outcome: count for outcome, count in zip(_OUTCOMES, counts, strict=True) if count}


def find(cx: Connection, flow: str, now: int) -> FlowRecord | None:
    """A workflow's record, while it is kept."""
    row: tuple[Any, ...] | None = cx.execute(
        f"SELECT name, total, body, began_at, ended_at, asked, {_COUNTED}"
        " FROM flows JOIN graphs ON flow = number"
        " WHERE id = ? AND total IS NOT NULL AND (until IS NULL OR until > ?)",
        (flow, now),
    ).fetchone()
    if row is None:
        return None
    name, total, body, began_at, ended_at, asked, *counts = row
    return FlowRecord(
        id=flow,
        name=name,
        total=total,
        ended=_ended(counts),
        body=body,
        began_at=began_at / MICRO,
        ended_at=None if ended_at is None else ended_at / MICRO,
        cancelled=bool(asked),
    )


def outcomes(cx: Connection, flow: str, now: int) -> dict[str, JobState]:
    """How a workflow's jobs ended, while its record is kept."""
    rows = cx.execute(
        "SELECT job, outcome FROM ties WHERE outcome IS NOT NULL AND flow = (SELECT id FROM flows"
        " WHERE id = ? AND total IS NOT NULL AND (until IS NULL OR until > ?))",
        (flow, now),
    )
    return {job: JobState(outcome) for job, outcome in rows}


def ask(cx: Connection, flow: str) -> bool:
    """Mark a workflow that has not ended as cancelled."""
    changed = cx.execute(
        "UPDATE flows SET asked = 1 WHERE id = ? AND total IS NOT NULL AND ended_at IS NULL", (flow,)
    )
    return changed.rowcount == 1


def forget_flows(cx: Connection, home: str) -> None:
    """Delete what a queue is the home of."""
    for number, flow in cx.execute("SELECT number, id FROM flows WHERE home = ?", (home,)).fetchall():
        _forget_jobs(cx, flow, -1)
        _forget(cx, number)


def sweep_flows(cx: Connection, now: int, jobs: int = 0) -> None:
    """Delete some of what is kept no more: as these come, or with every heartbeat."""
    row = cx.execute("SELECT number, id FROM flows WHERE until <= ? LIMIT 1", (now,)).fetchone()
    if row is None:
        return
    number, flow = row
    most = jobs * _SWEPT_FOR_EACH or _SWEPT_AT_A_BEAT
    if _forget_jobs(cx, flow, most) < most:
        _forget(cx, number)


def _forget_jobs(cx: Connection, flow: str, most: int) -> int:
    """Delete jobs of a workflow that nobody is to be told of any more (-1: all of them), but for results that
    others than its jobs may want; returns how many these were."""
    ended = "flow = ? AND final AND NOT untold"
    cx.execute(f"UPDATE ties SET flow = NULL WHERE {ended} AND result IS NOT NULL", (flow,))
    return cx.execute(
        f"DELETE FROM ties WHERE job IN (SELECT job FROM ties WHERE {ended} LIMIT ?)", (flow, most)
    ).rowcount


def _forget(cx: Connection, number: int) -> None:
    cx.execute("DELETE FROM graphs WHERE flow = ?", (number,))
    cx.execute("DELETE FROM flows WHERE number = ?", (number,))
