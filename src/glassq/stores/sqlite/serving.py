"""Who serves a queue, and until when it counts as served: nobody says so of a worker that died alone."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Final

import msgspec

from glassq.stores.sqlite.waits import note_standstills

ALIVE: Final = 60_000_000
"""µs for which a worker counts as alive after it was heard of, unless it said goodbye."""


def register(cx: Connection, owner: str, bell: str | None, queues: Sequence[str], now: int) -> None:
    """This worker is alive and serves these queues."""
    cx.execute(
        "INSERT INTO workers (owner, bell, queues, beat) VALUES (?, ?, ?, ?) ON CONFLICT (owner)"
        " DO UPDATE SET bell = excluded.bell, queues = excluded.queues, beat = excluded.beat",
        (owner, bell, msgspec.json.encode(list(queues)).decode(), now),
    )


def note_served(cx: Connection, queue: int, now: int) -> None:
    """Somebody who serves the queue was heard of."""
    served_until, paused = cx.execute(
        "SELECT served_until, paused FROM queues WHERE id = ?", (queue,)
    ).fetchone()
    if served_until <= now and not paused:
        note_standstills(cx, queue, now)
    cx.execute("UPDATE queues SET served_until = max(served_until, ?) WHERE id = ?", (now + ALIVE, queue))


def note_made(cx: Connection, queue: int, name: str) -> None:
    """A queue that is new may have those who serve it already."""
    last = max((beat for beat, queues in _workers(cx) if name in queues), default=None)
    if last is not None:
        cx.execute("UPDATE queues SET served_until = ? WHERE id = ?", (last + ALIVE, queue))


def note_gone(cx: Connection, owner: str, now: int, *, died: bool = False) -> None:
    """A worker says goodbye, or `died` at some time since it was heard of: until when those who are left
    count as alive, and where there is none, until when this one did. Takes its row away."""
    row = cx.execute("SELECT beat, queues FROM workers WHERE owner = ?", (owner,)).fetchone()
    if row is None:
        return
    cx.execute("DELETE FROM workers WHERE owner = ?", (owner,))
    till = row[0] if died else min(now, row[0] + ALIVE)
    left = list(_workers(cx))
    for name in msgspec.json.decode(row[1]):
        remaining = max((beat + ALIVE for beat, queues in left if name in queues), default=0)
        cx.execute(
            "UPDATE queues SET served_until ="
            " max(CASE WHEN served_until <= ? THEN served_until ELSE 0 END, ?) WHERE name = ?",
            (now, max(till, remaining), name),
        )


def _workers(cx: Connection) -> list[tuple[int, list[str]]]:
    rows = cx.execute("SELECT beat, queues FROM workers")
    return [(beat, msgspec.json.decode(queues)) for beat, queues in rows]
