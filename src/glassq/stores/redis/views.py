"""Looking at what a queue holds, and how it stands: verbs in, scripts out."""

from __future__ import annotations

from collections.abc import Sequence

from glassq.model.lanes import LaneOrder, LanesSeen, WorkerStats
from glassq.model.stats import QueueStats
from glassq.storage import DeadRecord, HaltedRecord, WaitingRecord
from glassq.stores.redis import figures, looking, replies, scripts
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.keys import Keys


class LookingVerbs:
    """The verbs of `Storage` that list and count."""

    _server: Commands
    _keys: Keys

    def waiting(self, queue: str, limit: int) -> list[WaitingRecord]:
        """See `Storage.waiting`. Costs a read per job listed and per held lane."""
        found = self._server.run(scripts.WAITING, self._keys.counters(queue), limit)
        return [WaitingRecord(lane=lane.decode(), job=replies.stored_job(queue, job)) for lane, job in found]

    def dead(self, queue: str, limit: int) -> list[DeadRecord]:
        """See `Storage.dead`."""
        found = self._server.run(scripts.DEAD, self._keys.counters(queue), limit)
        return [replies.dead_record(queue, each) for each in found]

    def halted(self, queue: str, limit: int) -> list[HaltedRecord]:
        """See `Storage.halted`."""
        found = self._server.run(scripts.HALTED, self._keys.counters(queue), limit)
        return [replies.halted_record(queue, each) for each in found]

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """See `Storage.stats`. Each queue in a moment of its own."""
        found = self._server.run_each(scripts.STATS, [(self._keys.counters(queue), ()) for queue in queues])
        return [figures.stats(queue, each) for queue, each in zip(queues, found, strict=True)]

    def lanes(self, queue: str, *, by: LaneOrder, limit: int, look: int) -> LanesSeen:
        """See `Storage.lanes`. A round trip for every 50 lanes that are looked at, and that are listed."""
        return looking.lanes(self._server, self._keys.counters(queue), queue, by, limit, look)

    def workers(self, queue: str) -> list[WorkerStats]:
        """See `Storage.workers`. A round trip for every 50 lanes that are held."""
        return looking.workers(self._server, self._keys.counters(queue))
