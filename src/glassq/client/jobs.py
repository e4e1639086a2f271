"""One job by its id: where it is, and how to take it out."""

from __future__ import annotations

from glassq.client.shown import key_shown, task_named_in
from glassq.errors import JobNotFound
from glassq.model.jobs import Cancellation, JobView
from glassq.model.names import check_id, queue_of, whole
from glassq.storage import Storage


def find_job(storage: Storage, job_id: str) -> JobView:
    """A scheduled, unsettled or buried job; `JobNotFound` otherwise. May read all of its queue."""
    record = storage.get(_checked(job_id))
    if record is None:
        raise _not_found(job_id)
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


def cancel_job(storage: Storage, job_id: str) -> Cancellation:
    """Take an unsettled job out, or ask the worker that runs it; `JobNotFound` when there is none."""
    done = storage.cancel(_checked(job_id))
    if done is None:
        raise _not_found(job_id)
    return done


def _checked(job_id: object) -> str:
    return check_id("job_id", "a job's id", job_id)


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(
        f"no scheduled, waiting or running job has the id {job_id!r}; settled jobs are not kept"
    )
