"""Whether a job that a call comes after may have been given out at all.

A job that has ended may have left nothing, so that one which is not there counts as succeeded. An id of a
queue that the store never had is a slip, or another store's: whoever waited for it would run at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from glassq.flowstorage import never_was
from glassq.model.edges import After
from glassq.model.layouts import Layout
from glassq.model.names import nearest, queue_of, whole
from glassq.storage import ShardedStorage


class Homes:
    """Queues, and shards of queues, that are known to have given out ids. Thread-safe: it only grows."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def strangers(self, after: Iterable[After]) -> dict[str, str]:
        """Queues and shards that nothing is known of yet, each with an id that names it."""
        homes = {queue_of(each.job): each.job for each in after if isinstance(each.job, str)}
        return {home: job for home, job in homes.items() if home not in self._known}

    def check(self, storage: ShardedStorage, after: Iterable[After]) -> None:
        """`JobNotFound` when one of these jobs never was: its queue, or its shard of it, is not in the store.
        Two round trips, and none where all is known."""
        strangers = self.strangers(after)
        if not strangers:
            return
        queues, layouts = storage.queues(), storage.layouts()  # as they are now: others may have changed them
        for home, job in strangers.items():
            queue = whole(home)
            if queue not in queues:
                near = nearest(queue, queues)
                hint = f"; did you mean {near!r}?" if near else ""
                raise never_was(job, f"{storage.address} has no queue {queue!r}{hint}")
            newest = layouts.get(queue, Layout()).shards(queue)[-1]
            if _number(home) > _number(newest):
                raise never_was(job, f"queue {queue!r} never had so many shards")
            self._known.add(home)


def _number(shard: str) -> int:
    """Of a shard: they are numbered in the order in which they were made, and no number is used twice. A
    queue is whole before it is cut."""
    return int(shard.partition("#")[2] or -1)
