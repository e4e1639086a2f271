"""What waiting for others means: jobs of two queues in plain Python, without lanes, leases or time.

A child is what its parents told it, at once and in all queues: stores that have to relay do so before they
are compared. A job that is gone for good counts as succeeded for whoever comes after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from glassq.model.edges import EdgePolicy
from glassq.model.jobs import JobState

DEFERRED, WAITING, DEAD = JobState.DEFERRED, JobState.READY, JobState.BURIED
SUCCEEDED, CANCELLED = JobState.SUCCEEDED, JobState.CANCELLED

Edges = dict[str, EdgePolicy]


class Job(msgspec.Struct):
    """One job. `told` is how those it waits for ended, `met` those it waits for no more; `state` is None when
    it is gone, or withdrawn: cancelled by what a replay may undo."""

    name: str
    queue: str
    lane: str
    after: Edges
    flow: bool
    state: JobState | None = DEFERRED
    withdrawn: bool = False
    outcome: JobState | None = None
    final: bool = False
    told: dict[str, tuple[JobState, bool]] = {}
    met: set[str] = set()

    @property
    def gone(self) -> bool:
        """Whether it is settled for good."""
        return self.state is None and not self.withdrawn

    def refused(self) -> list[bool]:
        """Of the ends that keep it from running, whether they are final."""
        return [
            final
            for parent, (_, final) in self.told.items()
            if parent not in self.met and self.after[parent] is EdgePolicy.CANCEL
        ]


class Flows:
    """All jobs there ever were, by name, in the order of their appends."""

    def __init__(self, queues: Sequence[str]) -> None:
        self.jobs: dict[str, Job] = {}
        self.enqueued = dict.fromkeys(queues, 0)
        self.replayed = dict.fromkeys(queues, 0)
        self.settled = {queue: Counter[str]() for queue in queues}
        self.outcomes: dict[str, JobState] = {}

    # -- verbs ---------------------------------------------------------------------------------------------

    def append(self, job: Job) -> None:
        """It hears at once of whoever has ended already."""
        self.jobs[job.name] = job
        self.enqueued[job.queue] += 1
        for parent in job.after:
            ended = self.jobs[parent]
            if ended.gone:
                self._tell(job, parent, SUCCEEDED, final=True)
            elif ended.outcome is not None and not job.gone:
                self._tell(job, parent, ended.outcome, final=ended.final)
        if not job.after:
            job.state = WAITING

    def end(self, name: str, outcome: JobState) -> None:
        """A settlement, a cancellation: the job is a dead letter, or gone."""
        job = self.jobs[name]
        self.settled[job.queue][outcome] += 1
        job.state = DEAD if outcome is DEAD else None
        self._ended(job, outcome, final=outcome is not DEAD)

    def replay(self, names: Sequence[str]) -> None:
        """Dead letters are unsettled again."""
        for job in [self.jobs[name] for name in names]:
            job.state = WAITING
            self.replayed[job.queue] += 1
            self._ended(job, None, final=False)

    def purge(self, queue: str, *, dead: bool) -> int:
        """Dead letters are gone for good; or all that waits is cancelled, before anybody hears of it."""
        states = (DEAD,) if dead else (DEFERRED, WAITING)
        found = [job for job in self.jobs.values() if job.queue == queue and job.state in states]
        for job in found:
            job.state = None
        for job in found:
            outcome = DEAD if dead else CANCELLED
            self.settled[queue][CANCELLED] += not dead
            self._note(job, outcome, final=True)
        for job in found:
            self._spread(job)
        return len(found)

    # -- what follows --------------------------------------------------------------------------------------

    def _ended(self, job: Job, outcome: JobState | None, *, final: bool) -> None:
        self._note(job, outcome, final=final)
        self._spread(job)

    def _note(self, job: Job, outcome: JobState | None, *, final: bool) -> None:
        job.outcome, job.final = outcome, final
        if job.flow and outcome is None:
            self.outcomes.pop(job.name, None)
        elif job.flow and outcome is not None:
            self.outcomes[job.name] = outcome

    def _spread(self, job: Job) -> None:
        for child in list(self.jobs.values()):
            waits = child.state is DEFERRED or child.withdrawn
            if waits and job.name in child.after and job.name not in child.met:
                self._tell(child, job.name, job.outcome, final=job.final)

    def _tell(self, child: Job, parent: str, outcome: JobState | None, *, final: bool) -> None:
        if outcome is None:
            child.told.pop(parent, None)
        else:
            child.told[parent] = (outcome, final)
            if outcome is SUCCEEDED or child.after[parent] is EdgePolicy.RUN:
                child.met.add(parent)
        self._decide(child)

    def _decide(self, child: Job) -> None:
        refused = child.refused()
        if refused:
            self._refuse(child, final=any(refused))
            return
        if child.withdrawn:
            child.withdrawn, child.state = False, DEFERRED
            self.replayed[child.queue] += 1
            self._ended(child, None, final=False)
        if child.state is DEFERRED and len(child.met) == len(child.after):
            child.state = WAITING

    def _refuse(self, child: Job, *, final: bool) -> None:
        if child.state is DEFERRED:
            self.settled[child.queue][CANCELLED] += 1
        elif not final:
            return
        child.state, child.withdrawn = None, not final
        self._ended(child, CANCELLED, final=final)

    # -- looking -------------------------------------------------------------------------------------------

    def in_state(self, *states: JobState | None, queue: str | None = None) -> Iterator[Job]:
        """Jobs that are where one of these says."""
        return (job for job in self.jobs.values() if job.state in states and queue in (None, job.queue))

    def upstream(self, name: str) -> list[tuple[str, JobState]]:
        """What those left that a job waited for."""
        job = self.jobs[name]
        return [(parent, job.told[parent][0]) for parent in job.after if parent in job.told]
