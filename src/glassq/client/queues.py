"""A queue as people see it: its figures, what waits, what was given up, what is halted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Literal

from glassq.client.jobs import parting
from glassq.client.shown import error_shown, headers_in, key_shown, lane_of, task_named_in
from glassq.errors import BadOption, JobNotFound
from glassq.model.events import JobsReplayed
from glassq.model.jobs import DeadLetter, HaltedLane, PeekedJob, ReplayedJob, StoredJob
from glassq.model.lanes import KeyStats, LaneOrder, LaneStats, TopKeys, WorkerStats
from glassq.model.names import check_id, check_key
from glassq.model.stats import QueueStats
from glassq.policy.replay import DeadJob, plan_replay
from glassq.storage import MAX_APPEND_JOBS, HaltedRecord, Replayed, Storage
from glassq.telemetry import Bus

_ALL = 1_000_000
"""More dead letters than a person replays at once; a replay of more is repeated."""


class Queue:
    """A handle on one queue. Each call is one round trip unless it says otherwise."""

    def __init__(self, name: str, storage: Callable[[], Storage], bus: Bus | None = None) -> None:
        self.name = name
        self._storage = storage
        self._bus = bus

    def stats(self) -> QueueStats:
        """Jobs by state, lanes, ages in seconds, totals; from one consistent moment."""
        return self._storage().stats([self.name])[0]

    def keys(
        self, top: int = 20, by: Literal["depth", "age", "blocked"] = "depth", *, look: int = 10_000
    ) -> TopKeys:
        """The `top` keys by jobs that wait, by the age of the oldest one, or by how long they are held up:
        since the head first failed, or the lane was halted or paused, or its worker was lost.

        At most `look` lanes are looked at, and the answer says how many there are, and whether others could
        come before these. On Redis this takes a round trip for every 50 lanes, each in a moment of its own;
        those that are held, then those with the oldest jobs are looked at first, and few for the age and for
        what is held up, as heads that fail and lanes that nobody holds are kept in that order. On SQLite it
        is one snapshot; the depth costs a read per job there. Never in the path of a job.
        """
        order = _order(by)
        seen = self._storage().lanes(
            self.name, by=order, limit=_checked(top, "top"), look=_checked(look, "look")
        )
        return TopKeys(
            queue=self.name,
            by=order,
            lanes=seen.total,
            looked_at=seen.looked,
            exact=seen.exact,
            keys=[_key_stats(lane) for lane in seen.lanes],
        )

    def workers(self) -> list[WorkerStats]:
        """Who serves the queue: when it was heard of, where it runs if the store was told (Redis is), the
        lanes it holds and its jobs in progress. Also who is gone and still holds lanes. May take a round trip
        for every 50 held lanes."""
        return self._storage().workers(self.name)

    def peek(self, limit: int = 10) -> list[PeekedJob]:
        """The first `limit` unsettled jobs by sequence, running ones included. Arguments are not shown."""
        return [
            PeekedJob(
                id=record.job.id,
                queue=self.name,
                key=key_shown(record.lane),
                seq=record.job.seq,
                task=task_named_in(record.job.body),
                priority=record.job.level,
                enqueued_at=record.job.eligible_at,
                size=len(record.job.body),
            )
            for record in self._storage().waiting(self.name, _checked(limit))
        ]

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The first `limit` buried jobs by sequence, with the reason and the last error."""
        return [
            DeadLetter(
                id=record.job.id,
                queue=self.name,
                key=key_shown(record.lane),
                seq=record.job.seq,
                task=task_named_in(record.job.body),
                reason=record.reason,
                attempts=record.attempts,
                error=error_shown(record.error),
                enqueued_at=record.job.eligible_at,
                buried_at=record.buried_at,
            )
            for record in self._storage().dead(self.name, _checked(limit))
        ]

    def halted(self, limit: int = 100) -> list[HaltedLane]:
        """Lanes that wait for a human, longest first: the head, its last error and since when."""
        return [
            HaltedLane(
                queue=self.name,
                key=key_shown(record.lane),
                head=record.head.id,
                task=task_named_in(record.head.body),
                reason=record.reason,
                attempts=record.attempts,
                error=error_shown(record.error),
                since=record.since,
                waiting=record.waiting,
            )
            for record in self._storage().halted(self.name, _checked(limit))
        ]

    def retry(self, key: str | None) -> None:
        """Run the head of a halted lane again, with all its retries. `None` names the lane without a key.

        `JobNotFound` when the lane is not halted.
        """
        if not self._storage().retry_lane(self.name, lane_of(key)):
            raise self._not_halted(key)

    def skip(self, key: str | None, *, expected: str | None = None) -> str:
        """End the head of a halted lane as cancelled and let its successors run; returns the head's job id.

        `expected` is the id of the job that was decided about: where the lane has halted at another one
        meanwhile, nothing is done. `JobNotFound` then, and when the lane is not halted.
        """
        expected = None if expected is None else check_id("expected", "a job's id", expected)
        while True:
            halted = self._halted_at(lane_of(key))
            if halted is None:
                raise self._not_halted(key)
            head = halted.head.id
            if expected not in (None, head):
                raise self._not_halted_at(expected, head, key)
            keep, note = parting(halted.lane, halted.head, halted.attempts)
            if self._storage().skip_lane(self.name, halted.lane, expected=head, keep=keep, note=note):
                return head
            # Meanwhile it goes on, or has halted at another job.

    def _halted_at(self, lane: str) -> HaltedRecord | None:
        return next((each for each in self._storage().halted(self.name, _ALL) if each.lane == lane), None)

    def pause(self, key: str | None = None) -> None:
        """Let nothing further begin, in the whole queue or in one key's lane. What runs is not disturbed."""
        self._storage().pause(self.name, None if key is None else check_key(key))

    def resume(self, key: str | None = None) -> bool:
        """Undo `pause` of the same scope; False when it was not paused."""
        return self._storage().resume(self.name, None if key is None else check_key(key))

    def replay(
        self,
        ids: Sequence[str] | None = None,
        to: Literal["front", "tail"] = "front",
        *,
        dry_run: bool = False,
        force: bool = False,
    ) -> list[ReplayedJob]:
        """Bring dead letters back (None: all), lowest sequence first.

        To the `front` they keep their sequence and come before all waiting jobs of their key, behind one that
        has begun; to the `tail` they take a new one. `dry_run` changes nothing and returns what would happen.
        One round trip to look, and one per 100 jobs; a key with more than 100 is paused meanwhile. Raises
        `JobNotFound` for ids that are no dead letters, and `ReplayRefused` when a partial replay to the front
        would leave a lower dead job of the same key behind, unless `force`.
        """
        if to not in ("front", "tail"):
            raise BadOption("to", f'is "front" or "tail", got {to!r}')
        ids = None if ids is None else [check_id("ids", "a job's id", each) for each in ids]
        front = to == "front"
        records = {record.job.id: record for record in self._storage().dead(self.name, _ALL)}
        dead = [DeadJob(record.job.id, record.lane, record.job.seq) for record in records.values()]
        plan = plan_replay(dead, ids, front=front, force=force)
        seqs = {job.id: job.seq if front else None for job in plan}
        if not dry_run:
            started = perf_counter()
            seqs = {each.id: each.seq for each in self._bring_back(plan, front=front)}
            self._tell([records[job.id].job for job in plan if job.id in seqs], to, perf_counter() - started)
        return [
            ReplayedJob(
                id=job.id,
                key=key_shown(job.lane),
                task=task_named_in(records[job.id].job.body),
                was_seq=job.seq,
                seq=seqs[job.id],
            )
            for job in plan
            if job.id in seqs  # somebody else may have been faster
        ]

    def _tell(self, jobs: Sequence[StoredJob], to: str, seconds: float) -> None:
        if self._bus is not None and jobs:
            ids = tuple(job.id for job in jobs)
            headers = tuple(headers_in(job.body) for job in jobs)
            self._bus.emit(
                JobsReplayed(queue=self.name, job_ids=ids, headers=headers, to=to, seconds=seconds)
            )

    def _bring_back(self, plan: Sequence[DeadJob], *, front: bool) -> list[Replayed]:
        """Replay lane by lane, so that what is atomic in the store is whole lanes where they fit."""
        by_lane: dict[str, list[str]] = {}
        for job in plan:
            by_lane.setdefault(job.lane, []).append(job.id)
        done: list[Replayed] = []
        chunk: list[str] = []
        for lane, ids in by_lane.items():
            if len(ids) > MAX_APPEND_JOBS:
                done += self._bring_back_long(lane, ids, front=front)
                continue
            if len(chunk) + len(ids) > MAX_APPEND_JOBS:
                done += self._storage().replay(self.name, chunk, front=front)
                chunk = []
            chunk += ids
        return done + (self._storage().replay(self.name, chunk, front=front) if chunk else [])

    def _bring_back_long(self, lane: str, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """More of one lane than one step takes."""
        # order: between two steps a worker would run waiting jobs before dead ones that belong before them.
        was_paused = self._storage().pause(self.name, lane)
        try:
            done: list[Replayed] = []
            for start in range(0, len(ids), MAX_APPEND_JOBS):
                chunk = ids[start : start + MAX_APPEND_JOBS]
                done += self._storage().replay(self.name, chunk, front=front)
        finally:
            if not was_paused:
                self._storage().resume(self.name, lane)
        return done

    def purge(self, key: str | None = None) -> int:
        """End all waiting and scheduled jobs, of the whole queue or of one key, as cancelled; returns how
        many. What runs is left alone."""
        return self._storage().purge(self.name, dead=False, lane=None if key is None else check_key(key))

    def purge_dead(self, key: str | None = None) -> int:
        """Drop all dead letters, of the whole queue or of one key, for good; returns how many."""
        return self._storage().purge(self.name, dead=True, lane=None if key is None else check_key(key))

    def _not_halted(self, key: str | None) -> JobNotFound:
        lane = "the lane without a key" if key is None else f"key {key!r}"
        return JobNotFound(f"{lane} of queue {self.name} is not halted; halted() lists those that are")

    def _not_halted_at(self, expected: str | None, head: str, key: str | None) -> JobNotFound:
        lane = "the lane without a key" if key is None else f"key {key!r}"
        return JobNotFound(
            f"{lane} of queue {self.name} is not halted at {expected}: it stands at {head} now. Nothing was "
            "skipped; look at that job, then skip it by its id"
        )

    def __repr__(self) -> str:
        return f"<queue {self.name}>"


def _order(by: str) -> LaneOrder:
    try:
        return LaneOrder(by)
    except ValueError:
        raise BadOption("by", f"is one of {', '.join(LaneOrder)}, got {by!r}") from None


def _key_stats(lane: LaneStats) -> KeyStats:
    return KeyStats(
        key=key_shown(lane.lane),
        state=lane.state,
        depth=lane.depth,
        head=lane.head,
        head_age=lane.head_age,
        attempts=lane.attempts,
        oldest_age=lane.oldest_age,
        blocked=lane.blocked,
        owner=lane.owner,
    )


def _checked(limit: object, option: str = "limit") -> int:
    """A number of rows that both stores can count to."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 0 <= limit < 1 << 31:
        raise BadOption(option, f"is a whole number from 0 to {(1 << 31) - 1:,}, got {limit!r}")
    return limit
