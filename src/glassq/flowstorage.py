"""The part of the storage protocol that is about jobs which wait for others.

A job with `NewJob.after` is *deferred*: kept beside the lanes, as scheduled jobs are, until all its parents
have ended. Whoever ends a job (a settlement, `cancel`, `skip_lane`, `purge`), it is the end itself that lets
go the children in the same shard, in the same step, a hundred of them at most. Whoever else has to hear of
it, in other shards or beyond the hundred, is noted in the shard's *outbox* in the same step, and is told by
whoever relays:

    for each in outbox(queue), by the shard of each.to: deliver(that shard, those)
    delivered(queue, their numbers)

A delivery may be repeated, and an end may be delivered by several at once: each child is let go once. A
workflow's record lives in the shard that its id names (its home), which hears of the end of each of its jobs
in the same way.

A parent's end is *good* for a child when it succeeded, or when the edge says `EdgePolicy.RUN`. Any other end
cancels a child with `EdgePolicy.CANCEL`, which counts as settled then. When the end is not final (the parent
is a dead letter, or was itself cancelled because of one) such a child is kept: the replay of that dead letter
defers it anew, which counts as replayed, and a purge of it drops the child.

A job that is not there counts as ended. But the numbers of a producer ascend: where a parent has one beyond
the last that its producer was given, as far as the store knows that, and at least when it is the one that
appends, `append` or `follow` raise `JobNotFound`, and store nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from glassq.errors import JobNotFound
from glassq.model.edges import EdgePolicy
from glassq.model.flows import Delivered, Delivery, FlowRecord, Upstream
from glassq.model.jobs import JobState, NewJob

MAX_DELIVERIES = 100
"""What one `deliver` or `follow` takes at most, and how many children one step lets go."""

MAX_PARENTS = 10_000
"""What the jobs of one append may wait for, in all."""


def parents_of(jobs: Sequence[NewJob]) -> int:
    """How many parents the jobs of an append wait for; `ValueError` when that is more than one append takes,
    when one is due at a time, too, or waits for itself, a later one, or one twice."""
    count = 0
    for place, job in enumerate(jobs):
        if not job.after:
            continue
        count += len(job.after)
        if job.due is not None:
            raise ValueError("a job waits for others (after) or for a time (due), not both")
        if len({parent.job for parent in job.after}) < len(job.after):
            raise ValueError(f"job {place} of an append waits for one parent twice; name each once")
        for parent in job.after:
            if isinstance(parent.job, int) and not 0 <= parent.job < place:
                raise ValueError(
                    f"job {place} of an append may wait for jobs 0 to {place - 1} of it, not for {parent.job}"
                )
    if count > MAX_PARENTS:
        raise ValueError(f"the jobs of one append may wait for {MAX_PARENTS} others in all, got {count}")
    return count


def never_was(job_id: str, why: str = "its producer has not come so far") -> JobNotFound:
    """For a job that is to be waited for, and whose id was not given out."""
    return JobNotFound(f"depends_on: no job ever had the id {job_id!r}: {why}")


class FlowStorage(Protocol):
    """What a store can do for jobs that wait for others. One call is one round trip."""

    def follow(self, parent: str, children: Sequence[tuple[str, EdgePolicy]]) -> JobState | None:
        """Note that these jobs of other shards wait for `parent`. Comes after the append of them.

        Returns None while its end is, or will be, in its outbox: it is unsettled, or a dead letter (or
        cancelled because of one), whose replay will be there, too. Else how it ended for good, which the
        caller delivers to the children: succeeded unless a note of it is kept. May be repeated. At most
        `MAX_DELIVERIES` children (`ValueError` otherwise). Of edges inside a shard the append takes care.
        """
        ...

    def deliver(self, queue: str, deliveries: Sequence[Delivery]) -> Delivered:
        """Tell jobs and workflows of this shard how those ended that they have to hear of.

        When nothing is left to wait for, a child joins the tail of its lane and takes its `seq`, in the order
        of the deliveries; children of one parent in that of their appends. An end that the child does not
        wait for any more changes nothing. For a workflow, the outcome is noted in its record; with the last
        one it has ended, which is told in `Delivered.ended` or `Settled.ended`: once, by whichever call ended
        it, or by the next relay when that was one that does not tell (`cancel`, `skip_lane`, `purge`). At
        most `MAX_DELIVERIES` (`ValueError` otherwise).
        """
        ...

    def outbox(self, queue: str, limit: int = MAX_DELIVERIES) -> list[Delivery]:
        """What is to be delivered for jobs of this shard, the oldest first. Reads only."""
        ...

    def delivered(self, queue: str, numbers: Sequence[int]) -> None:
        """These of the outbox have been delivered. May be repeated."""
        ...

    def upstream(self, job_id: str) -> tuple[Upstream, ...]:
        """What those left that a job waited for, in the order of its `after`, without gates.

        Kept until the job is settled for good: through retries, and while it is a dead letter. Nothing for a
        job that waited for none. `StorageUnavailable` also where a job was run ahead of the settlement of the
        one before it, and that has not come. Reads only.
        """
        ...

    def open_flow(self, flow: str, *, name: str, total: int, body: bytes, keep_seconds: float) -> None:
        """Make the record of a workflow of `total` jobs, all of which name it (`NewJob.flow`).

        Outcomes that came before count; nothing when it is there already. It is kept for `keep_seconds` after
        the workflow's end.
        """
        ...

    def flow(self, flow: str) -> FlowRecord | None:
        """A workflow's record; None before it is opened and after it was dropped. Reads only."""
        ...

    def flow_outcomes(self, flow: str) -> dict[str, JobState]:
        """How the jobs of a workflow ended, by their ids; empty when it has no record. Reads only."""
        ...

    def cancel_flow(self, flow: str) -> bool:
        """Mark a workflow as cancelled, for its status; its jobs are cancelled one by one. False when it has
        ended, or there is none."""
        ...
