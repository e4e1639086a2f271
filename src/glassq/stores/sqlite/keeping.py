"""Notes of settlements, and values by name: what a queue keeps for a time beside its jobs."""

from __future__ import annotations

from glassq.errors import QueueClosed
from glassq.keeping import MAX_VALUE_BYTES, MAX_VALUES, check_value
from glassq.model.clock import Clock
from glassq.model.keeping import Note, Value
from glassq.model.names import queue_of
from glassq.model.verdicts import Action
from glassq.stores.sqlite.changes import Change, Changes
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.naming import Names
from glassq.stores.sqlite.notes import sweep
from glassq.stores.sqlite.rows import MICRO, a_body, micros, queue_row

_BEHIND_ALL = "\U0010ffff"
"""No name goes on with this character: Unicode has it for nothing."""


class KeepingVerbs:
    """The verbs of `glassq.keeping.Keeping`."""

    _changes: Changes
    _connections: Connections
    _names: Names
    _clock: Clock

    def notes(self, job_id: str, limit: int = 1) -> list[Note]:
        """See `Keeping.notes`."""
        with self._connections.reading() as cx:
            rows = cx.execute(
                "SELECT action, at, until, reason, said, result, error FROM notes"
                " WHERE queue = ? AND job = ? AND until > ? ORDER BY number DESC LIMIT ?",
                (self._names.find(cx, queue_of(job_id)), job_id, self._now(), max(0, limit)),
            ).fetchall()
        return [_note(*row) for row in reversed(rows)]

    def put(self, queue: str, name: str, body: bytes, seconds: float | None) -> None:
        """See `Keeping.put`. One transaction."""
        check_value(name, body, seconds)

        def put(change: Change) -> None:
            cx, key = change.cx, self._names.make(change.cx, queue)
            if not queue_row(cx, key).incarnation:
                raise QueueClosed(queue)
            until = None if seconds is None else change.clock + micros(seconds)
            sweep(cx, key, change.clock)
            cx.execute(
                "INSERT OR REPLACE INTO kept (queue, name, until, body) VALUES (?, ?, ?, ?)",
                (key, name, until, body),
            )

        self._changes.make(put)

    def value(self, queue: str, name: str) -> Value | None:
        """See `Keeping.value`."""
        with self._connections.reading() as cx:
            row = cx.execute(
                "SELECT name, body, until FROM kept WHERE queue = ? AND name = ?"
                " AND (until IS NULL OR until > ?)",
                (self._names.find(cx, queue), name, self._now()),
            ).fetchone()
        return None if row is None else _value(*row)

    def values(self, queue: str, prefix: str, *, after: str = "", limit: int = MAX_VALUES) -> list[Value]:
        """See `Keeping.values`."""
        found: list[Value] = []
        left = MAX_VALUE_BYTES
        with self._connections.reading() as cx:
            rows = cx.execute(
                "SELECT name, body, until FROM kept WHERE queue = ? AND name >= ? AND name > ? AND name < ?"
                " AND (until IS NULL OR until > ?) ORDER BY name LIMIT ?",
                (
                    self._names.find(cx, queue),
                    prefix,
                    after,
                    prefix + _BEHIND_ALL,
                    self._now(),
                    max(0, min(limit, MAX_VALUES)),
                ),
            )
            for row in rows:
                left -= len(row[1])
                if found and left < 0:
                    break
                found.append(_value(*row))
        return found

    def drop(self, queue: str, name: str) -> bool:
        """See `Keeping.drop`. One transaction."""

        def drop(change: Change) -> bool:
            asked = (self._names.find(change.cx, queue), name)
            row = change.cx.execute("SELECT until FROM kept WHERE queue = ? AND name = ?", asked).fetchone()
            change.cx.execute("DELETE FROM kept WHERE queue = ? AND name = ?", asked)
            return row is not None and (row[0] is None or row[0] > change.clock)

        return self._changes.insist(drop)

    def _now(self) -> int:
        return micros(self._clock.wall())


def _note(
    action: str, at: int, until: int, reason: str, said: bytes, result: bytes | None, error: bytes
) -> Note:
    return Note(
        action=Action(action),
        at=at / MICRO,
        until=until / MICRO,
        reason=reason,
        said=a_body(said),
        result=None if result is None else a_body(result),
        error=a_body(error),
    )


def _value(name: str, body: bytes, until: int | None) -> Value:
    return Value(name, a_body(body), None if until is None else until / MICRO)
