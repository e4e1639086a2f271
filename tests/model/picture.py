"""What can be seen of the model's queue: lists, one job, figures. Nothing here changes anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from glassq.model.jobs import JobRecord, JobState, StoredJob
from glassq.model.stats import LaneState, QueueStats
from glassq.storage import DeadRecord, HaltedRecord, WaitingRecord
from tests.model.lanes import HALTED, HELD, PAUSED, READY, SECOND, WAITING, Lane, micros
from tests.model.model import Model


def waiting(model: Model) -> list[WaitingRecord]:
    """Unsettled jobs by seq."""
    found = [WaitingRecord(lane=lane.name, job=job) for lane in model.lanes.values() for job in lane.jobs]
    return sorted(found, key=lambda record: record.job.seq)


def letters(model: Model) -> list[DeadRecord]:
    """Dead letters by seq."""
    return sorted(model.dead.values(), key=lambda record: record.job.seq)


def halted(model: Model) -> list[HaltedRecord]:
    """Halted lanes, the longest first."""
    return [
        HaltedRecord(
            lane=lane.name,
            head=lane.window(1)[0],
            reason=lane.head.reason,
            attempts=lane.head.attempts,
            error=lane.head.error,
            since=lane.until / SECOND,
            waiting=len(lane.jobs),
        )
        for lane in model.in_state(HALTED)
    ]


def lanes(model: Model) -> list[tuple[str, LaneState, int, str, int, str]]:
    """Lanes with jobs, the deepest first: state, depth, head, the attempts of that, and who holds it."""
    found = []
    for lane in model.lanes.values():
        if not lane.jobs:
            continue
        paused = lane.state in (READY, WAITING) and model.stopped(lane.name)
        tried = lane.head.attempts + bool(lane.current)
        state, owner = PAUSED if paused else lane.state, str(lane.owner) if lane.owner else ""
        found.append((lane.name, state, len(lane.jobs), lane.window(1)[0].id, tried, owner))
    return sorted(found, key=lambda each: (-each[2], each[0]))


def by_age(model: Model) -> list[str]:
    """Lanes with jobs by the lowest seq that is looked at."""
    found = [(job.seq, lane.name) for lane in model.lanes.values() for job in oldest([lane])]
    return [name for _, name in sorted(found)]


def find(model: Model, job_id: str) -> JobRecord | None:
    """Where a job is; a begun head tells of its attempts."""
    for each in model.scheduled:
        if each.id == job_id:
            ttl = each.job.ttl
            return JobRecord(
                id=job_id,
                lane=each.job.lane,
                state=JobState.SCHEDULED,
                level=each.job.level,
                body=each.job.body,
                seq=None,
                due_at=each.due / SECOND,
                expires_at=None if ttl is None else (each.due + micros(ttl)) / SECOND,
            )
    for lane in model.lanes.values():
        job = lane.find(job_id)
        if job:
            begun, runs = lane.begun == job_id, lane.current == job_id
            return record_of(
                job,
                lane.name,
                JobState.LEASED if runs else JobState.READY,
                lane.head.attempts + runs if begun else 0,
                lane.head.reason if begun and lane.state is HALTED else "",
            )
    letter = model.dead.get(job_id)
    if letter is None:
        return None
    return record_of(letter.job, letter.lane, JobState.BURIED, letter.attempts, letter.reason)


def figures(model: Model, now: int) -> QueueStats:
    """Every job and lane in one state. What runs is leased even in a pause; halted comes before paused."""
    jobs: Counter[str] = Counter(scheduled=len(model.scheduled))
    lanes = Counter(dict.fromkeys(map(str, LaneState), 0))
    for lane in model.lanes.values():
        stopped, runs = model.stopped(lane.name), bool(lane.current)
        rest = PAUSED if stopped else READY
        lanes[rest if lane.state in (READY, WAITING) and stopped else lane.state] += 1
        if lane.state is WAITING and not stopped:
            jobs[WAITING] += 1
            jobs[READY] += len(lane.jobs) - 1
        else:
            jobs[HELD] += runs
            jobs[HALTED if lane.state is HALTED else rest] += len(lane.jobs) - runs
    return QueueStats(
        queue=model.queue,
        **jobs,
        lanes=dict(lanes),
        enqueued=model.enqueued,
        replayed=model.replayed,
        settled=dict(model.settled),
        dead_letters=len(model.dead),
        dead_letter_oldest_age=age(now, [record.buried_at for record in model.dead.values()]),
        oldest_job_age=age(now, [job.eligible_at for job in oldest(model.lanes.values())]),
        head_blocked=age(
            now, [at / SECOND for lane in model.lanes.values() if (at := lane.head.blocked_at) is not None]
        ),
        head_attempts=max((lane.head.attempts for lane in model.lanes.values()), default=0),
        paused_whole=None in model.paused,
        paused_keys=len(model.paused - {None}),
        last_settled_at=model.settled_at / SECOND,
        lease_tokens=model.tokens,
        schedule_lag=age(now, [each.due / SECOND for each in model.scheduled if each.due]),
    )


def oldest(lanes: Iterable[Lane]) -> list[StoredJob]:
    """The first by seq stands for the oldest: clock steps and replays to the front apart, it is. In each lane
    two are looked at: a replay may stand behind a begun head. It may be behind more that may have begun."""
    levels = [(lane, level) for lane in lanes for level in {job.level for job in lane.jobs}]
    near = [job for lane, level in levels for job in lane.of_level(level)[:2]]
    return sorted(near, key=lambda job: job.seq)[:1]


def record_of(job: StoredJob, lane: str, state: JobState, attempts: int, reason: str) -> JobRecord:
    """A job that has its seq, as `get` tells of it."""
    return JobRecord(
        id=job.id,
        lane=lane,
        state=state,
        level=job.level,
        body=job.body,
        seq=job.seq,
        attempts=attempts,
        eligible_at=job.eligible_at,
        expires_at=job.expires_at,
        reason=reason,
        replayed=job.replayed,
    )


def age(now: int, times: Sequence[float]) -> float:
    """Seconds since the earliest of them; 0 when there is none, or when it lies ahead."""
    return max(0, now - micros(min(times))) / SECOND if times else 0.0
