"""The one place where storage is timed: a wrapper that tells the bus about every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import ParamSpec, TypeVar

from glassq.errors import StorageError, StorageUnavailable
from glassq.model.events import StorageCalled
from glassq.model.jobs import Appended, Cancellation, JobRecord, NewJob, StoredJob
from glassq.model.leases import Claimed, Lease, Owner, Renewed, Settled, Settlement
from glassq.model.stats import QueueStats
from glassq.storage import DeadRecord, Doorbell, HaltedRecord, Replayed, Storage, WaitingRecord
from glassq.telemetry import Bus

P = ParamSpec("P")
R = TypeVar("R")


class InstrumentedStorage:
    """A `Storage` that emits `StorageCalled` after each operation; otherwise the store it wraps."""

    def __init__(self, inner: Storage, bus: Bus) -> None:
        self._inner = inner
        self._bus = bus
        self.kind = inner.kind
        self.address = inner.address

    def _timed(self, operation: str, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        started = perf_counter()
        error: str | None = None
        try:
            return call(*args, **kwargs)
        except StorageUnavailable as unavailable:
            error = unavailable.reason
            raise
        except StorageError:
            error = "other"
            raise
        finally:
            self._bus.emit(
                StorageCalled(
                    store=self.kind, operation=operation, seconds=perf_counter() - started, error=error
                )
            )

    def append(
        self, queue: str, jobs: Sequence[NewJob], *, max_length: int | None = None, replicas: int = 0
    ) -> list[Appended]:
        """See `Storage.append`."""
        return self._timed(
            "append", self._inner.append, queue, jobs, max_length=max_length, replicas=replicas
        )

    def listen(self, owner: Owner, queues: Sequence[str]) -> Doorbell:
        """See `Storage.listen`."""
        return self._timed("listen", self._inner.listen, owner, queues)

    def report(self, owner: Owner, queues: Sequence[str]) -> None:
        """See `Storage.report`."""
        self._timed("report", self._inner.report, owner, queues)

    def claim(
        self, owner: Owner, queues: Sequence[str], *, lanes: int, window: int, lease_seconds: float
    ) -> Claimed:
        """See `Storage.claim`."""
        return self._timed(
            "claim", self._inner.claim, owner, queues, lanes=lanes, window=window, lease_seconds=lease_seconds
        )

    def settle(self, owner: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """See `Storage.settle`."""
        return self._timed("settle", self._inner.settle, owner, settlements)

    def renew(self, owner: Owner, leases: Sequence[Lease], *, lease_seconds: float) -> Renewed:
        """See `Storage.renew`."""
        return self._timed("renew", self._inner.renew, owner, leases, lease_seconds=lease_seconds)

    def release(self, owner: Owner, leases: Sequence[Lease], *, front: bool = True) -> None:
        """See `Storage.release`."""
        self._timed("release", self._inner.release, owner, leases, front=front)

    def retry_lane(self, queue: str, lane: str) -> bool:
        """See `Storage.retry_lane`."""
        return self._timed("configure", self._inner.retry_lane, queue, lane)

    def skip_lane(self, queue: str, lane: str) -> StoredJob | None:
        """See `Storage.skip_lane`."""
        return self._timed("configure", self._inner.skip_lane, queue, lane)

    def cancel(self, job_id: str) -> Cancellation | None:
        """See `Storage.cancel`."""
        return self._timed("cancel", self._inner.cancel, job_id)

    def get(self, job_id: str) -> JobRecord | None:
        """See `Storage.get`."""
        return self._timed("get", self._inner.get, job_id)

    def pause(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.pause`."""
        return self._timed("configure", self._inner.pause, queue, lane)

    def resume(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.resume`."""
        return self._timed("configure", self._inner.resume, queue, lane)

    def replay(self, queue: str, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """See `Storage.replay`."""
        return self._timed("replay", self._inner.replay, queue, ids, front=front)

    def purge(self, queue: str, *, dead: bool) -> int:
        """See `Storage.purge`."""
        return self._timed("configure", self._inner.purge, queue, dead=dead)

    def waiting(self, queue: str, limit: int) -> list[WaitingRecord]:
        """See `Storage.waiting`."""
        return self._timed("scan", self._inner.waiting, queue, limit)

    def dead(self, queue: str, limit: int) -> list[DeadRecord]:
        """See `Storage.dead`."""
        return self._timed("scan", self._inner.dead, queue, limit)

    def halted(self, queue: str, limit: int) -> list[HaltedRecord]:
        """See `Storage.halted`."""
        return self._timed("scan", self._inner.halted, queue, limit)

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """See `Storage.stats`."""
        return self._timed("stats", self._inner.stats, queues)

    def queues(self) -> list[str]:
        """See `Storage.queues`."""
        return self._timed("scan", self._inner.queues)

    def close(self) -> None:
        """See `Storage.close`."""
        self._inner.close()
