"""What all verbs of the model share: time, jobs on their way to their lanes, lanes that become ready or
nobody's, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf

from glassq.errors import QueueFull
from glassq.model.jobs import Appended, Disposition, NewJob, StoredJob
from glassq.model.leases import ClaimCause
from glassq.model.stats import LaneState
from glassq.storage import DeadRecord
from tests.model.lanes import HELD, OUTCOMES, READY, SECOND, STILL, WAITING, Arrival, Lane, micros


class Queue:
    """One queue, before anybody works or steers. Every verb takes the time at which it happens."""

    def __init__(self, queue: str, *, runs_ahead: bool = False) -> None:
        self.queue = queue
        self.runs_ahead = runs_ahead
        self.granted = 0  # wishes, so far
        self.exists = False  # since something was put into it, or it was paused
        self.seen: int | None = None
        self.lanes: dict[str, Lane] = {}
        self.ready: list[str] = []  # lanes that would be served but for a pause, the next one first
        self.scheduled: list[Arrival] = []
        self.dead: dict[str, DeadRecord] = {}
        self.known: dict[str, tuple[Appended, float]] = {}  # by deduplication id: the answer, until when
        self.paused: set[str | None] = set()  # None is the whole queue
        self.token = self.tokens = self.seq = self.enqueued = self.replayed = self.settled_at = 0
        self.settled = Counter(dict.fromkeys(OUTCOMES.values(), 0))

    # -- time ----------------------------------------------------------------------------------------------

    def time(self, now: int) -> int:
        """A step back of under a tenth of a second is none: time stands still until it is there again."""
        return self.seen if self.seen is not None and now < self.seen < now + STILL else now

    def touch(self, now: int) -> int:
        """Rule D, in every verb that writes. A clock that was set back takes every lease and wait with it.
        A jump (over a second back, or over a lease forward: perhaps the store was away) gives each holder one
        fresh lease, once until it renews."""
        now = self.time(now)
        if not self.exists:
            return now  # nothing is kept of a queue that is none yet
        step = 0 if self.seen is None else now - self.seen
        self.seen = now
        for lane in self.in_state(HELD, WAITING):
            lane.until += min(step, 0)
        for lane in self.in_state(HELD):
            if (step < -SECOND or step > lane.lease) and lane.graced != lane.token:
                lane.until, lane.graced = now + lane.lease, lane.token
        return now

    def in_state(self, *states: LaneState) -> list[Lane]:
        """Lanes by what their state makes them wait for, then by name."""
        found = [lane for lane in self.lanes.values() if lane.state in states]
        return sorted(found, key=lambda lane: (lane.until, lane.name))

    # -- producing -----------------------------------------------------------------------------------------

    def append(
        self, now: int, names: Sequence[str], jobs: Sequence[NewJob], limit: int | None
    ) -> list[Appended]:
        """All or none: a job is a duplicate, or takes its seq, or waits until it is due."""
        answers: list[Appended | None] = []
        now = self.time(now)
        known, arrived, later, seq = dict(self.known), list[Arrival](), list[Arrival](), self.seq
        for name, job in zip(names, jobs, strict=True):
            twin, until = known.get(job.dedup.id, (None, 0)) if job.dedup else (None, 0)
            if twin and until > now:
                answers.append(Appended(twin.id, twin.seq, Disposition.DUPLICATE))
                continue
            due = now if job.due is None else micros(job.due) + (0 if job.due_is_time else now)
            entry = Arrival(max(due, now), self.enqueued + len(arrived) + len(later), name, job)
            (later if due > now else arrived).append(entry)
            answer = Appended(name, None if due > now else seq + len(arrived))
            answers.append(answer)
            if job.dedup:
                lasts = inf if job.dedup.window is None else now + micros(job.dedup.window)
                # What is seen to be over is over, also when the clock is set back afterwards.
                known = {mark: each for mark, each in known.items() if each[1] > now}
                known[job.dedup.id] = answer, lasts
        fresh = len(arrived) + len(later)
        if limit is not None and fresh and self.left() + fresh > limit:
            raise QueueFull(self.left(), limit)
        self.exists = True
        now = self.touch(now)
        self.known = known
        self.enqueued += fresh
        self.scheduled += later
        self.arrive(arrived)
        return [answer for answer in answers if answer]

    def arrive(self, entries: Sequence[Arrival]) -> None:
        """O1, O6: jobs take their seqs and join the tails of their lanes; an idle lane becomes ready. A
        window is stale when a job it shows is overtaken."""
        best: dict[str, int] = {}
        for entry in entries:
            best[entry.job.lane] = max(entry.job.level, best.get(entry.job.lane, 0))
        for name, level in best.items():
            lane = self.lane(name)
            lane.change += any(job.level < level for job in lane.jobs)
        for entry in entries:
            self.seq += 1
            ttl = entry.job.ttl
            self.lanes[entry.job.lane].jobs.append(
                StoredJob(
                    id=entry.id,
                    seq=self.seq,
                    level=entry.job.level,
                    body=entry.job.body,
                    eligible_at=entry.due / SECOND,
                    expires_at=None if ttl is None else (entry.due + micros(ttl)) / SECOND,
                )
            )

    # -- lanes ---------------------------------------------------------------------------------------------

    def lane(self, name: str) -> Lane:
        """The lane of this name; one that was idle is ready from now on, behind the others."""
        if name not in self.lanes:
            self.lanes[name] = Lane(name)
            self.ready.append(name)
        return self.lanes[name]

    def give_up(self, lane: Lane, *, at_front: bool) -> None:
        """Nobody's from now on, with its head as it is; a lane without jobs leaves nothing behind."""
        if not lane.jobs:
            del self.lanes[lane.name]
            self.ready = [name for name in self.ready if name != lane.name]
            return
        lane.state, lane.owner, lane.current, lane.ahead = READY, None, None, 0
        self.ready.insert(0 if at_front else len(self.ready), lane.name)

    def vacate(self, lane: Lane, *, at_front: bool) -> None:
        """Nobody's from now on, with a head that is new."""
        self.ready = [name for name in self.ready if name != lane.name]
        lane.unbegin()
        lane.start(None)
        lane.cause = ClaimCause.READY
        self.give_up(lane, at_front=at_front)

    def stopped(self, name: str) -> bool:
        """Whether nothing of this lane may begin."""
        return None in self.paused or name in self.paused

    def others(self) -> bool:
        """Whether a lane waits for a worker."""
        return any(not self.stopped(name) for name in self.ready)

    # -- counts --------------------------------------------------------------------------------------------

    def grant_wishes(self, now: int, lane: Lane) -> None:
        """The holder was heard of, or is gone: nothing has begun but the current job. Others that are wished
        away go."""
        wished, lane.wishes = lane.wishes, []
        for job in [job for job in lane.jobs if job.id in wished and job.id != lane.current]:
            self.remove(now, lane, job, "cancelled")
            self.granted += 1

    def remove(self, now: int, lane: Lane, job: StoredJob, outcome: str) -> None:
        """A job leaves its lane for good."""
        lane.jobs.remove(job)
        self.count(now, [job.id], outcome)

    def count(self, now: int, ids: Sequence[str], outcome: str) -> None:
        """Jobs are settled; what they were to be unique for is free again."""
        self.settled[outcome] += len(ids)
        self.settled_at = now if ids else self.settled_at
        for mark, (answer, until) in list(self.known.items()):
            if until == inf and answer.id in ids:
                del self.known[mark]

    def left(self) -> int:
        """All unsettled jobs, scheduled ones too."""
        return len(self.scheduled) + sum(len(lane.jobs) for lane in self.lanes.values())
