"""Into which shards queues are cut: remembered in one hash, changed step by step, decided in one.

The shards are anywhere in a cluster, so nothing changes them all at once. A change is announced in the
queue's record; then each former part is closed, which only an empty one can be; and if all were, the record
is replaced, which is what decides. If one was not, or whoever made the change died over it, the announcement
is taken back, and what was closed for it is opened again. A part that is closed by a later change bears
another mark, so nobody who is late opens that.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Final

from glassq.errors import QueueClosed, ShardsInUse
from glassq.model.layouts import Layout
from glassq.model.names import whole
from glassq.stores.redis import purging, scripts
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.keys import Keys

_PATIENCE: Final = 2.0
"""Seconds after which a change that goes no further is taken back: its steps take milliseconds."""
_LOOK: Final = 0.05


class Layouts:
    """The records of one store: `<first>:<shards>`, and while that is changed `:<mark>` behind it."""

    def __init__(self, server: Commands, keys: Keys) -> None:
        self._server = server
        self._keys = keys

    def all(self) -> dict[str, Layout]:
        """How queues are cut, by name. One round trip."""
        found = {name: _layout(text) for name, text in self._server.fields(self._keys.layouts).items()}
        return {name: layout for name, layout in found.items() if layout.first is not None}

    def lay_out(self, queue: str, count: int) -> Layout:
        """See `Storage.lay_out`. One round trip where nothing is to be done."""
        while True:
            text = self._decided(queue)
            layout = _layout(text)
            if layout.count == count:
                return layout
            changed = self._change(queue, text, layout, count)
            if changed is not None:
                return changed

    def mend(self, shard: str, mark: str) -> bool:
        """A shard was found closed: open it, if it is one of its queue's all the same. Whether it is."""
        queue = whole(shard)
        if shard not in _layout(self._decided(queue)).shards(queue):
            return False
        self._reopen([shard], mark)
        return True

    def _decided(self, queue: str) -> str:
        """The queue's record, once nobody changes it."""
        began, looked_at = time.monotonic(), ""
        while True:
            text = self._server.fields(self._keys.layouts).get(queue, "")
            if not _is_announced(text):
                return text
            now = time.monotonic()
            if text != looked_at:
                began, looked_at = now, text
            if now - began > _PATIENCE:
                self._take_back(queue, text)
            else:
                time.sleep(_LOOK)

    def _change(self, queue: str, text: str, layout: Layout, count: int) -> Layout | None:
        """Cut it anew; None when somebody else was faster."""
        mark, anew, shards = secrets.token_hex(6), layout.anew(count), layout.shards(queue)
        announced = f"{text or _WHOLE}:{mark}"
        if not self._swap(queue, text, announced):
            return None
        in_use = next((shard for shard in shards if not self._close(shard, mark)), None)
        if in_use is None and self._swap(queue, announced, f"{anew.first}:{anew.count}"):
            for shard in shards:
                self._server.remove_member(self._keys.registry, shard)
            return anew
        self._take_back(queue, announced)
        if in_use is not None:
            raise ShardsInUse(
                queue, layout.count, count, f"{in_use} holds jobs or dead letters, or is served by a worker"
            )
        return None

    def _close(self, shard: str, mark: str) -> bool:
        key = self._keys.counters(shard)
        try:
            return purging.forget(self._server, key, mark)
        except QueueClosed as closed:
            if closed.mark == mark:
                return True
            # Left by a change that was taken back. Whoever is faster now puts something in and is found out.
            self._server.run(scripts.REOPEN, key, closed.mark)
            return purging.forget(self._server, key, mark)

    def _take_back(self, queue: str, announced: str) -> None:
        """Nothing comes of this change, unless it is decided already."""
        text, _, mark = announced.rpartition(":")
        if self._swap(queue, announced, text):
            self._reopen(_layout(text).shards(queue), mark)

    def _reopen(self, shards: Sequence[str], mark: str) -> None:
        """Open what was closed with this mark."""
        for shard in shards:
            self._server.run(scripts.REOPEN, self._keys.counters(shard), mark)

    def _swap(self, queue: str, text: str, other: str) -> bool:
        return bool(self._server.run(scripts.SWAP, self._keys.layouts, queue, text, other))


_WHOLE: Final = ":1"


def _is_announced(text: str) -> bool:
    return text.count(":") > _WHOLE.count(":")


def _layout(text: str) -> Layout:
    first, count, *_ = (text or _WHOLE).split(":")
    return Layout(int(count), int(first) if first else None)
