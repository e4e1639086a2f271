"""What became of a job: its result waited for, where it is, what happened to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from glassq.client.asked import KeptReceipt
from glassq.client.history import find_history, nothing_kept
from glassq.client.jobs import cancel_job, find_job
from glassq.client.mailbox import Mailbox
from glassq.client.shown import error_shown
from glassq.codec import Serializer, read_failure
from glassq.codec.hints import NO_HINT
from glassq.codec.results import restore_result, result_task
from glassq.errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    ResultNotKept,
    ResultTimeout,
    SerializationFailed,
    StorageUnavailable,
)
from glassq.model.clock import Clock
from glassq.model.jobs import (
    Cancellation,
    Disposition,
    HistoryEntry,
    JobState,
    JobView,
    Receipt,
    bound,
)
from glassq.model.keeping import Note
from glassq.registry import Registry
from glassq.storage import ShardedStorage

R = TypeVar("R")

_FIRST_LOOK: Final = 0.01
_LAST_LOOK: Final = 0.5
_GROWTH: Final = 1.6
"""Seconds between two looks for a result: at first, in the end, and how fast they grow."""
_SEARCH: Final = 30.0
"""Seconds of waiting after which it is looked whether the job is there at all; then after twice as many."""


class Results:
    """Answers for receipts and jobs. Thread-safe."""

    def __init__(
        self,
        storage: Callable[[], ShardedStorage],
        clock: Clock,
        serializer: Serializer,
        registry: Registry,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._clock = clock
        self._serializer = serializer
        self.mailbox = Mailbox(storage, clock)
        """Of those who wait for an end: enqueuing does not wait behind them."""

    def receipt(
        self, job_id: str, queue: str, key: str | None, seq: int | None, disposition: Disposition
    ) -> Receipt:
        """The receipt of a job whose result is kept."""
        return bound(KeptReceipt(job_id, queue, key, seq, disposition), self)

    # -- where it is -------------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobView:
        """See `Glassq.job`."""
        return bound(find_job(self._storage(), job_id), self)

    def cancel(self, job: str | Receipt) -> Cancellation:
        """See `Glassq.cancel`."""
        if isinstance(job, Receipt):
            return cancel_job(self._storage(), job.id, kept=isinstance(job, KeptReceipt))
        return cancel_job(self._storage(), job)

    def history(self, job_id: str) -> list[HistoryEntry]:
        """See `JobView.history`."""
        return find_history(self._storage(), job_id)

    # -- what it returned ----------------------------------------------------------------------------------

    def result(self, job_id: str, timeout: float | None) -> Any:
        """See `Receipt.result`."""
        looks = self._looks(job_id, timeout)
        for wait, look in looks:
            self._clock.sleep(wait)
            note = look(self._storage())
            if note is not None:
                return self._outcome(job_id, note)
        raise _timed_out(job_id, timeout)

    async def aresult(self, job_id: str, timeout: float | None) -> Any:  # noqa: ASYNC109 - as `result`
        """See `Receipt.aresult`."""
        for wait, look in self._looks(job_id, timeout):
            await asyncio.sleep(wait)
            note = await self.mailbox.errand(look)
            if note is not None:
                return self._outcome(job_id, note)
        raise _timed_out(job_id, timeout)

    def _looks(
        self, job_id: str, timeout: float | None
    ) -> Iterator[tuple[float, Callable[[ShardedStorage], Note | None]]]:
        """What to do until there is an answer or the time is over: seconds to wait, and where to look then.

        The last look comes when the time is over. A store that is away for a while is waited for, too.
        """
        began, wait, search = self._clock.monotonic(), 0.0, _SEARCH
        while True:
            waited = self._clock.monotonic() - began
            left = None if timeout is None else timeout - waited
            searches = waited > search
            if searches:
                search *= 2
            yield max(0.0, wait if left is None else min(wait, left)), _Look(job_id, searches=searches)
            if left is not None and left <= wait:
                return
            wait = min(_LAST_LOOK, max(_FIRST_LOOK, wait * _GROWTH))

    def _outcome(self, job_id: str, note: Note) -> Any:
        """What the last note of a job means to whoever waits for its result."""
        match note.outcome:
            case JobState.SUCCEEDED:
                return self._restored(job_id, note)
            case JobState.CANCELLED:
                how = "skipped" if note.reason == "skipped" else "cancelled"
                raise JobCancelled(f"{job_id} was {how}")
            case JobState.EXPIRED:
                raise JobExpired(error_shown(note.error) or f"{job_id} was past its expiry")
        failure = read_failure(note.error)
        raise JobFailed(failure.type, failure.message, failure.traceback)

    def _restored(self, job_id: str, note: Note) -> Any:
        if note.result is None:
            raise ResultNotKept(f"{job_id} succeeded, and its worker kept nothing of what it returned")
        try:
            task = self._registry.find(result_task(note.result))
            hint = NO_HINT if task is None else task.codec.returned
            return restore_result(note.result, self._serializer, hint)
        except SerializationFailed as error:
            raise ResultNotKept(f"{job_id} succeeded, but {error}") from error


class _Look:
    """One look at what was kept of a job; `searches` whether it is anywhere, too."""

    def __init__(self, job_id: str, *, searches: bool) -> None:
        self._job_id = job_id
        self._searches = searches

    def __call__(self, storage: ShardedStorage) -> Note | None:
        """The note of its end; None when there is none yet."""
        try:
            note = _last(storage, self._job_id)
            if note is None and self._searches and not self._is_there(storage):
                raise nothing_kept(self._job_id)
        except StorageUnavailable as error:
            if error.reason == "closed":
                raise
            return None
        return None if note is None or note.outcome is None else note

    def _is_there(self, storage: ShardedStorage) -> bool:
        return storage.get(self._job_id) is not None or _last(storage, self._job_id) is not None


def _last(storage: ShardedStorage, job_id: str) -> Note | None:
    return next(iter(storage.notes(job_id)), None)


def _timed_out(job_id: str, timeout: float | None) -> ResultTimeout:
    return ResultTimeout(
        f"{job_id} has not ended within {timeout:g} s; app.job(id) shows where it is, and it can be waited "
        "for again"
    )
