"""Queues by their names: the row of each, made by whoever needs it first."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Final

from glassq.model.watermarks import Watermark
from glassq.stores.sqlite import serving
from glassq.stores.sqlite.rows import queue_row

_QUEUE: Final = "SELECT id FROM queues WHERE name = ?"
_NEW_QUEUE: Final = (
    "INSERT INTO queues (name, incarnation) VALUES (?, lower(hex(randomblob(6)))) ON CONFLICT DO NOTHING"
)


class Queues:
    """Which row is whose. Remembered, once it was read: no row is deleted but of a name nobody uses, and no
    other file takes the place of this one in the middle of a transaction."""

    def __init__(self) -> None:
        self._keys: dict[str, int] = {}

    def find(self, cx: Connection, name: str) -> int | None:
        """The queue's row, if anything was ever put into it."""
        known = self._keys.get(name)
        if known is not None:
            return known
        row = cx.execute(_QUEUE, (name,)).fetchone()
        if row is None:
            return None
        self._keys[name] = key = int(row[0])
        return key

    def make(self, cx: Connection, name: str) -> int:
        """The queue's row, made at its first append. Not remembered here: it may be rolled back."""
        known = self.find(cx, name)
        if known is not None:
            return known
        cx.execute(_NEW_QUEUE, (name,))
        key = int(cx.execute(_QUEUE, (name,)).fetchone()[0])
        serving.note_made(cx, key, name)
        return key

    def watermark(self, cx: Connection, name: str) -> Watermark:
        """How far the queue has come; nowhere when there is none."""
        key = self.find(cx, name)
        return Watermark() if key is None else queue_row(cx, key).watermark

    def forget(self, name: str) -> None:
        """Its row was deleted."""
        self._keys.pop(name, None)

    def forget_all(self) -> None:
        """Another file has taken the place of the one that was open: nothing of that is known in it."""
        self._keys.clear()
