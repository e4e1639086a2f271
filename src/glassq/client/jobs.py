"""One job by its id: where it is, and how to take it out."""

from __future__ import annotations

import msgspec

from glassq.client.shown import keep_in, key_shown, task_named_in
from glassq.codec.accounts import Account, account_bytes, read_account
from glassq.codec.progress import progress_name, read_progress
from glassq.codec.results import holds_result
from glassq.errors import JobNotFound
from glassq.model.jobs import Cancellation, JobRecord, JobState, JobView, Progress, StoredJob
from glassq.model.keeping import Note
from glassq.model.names import check_id, queue_of, whole
from glassq.storage import Storage


def find_job(storage: Storage, job_id: str) -> JobView:
    """A scheduled, unsettled or buried job, or one that has ended and of which that is kept; `JobNotFound`
    otherwise. With its progress. May read all of its queue, unless it has ended."""
    check_id("job_id", "a job's id", job_id)
    # A job that ends while its queue is looked through is found by what is kept of it then.
    view = _ended(storage, job_id) or _unsettled(storage, job_id) or _ended(storage, job_id)
    if view is None:
        raise _not_found(job_id)
    return msgspec.structs.replace(view, progress=_progress(storage, job_id))


def _progress(storage: Storage, job_id: str) -> Progress | None:
    value = storage.value(queue_of(job_id), progress_name(job_id))
    return None if value is None else read_progress(value.body)


def _ended(storage: Storage, job_id: str) -> JobView | None:
    note = next(iter(storage.notes(job_id)), None)
    return None if note is None or note.outcome is None else _of_note(job_id, note, note.outcome)


def _of_note(job_id: str, note: Note, outcome: JobState) -> JobView:
    said = read_account(note.said)
    return JobView(
        id=job_id,
        queue=whole(queue_of(job_id)),
        key=said.key,
        state=outcome,
        seq=said.seq,
        task=said.task,
        priority=said.level,
        attempts=said.attempt,
        enqueued_at=said.enqueued_at,
        due_at=None,
        expires_at=None,
        reason=note.reason,
        ended_at=note.at,
        has_result=note.result is not None and holds_result(note.result),
    )


def _unsettled(storage: Storage, job_id: str) -> JobView | None:
    record = storage.get(job_id)
    if record is None:
        return None
    return JobView(
        id=record.id,
        queue=whole(queue_of(record.id)),
        key=key_shown(record.lane),
        state=record.state,
        seq=record.seq,
        task=task_named_in(record.body),
        priority=record.level,
        attempts=record.attempts,
        enqueued_at=record.eligible_at,
        due_at=record.due_at,
        expires_at=record.expires_at,
        reason=record.reason,
    )


def cancel_job(storage: Storage, job_id: str, *, kept: bool = True) -> Cancellation:
    """Take an unsettled job out, or ask the worker that runs it; `JobNotFound` when there is none. Where its
    result may be `kept`, it is looked at first, so that it is known that there will be none."""
    check_id("job_id", "a job's id", job_id)
    record = storage.get(job_id) if kept else None
    keep, note = (0.0, b"") if record is None else parting(record.lane, record, record.attempts)
    done = storage.cancel(job_id, keep=keep, note=note)
    if done is None:
        raise _not_found(job_id)
    return done


def parting(lane: str, job: JobRecord | StoredJob, attempts: int) -> tuple[float, bytes]:
    """For how long it is kept that a job is taken out before it ends by itself, and what is said of it."""
    keep = keep_in(job.body)
    if not keep:
        return 0.0, b""
    account = Account(
        task=task_named_in(job.body),
        key=key_shown(lane),
        seq=job.seq,
        level=job.level,
        enqueued_at=job.eligible_at,
        attempt=attempts,
        outcome=JobState.CANCELLED,
    )
    return keep, account_bytes(account)


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(
        f"no scheduled, waiting or running job has the id {job_id!r}; settled jobs are not kept, or only for "
        "the result_ttl= of their tasks"
    )
