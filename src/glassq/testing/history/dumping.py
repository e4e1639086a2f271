"""The last line of a history: what is in the store when everything is over."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from glassq.observe.history import HistoryFile
from glassq.storage import DeadRecord, HaltedRecord, Storage, WaitingRecord
from glassq.stores.recorded import digest
from glassq.stores.sharded import ShardedQueues

_ALL = 100_000_000


class Application(Protocol):
    """Whatever has a store: `Glassq`."""

    @property
    def storage(self) -> Storage:
        """The store."""
        ...


def dump(source: Application | Storage, directory: str | os.PathLike[str]) -> None:
    """Write what the store of an application holds into a directory of histories, a line per queue.

    For the end, when no process enqueues or works any more: it takes several round trips per queue, and the
    checks that count jobs take it for one moment.
    """
    storage: Storage = getattr(source, "storage", source)  # type: ignore[arg-type]
    write_dump(storage, HistoryFile(directory).write)


def write_dump(storage: Storage, write: Callable[..., None]) -> None:
    """Hand the lines of a dump to whoever writes them: event, and fields by name. To a history each shard
    of a queue is a queue of its own."""
    if isinstance(storage, ShardedQueues):
        storage = storage.inner
    queues = storage.queues()
    for queue in queues:
        write(
            "dump",
            queue=queue,
            unsettled=list(map(_waiting, storage.waiting(queue, _ALL))),
            dead=list(map(_dead, storage.dead(queue, _ALL))),
            halted=list(map(_halted, storage.halted(queue, _ALL))),
            stats=msgspec.structs.asdict(storage.stats([queue])[0]),
        )
    write("dump.end", queues=queues)


def _waiting(record: WaitingRecord) -> dict[str, Any]:
    job = record.job
    return {
        "id": job.id,
        "seq": job.seq,
        "lane": record.lane,
        "level": job.level,
        "body": digest(job.body),
        "replayed": job.replayed,
    }


def _dead(record: DeadRecord) -> dict[str, Any]:
    return {
        **_waiting(WaitingRecord(lane=record.lane, job=record.job)),
        "eligible_at": record.job.eligible_at,
        "reason": record.reason,
        "attempts": record.attempts,
        "error": digest(record.error),
        "buried_at": record.buried_at,
    }


def _halted(record: HaltedRecord) -> dict[str, Any]:
    return {
        "lane": record.lane,
        "head": record.head.id,
        "reason": record.reason,
        "attempts": record.attempts,
        "error": digest(record.error),
        "since": record.since,
        "waiting": record.waiting,
    }
