"""Moves the tasks of a femtoqueue's directory into a store.

A file is put aside once the store has its task, and the task is known by its file for as long as it is not
settled: whoever is stopped in the middle begins again, and no task is doubled.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from glassq.compat.femtofiles import (
    CREATING,
    FAILED,
    MOVED,
    PENDING,
    SCHEDULED,
    TaskFile,
    nodes,
    task_files,
)
from glassq.compat.femtotasks import FAILED as AS_FAILED
from glassq.compat.femtotasks import job_of, task_in
from glassq.errors import BadOption, CorruptRecord, FormatMismatch, PayloadTooLarge
from glassq.model.jobs import NewJob, StoredJob
from glassq.model.leases import Grant, Owner, Settlement
from glassq.model.verdicts import Action
from glassq.storage import MAX_APPEND_BYTES, MAX_APPEND_JOBS, Storage

_LEASE_SECONDS: Final = 15.0


class Left(msgspec.Struct, frozen=True):
    """A file that stays where it is, and why."""

    file: str
    why: str


class Moved(msgspec.Struct):
    """What was moved, by where it was, and what was not."""

    pending: int = 0
    in_progress: int = 0
    scheduled: int = 0
    failed: int = 0
    unfinished: int = 0
    """Files whose writing was never finished: their push never returned."""
    left: list[Left] = msgspec.field(default_factory=list)

    @property
    def total(self) -> int:
        """Tasks that were moved."""
        return self.pending + self.in_progress + self.scheduled + self.failed


def move(storage: Storage, root: Path, queue: str) -> Moved:
    """Move all tasks of a directory that no program uses any more; may be repeated.

    Pending tasks and those in progress are put in together, by their time; then come the scheduled ones.
    Failed ones become dead letters. Costs one call of the store per 100 tasks or 1 MiB.
    """
    return _Move(storage, root, queue).all()


class _Move:
    """One run over one directory."""

    def __init__(self, storage: Storage, root: Path, queue: str) -> None:
        self._storage = storage
        self._root = root
        self._queue = queue
        self._moved = Moved()

    def all(self) -> Moved:
        """The failed ones first: where nothing else is in the queue, they are at its front and soon out."""
        moved, begun = self._moved, nodes(self._root)
        moved.failed = sum(self._put_in([FAILED]).values())
        self._bury_failed()
        waiting = self._put_in([PENDING, *begun])
        moved.pending = waiting.pop(PENDING, 0)
        moved.in_progress = sum(waiting.values())
        moved.scheduled = sum(self._put_in([SCHEDULED]).values())
        moved.unfinished = sum(1 for _ in task_files(self._root, CREATING))
        return moved

    def _put_in(self, folders: Iterable[str]) -> dict[str, int]:
        """Put the tasks of these folders in and their files aside; how many were in each."""
        counts: dict[str, int] = {}
        files = sorted(file for folder in folders for file in task_files(self._root, folder))
        for batch in self._batches(files):
            self._storage.append(self._queue, [job for _, job in batch])
            for file, _ in batch:
                _put_aside(file)
                counts[file.folder] = counts.get(file.folder, 0) + 1
        return counts

    def _batches(self, files: Iterable[TaskFile]) -> Iterator[list[tuple[TaskFile, NewJob]]]:
        """As many files at a time as one append takes."""
        batch: list[tuple[TaskFile, NewJob]] = []
        size = 0
        for file in files:
            job = self._job_of(file)
            if job is None:
                continue
            if len(batch) == MAX_APPEND_JOBS or size + len(job.body) > MAX_APPEND_BYTES:
                yield batch
                batch, size = [], 0
            batch.append((file, job))
            size += len(job.body)
        if batch:
            yield batch

    def _job_of(self, file: TaskFile) -> NewJob | None:
        """The job for a file; None for one that is left where it is."""
        try:
            return job_of(
                file.read(),
                due_us=file.time_us if file.folder == SCHEDULED else None,
                # Another file may get the same name later, but not the same time of writing.
                once=f"{file.shown!a}@{file.path.stat().st_mtime_ns}",
                failed=file.folder == FAILED,
            )
        except FileNotFoundError:
            return None  # moved by somebody else at the same time
        except (BadOption, CorruptRecord, PayloadTooLarge) as error:
            why = str(error)
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
        self._moved.left.append(Left(file.shown, why))
        return None

    def _bury_failed(self) -> None:
        """Make dead letters of the failed tasks at the front of the queue. Any that come after others are
        buried by whoever takes them: they say of themselves that they are not to be run."""
        owner = Owner("import-femtoqueue", secrets.token_hex(6))
        with closing(self._storage.listen(owner, [self._queue])):
            while self._bury_some(owner):
                pass

    def _bury_some(self, owner: Owner) -> bool:
        """Of the first tasks, make dead letters of the failed ones; whether all of them were."""
        grants = self._storage.claim(
            owner, [self._queue], lanes=MAX_APPEND_JOBS, window=1, lease_seconds=_LEASE_SECONDS
        ).grants
        failed = [grant for grant in grants if _is_failed(grant.jobs[0])]
        self._storage.settle(owner, [_burial(grant) for grant in failed])
        others = [grant.lease for grant in grants if grant not in failed]
        self._storage.release(owner, others[::-1])  # the last one released is the first again
        return bool(grants) and not others


def _burial(grant: Grant) -> Settlement:
    reason, error = AS_FAILED
    return Settlement(
        lease=grant.lease, job_id=grant.jobs[0].id, action=Action.BURY, reason=reason, error=error
    )


def _is_failed(job: StoredJob) -> bool:
    try:
        return task_in(job).failed
    except (CorruptRecord, FormatMismatch):
        return False


def _put_aside(file: TaskFile) -> None:
    """Out of the way, and kept: nothing that a program once wrote is deleted here."""
    folder = file.root / MOVED / file.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder / file.name
    if place.exists():
        place = folder / f"{file.name}.{secrets.token_hex(4)}"
    try:
        os.rename(file.path, place)  # noqa: PTH104 - the system call by its name
    except FileNotFoundError:
        return  # moved by somebody else at the same time
