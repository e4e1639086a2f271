"""How attempts of jobs ended, written down for a time, and the end of that and of other things that are kept.

What has ended is gone to whoever asks. Its rows go a few at a time, whenever something is kept, and with the
heartbeats of the workers that serve the queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection

from glassq.model.keeping import MAX_NOTES
from glassq.model.verdicts import Action

_SWEPT_AT_ONCE = 10


def write_down(
    cx: Connection,
    queue: int,
    job: str,
    action: Action,
    now: int,
    *,
    until: int,
    reason: str,
    said: bytes,
    result: bytes | None = None,
    error: bytes = b"",
) -> None:
    """Write down how an attempt of a job ended, or the job itself; all notes of it are kept until then."""
    sweep(cx, queue, now)
    (last,) = cx.execute("SELECT max(number) FROM notes WHERE queue = ? AND job = ?", (queue, job)).fetchone()
    number = 1 if last is None else last + 1
    if last is not None:
        cx.execute(
            "DELETE FROM notes WHERE queue = ? AND job = ? AND (number <= ? OR until <= ?)",
            (queue, job, number - MAX_NOTES, now),
        )
        cx.execute("UPDATE notes SET until = ? WHERE queue = ? AND job = ?", (until, queue, job))
    cx.execute(
        "INSERT INTO notes (queue, job, number, action, at, until, reason, said, result, error)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (queue, job, number, str(action), now, until, reason, said, result, error),
    )


def forget_notes(cx: Connection, jobs: str, values: Mapping[str, object]) -> None:
    """Forget what was written down of the jobs whose ids this statement reads, of the queue in its values."""
    cx.execute(f"DELETE FROM notes WHERE queue = :queue AND job IN ({jobs})", values)


def sweep(cx: Connection, queue: int, now: int, most: int = _SWEPT_AT_ONCE) -> None:
    """Take some of the rows out whose time is over."""
    cx.execute(
        "DELETE FROM notes WHERE (queue, job, number) IN"
        " (SELECT queue, job, number FROM notes WHERE queue = ? AND until <= ? LIMIT ?)",
        (queue, now, most),
    )
    cx.execute(
        "DELETE FROM kept WHERE (queue, name) IN"
        " (SELECT queue, name FROM kept WHERE queue = ? AND until <= ? LIMIT ?)",
        (queue, now, most),
    )
