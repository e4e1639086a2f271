"""Which dead letters a replay brings back, and whether that would turn their order around."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from glassq.errors import JobNotFound, ReplayRefused


class DeadJob(msgspec.Struct, frozen=True):
    """What a replay needs to know of a dead letter."""

    id: str
    lane: str
    seq: int


def plan_replay(
    dead: Sequence[DeadJob], ids: Collection[str] | None, *, front: bool, force: bool
) -> list[DeadJob]:
    """The dead letters to bring back (`ids=None`: all), in ascending sequence.

    `JobNotFound` for an id that is none of them. `ReplayRefused` when a job would come to the front of its
    lane while a lower one of that lane stays dead: replaying that one later would put it behind its
    successors. `force` accepts this.
    """
    wanted = {job.id for job in dead} if ids is None else set(ids)
    unknown = wanted - {job.id for job in dead}
    if unknown:
        missing = ", ".join(sorted(unknown))
        raise JobNotFound(f"not among the dead letters: {missing}; see dead_letters() or `glassq dead list`")
    ordered = sorted(dead, key=lambda job: job.seq)
    chosen = [job for job in ordered if job.id in wanted]
    if front and not force:
        _refuse_inversion(ordered, chosen)
    return chosen


def _refuse_inversion(ordered: Sequence[DeadJob], chosen: Sequence[DeadJob]) -> None:
    lowest_left: dict[str, DeadJob] = {}
    taken = {job.id for job in chosen}
    for job in ordered:
        if job.id not in taken:
            lowest_left.setdefault(job.lane, job)
    for job in chosen:
        left = lowest_left.get(job.lane)
        if left is not None and left.seq < job.seq:
            raise ReplayRefused(job.id, left.id, left.seq)
