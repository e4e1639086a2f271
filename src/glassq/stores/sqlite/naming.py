"""Queues by their names: which row is whose, and into which shards a queue is cut."""

from __future__ import annotations

from sqlite3 import Connection

from glassq.errors import ShardsInUse
from glassq.model.layouts import Layout
from glassq.model.watermarks import Watermark
from glassq.stores.sqlite import serving
from glassq.stores.sqlite.rows import queue_row
from glassq.stores.sqlite.steering import holds

_QUEUE = "SELECT id FROM queues WHERE name = ?"
_NEW_QUEUE = (
    "INSERT INTO queues (name, incarnation) VALUES (?, lower(hex(randomblob(6)))) ON CONFLICT DO NOTHING"
)


class Names:
    """Finds the rows of queues, and remembers them: none is deleted but of a name nobody uses, and no other
    file takes the place of this one in the middle of a transaction."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def find(self, cx: Connection, name: str) -> int | None:
        """The queue's row, if anything was ever put into it."""
        known = self._ids.get(name)
        if known is not None:
            return known
        row = cx.execute(_QUEUE, (name,)).fetchone()
        if row is None:
            return None
        self._ids[name] = key = int(row[0])
        return key

    def known(self, name: str) -> int | None:
        """The queue's row, as far as it was looked for."""
        return self._ids.get(name)

    def make(self, cx: Connection, name: str) -> int:
        """The queue's row, made at its first append. Not remembered here: it may be rolled back."""
        known = self.find(cx, name)
        if known is not None:
            return known
        cx.execute(_NEW_QUEUE, (name,))
        key = int(cx.execute(_QUEUE, (name,)).fetchone()[0])
        serving.note_made(cx, key, name)
        return key

    def stood(self, cx: Connection, name: str) -> Watermark:
        """Where the queue stands."""
        key = self.find(cx, name)
        return Watermark() if key is None else queue_row(cx, key).watermark

    def forget(self, name: str | None = None) -> None:
        """This row is gone, or all are: another file has taken the place of the one that was open."""
        if name is None:
            self._ids.clear()
        else:
            self._ids.pop(name, None)


def all_names(cx: Connection) -> list[str]:
    """The queues that were used, and are not closed."""
    return [name for (name,) in cx.execute("SELECT name FROM queues WHERE incarnation <> '' ORDER BY name")]


def layouts(cx: Connection) -> dict[str, Layout]:
    """How queues are cut, by name; whole ones are left out."""
    rows = cx.execute("SELECT queue, shards, first FROM layouts")
    return {queue: Layout(shards, first) for queue, shards, first in rows}


def lay_out(cx: Connection, names: Names, queue: str, count: int) -> Layout | ShardsInUse:
    """Cut a queue anew, if it is cut otherwise and nothing is in any part of it; else why not."""
    row = cx.execute("SELECT shards, first FROM layouts WHERE queue = ?", (queue,)).fetchone()
    layout = Layout(*row) if row else Layout()
    if layout.count == count:
        return layout
    parts = {shard: names.make(cx, shard) for shard in layout.shards(queue)}
    for shard, key in parts.items():
        held = holds(cx, key, shard)
        if held:
            return ShardsInUse(queue, layout.count, count, f"{shard} {held}")
    for key in parts.values():
        # The row stays: other processes remember it. Without a name of its life it takes nothing.
        cx.execute("UPDATE queues SET incarnation = '' WHERE id = ?", (key,))
        for table in ("notes", "kept"):
            cx.execute(f"DELETE FROM {table} WHERE queue = ?", (key,))
    anew = layout.anew(count)
    cx.execute("INSERT OR REPLACE INTO layouts VALUES (?, ?, ?)", (queue, anew.count, anew.first))
    return anew
