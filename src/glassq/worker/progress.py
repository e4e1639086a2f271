"""What running jobs say of how far they are, written down without holding anybody up."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from glassq.codec.progress import LASTS, progress_bytes, progress_name
from glassq.context import JobContext
from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.jobs import Progress
from glassq.model.names import queue_of
from glassq.shielding import Log

log = Log("glassq.worker")

_RATION = 1.0
"""Seconds between two writes of one job."""


class _Said(msgspec.Struct):
    """What a job said last, whether that is still to be written, and when it may be."""

    progress: Progress
    keep: float
    due: float
    written: bool = False


class ProgressWriter:
    """Writes the last of what each job said, once a second at most. A thread does, for as long as there is
    something to write: jobs wait neither for the store nor, on an event loop, for a lock that somebody holds
    meanwhile.
    """

    def __init__(self, put: Callable[[str, str, bytes, float | None], None], clock: Clock) -> None:
        self._put = put
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._said: dict[str, _Said] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False

    def tell(self, job: JobContext, done: float | None, note: str) -> None:
        """Take what a job says of itself."""
        progress = Progress(done=done, note=note, attempt=job.attempt)
        with self._changed:
            said = self._said.get(job.id)
            if said is None:
                self._said[job.id] = _Said(progress, job.keep, self._clock.monotonic())
            else:
                said.progress, said.written = progress, False
            if self._thread is None:
                self._add_thread()
            elif said is None:
                self._changed.notify_all()

    def turn(self) -> None:
        """Write all that was said and is not written, in the calling thread. Raises `StorageError`."""
        with self._changed:
            said, self._said = self._said, {}
        for job_id, each in said.items():
            self._put_down(job_id, each)

    def stop(self, patience: float) -> None:
        """Have written what was said, waiting so many seconds at most."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(patience)

    def _add_thread(self) -> None:
        self._thread = threading.Thread(target=self._write, name="glassq-progress", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        while (found := self._next()) is not None:
            try:
                self._put_down(*found)
            except StorageError as error:
                log.warning("the progress of %s cannot be written: %s", found[0], error)

    def _put_down(self, job_id: str, said: _Said) -> None:
        name, body = progress_name(job_id), progress_bytes(said.progress)
        self._put(queue_of(job_id), name, body, said.keep or LASTS)

    def _next(self) -> tuple[str, _Said] | None:
        """What is to be written next, once it may be; None when all is, and the thread ends."""
        with self._changed:
            while self._said:
                job_id, said = min(self._said.items(), key=lambda each: each[1].due)
                now = self._clock.monotonic()
                wait = said.due - now
                if said.written and (wait <= 0 or self._stopping):
                    del self._said[job_id]  # it may say more at once
                elif wait <= 0 or self._stopping:
                    said.written, said.due = True, now + _RATION
                    return job_id, msgspec.structs.replace(said)
                else:
                    self._changed.wait(wait)
            self._thread = None
            return None
