"""What the verbs mean over several queues: each is a model of its own, and a call is about some of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from glassq.model.jobs import Appended, Cancellation, JobRecord, NewJob
from glassq.model.leases import Claimed, Lease, Owner, Renewed, Settled, Settlement
from glassq.model.names import queue_of
from glassq.model.watermarks import Counts, Watermark
from tests.model import picture
from tests.model.model import Model
from tests.model.workers import Workers

LIFE = "the life it has had from the first"
"""Stands for the name of a queue's life, which is free: that it stays the same is not."""


class World:
    """All queues of a store. Free: a call about several of them happens whole or not at all in each, and when
    one refuses it, so may the others or not. No such call is made here."""

    def __init__(self, names: Sequence[str], *, runs_ahead: bool = False) -> None:
        self.queues = {name: Model(name, runs_ahead=runs_ahead) for name in names}
        self.workers = Workers()

    def mark(self, queue: str) -> Watermark:
        """How far a queue has come; nothing of one that was never paused nor anything put into."""
        model = self.queues[queue]
        if not model.exists:
            return Watermark()
        return Watermark(LIFE, Counts(model.seq, model.enqueued, model.settled.total()))

    def marks(self, queues: Iterable[str]) -> dict[str, Watermark]:
        """How far each of them has come."""
        return {queue: self.mark(queue) for queue in queues}

    def left(self) -> int:
        """All unsettled jobs."""
        return sum(model.left() for model in self.queues.values())

    def names(self) -> list[str]:
        """The queues that are listed."""
        return sorted(name for name, model in self.queues.items() if model.exists)

    # -- producing ---------------------------------------------------------------------------------------

    def append(
        self, now: int, queue: str, names: Sequence[str], jobs: Sequence[NewJob], limit: int | None
    ) -> list[Appended]:
        """Each answer tells what the call found, under the name of the life it may itself have begun."""
        found = Watermark(LIFE, self.mark(queue).counts)
        answers = self.queues[queue].append(now, names, jobs, limit)
        return [msgspec.structs.replace(answer, found=found) for answer in answers]

    # -- working -----------------------------------------------------------------------------------------

    def report(self, now: int, owner: Owner, queues: Sequence[str]) -> dict[str, Watermark]:
        """A heartbeat is seen by each queue, and is no renewal."""
        found = self.marks(queues)
        for queue in queues:
            self.queues[queue].touch(now)
        self.workers.report(now, owner, queues)
        return found

    def claim(
        self, now: int, owner: Owner, queues: Sequence[str], lanes: int, window: int, lease: int
    ) -> Claimed:
        """One queue after the other, each giving what the earlier ones left room for. Those that come too
        late are brought up to date all the same."""
        found, claims, room = self.marks(queues), list[Claimed](), lanes
        for queue in queues:
            claims.append(self.queues[queue].claim(now, owner, room, window, lease))
            room -= len(claims[-1].grants)
        return Claimed(
            grants=tuple(grant for each in claims for grant in each.grants),
            now=claims[-1].now,
            others={queue: ready for each in claims for queue, ready in each.others.items()},
            next_due=min((each.next_due for each in claims if each.next_due is not None), default=None),
            found=found,
        )

    def held(self, owner: Owner, lease: Lease) -> bool:
        """Whether this owner holds the lane under this very token."""
        return self.queues[lease.queue].held(owner, lease) is not None

    def refusing(self, owner: Owner, whats: Sequence[Settlement]) -> str | None:
        """The queue that would refuse its part of a call, if one does."""
        return next(
            (what.lease.queue for what in whats if self.queues[what.lease.queue].refuses(owner, what)), None
        )

    def settle(self, now: int, owner: Owner, whats: Sequence[Settlement]) -> list[Settled]:
        """Each answer tells where its queue stood before the call."""
        found = self.marks({what.lease.queue for what in whats})
        answers: dict[Lease, Settled] = {}
        for queue, mark in found.items():
            chosen = [what for what in whats if what.lease.queue == queue]
            for what, answer in zip(chosen, self.queues[queue].settle(now, owner, chosen), strict=True):
                answers[what.lease] = msgspec.structs.replace(answer, found=mark)
        return [answers[what.lease] for what in whats]

    def renew(self, now: int, owner: Owner, leases: Sequence[Lease], length: int) -> Renewed:
        """Also tells of queues in which every lease is lost."""
        found = self.marks({lease.queue for lease in leases})
        answers = [
            self.queues[queue].renew(now, owner, [each for each in leases if each.queue == queue], length)
            for queue in found
        ]
        return Renewed(
            frozenset().union(*(answer.lost for answer in answers)),
            frozenset().union(*(answer.cancelled for answer in answers)),
            found,
        )

    def release(self, now: int, owner: Owner, leases: Sequence[Lease], *, front: bool) -> None:
        """In each queue by itself."""
        for queue in {lease.queue for lease in leases}:
            mine = [lease for lease in leases if lease.queue == queue]
            self.queues[queue].release(now, owner, mine, front=front)

    # -- people ------------------------------------------------------------------------------------------

    def cancel(self, now: int, job_id: str) -> Cancellation | None:
        """An id names its queue."""
        return self.queues[queue_of(job_id)].cancel(now, job_id)

    def find(self, job_id: str) -> JobRecord | None:
        """As for `cancel`."""
        return picture.find(self.queues[queue_of(job_id)], job_id)
