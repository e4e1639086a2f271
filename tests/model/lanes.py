"""What the model's queue is made of: lanes, their heads, and jobs on their way to them."""

from __future__ import annotations

import msgspec

from glassq.model.jobs import NewJob, StoredJob
from glassq.model.leases import ClaimCause, Owner
from glassq.model.stats import LaneState
from glassq.model.verdicts import Action

SECOND = 1_000_000
STILL = SECOND // 10
READY, HELD, WAITING, HALTED, PAUSED = (
    LaneState.READY,
    LaneState.LEASED,
    LaneState.WAITING_RETRY,
    LaneState.HALTED,
    LaneState.PAUSED,
)

OUTCOMES = {
    Action.ACK: "succeeded",
    Action.BURY: "buried",
    Action.EXPIRE: "expired",
    Action.CANCEL: "cancelled",
}


def micros(seconds: float) -> int:
    """Seconds as whole microseconds."""
    return round(seconds * SECOND)


class Head(msgspec.Struct):
    """What the first job of a lane has been through. A new head has been through nothing."""

    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    blocked_at: int | None = None
    unwanted: bool = False
    reason: str = ""
    error: bytes = b""


class Lane:
    """A lane that has jobs or is held. `until` is the end of the lease or of the wait, or since when it is
    halted; `current` is the job its holder runs; the one that has `begun` is overtaken by nothing. A holder
    may run so many jobs `ahead` of what was heard of it; `wishes` are those of them that are to be cancelled.
    Of each level the `jobs` are in their order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: list[StoredJob] = []
        self.state = READY
        self.until = self.token = self.graced = self.lease = self.change = 0
        self.owner: Owner | None = None
        self.cause = ClaimCause.READY
        self.current: str | None = None
        self.begun: str | None = None
        self.head = Head()
        self.ahead = 0
        self.wishes: list[str] = []

    def window(self, size: int) -> tuple[StoredJob, ...]:
        """What a worker is given: a begun head alone; else by level, then by seq."""
        begun = [job for job in self.jobs if job.id == self.begun]
        return tuple(begun or sorted(self.jobs, key=lambda job: -job.level)[:size])

    def find(self, job_id: str | None) -> StoredJob | None:
        """The unsettled job of this id."""
        return next((job for job in self.jobs if job.id == job_id), None)

    def of_level(self, level: int) -> list[StoredJob]:
        """The jobs of a level in their order."""
        return [job for job in self.jobs if job.level == level]

    def insert(self, job: StoredJob, behind: int) -> None:
        """Put a job behind so many of its level, and there before all of a higher seq."""
        later = next((each for each in self.of_level(job.level)[behind:] if each.seq > job.seq), None)
        self.jobs.insert(len(self.jobs) if later is None else self.jobs.index(later), job)

    def most_begun(self, level: int) -> int:
        """How many jobs of a level may have begun."""
        begun = self.find(self.begun)
        return self.ahead + 1 if self.ahead else int(begun is not None and begun.level == level)

    def left_alone(self) -> set[str | None]:
        """What runs, or may: nobody but the holder ends it."""
        near = [job.id for one in self.jobs for job in self.of_level(one.level)[: self.ahead + 1]]
        return {self.current, *(near if self.ahead else ())}

    def unbegin(self) -> None:
        """The head has not begun after all: it takes the place it would have."""
        head, self.begun = self.find(self.begun), None
        if head is not None:
            self.jobs.remove(head)
            self.insert(head, 0)

    def start(self, job: StoredJob | None) -> None:
        """Another job, or none, runs from now on."""
        if job is None or job.id != self.current:
            self.head = Head()
        self.current = self.begun = job.id if job else None


class Arrival(msgspec.Struct):
    """A job on its way to its lane."""

    due: int
    number: int
    id: str
    job: NewJob
