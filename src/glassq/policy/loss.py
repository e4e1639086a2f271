"""What two watermarks of a queue tell: whether its store lost what it had acknowledged."""

from __future__ import annotations

from typing import Literal

import msgspec

from glassq.model.watermarks import Counts, Watermark


class Loss(msgspec.Struct, frozen=True):
    """Data that is gone; the fields are those of `DataLossDetected`, the least that is certain."""

    kind: Literal["emptied", "rolled_back"]
    missing: int
    unsettled: int
    first_seq: int


def find_loss(acknowledged: Watermark, found: Watermark) -> Loss | None:
    """What was lost between an acknowledgement and a call that was sent after it; None when nothing was.

    The order matters: a call that was on its way already may find less than was acknowledged meanwhile.
    """
    had = acknowledged.counts
    if not acknowledged.incarnation:
        return None  # nothing was there to lose
    if found.incarnation != acknowledged.incarnation:
        # Settled jobs are over, whether their store remembers it or not.
        return Loss("emptied", max(0, had.enqueued - had.settled), 0, 1)
    kept = _kept(acknowledged, found)
    missing, unsettled = had.enqueued - kept.enqueued, had.settled - kept.settled
    if missing <= 0 and unsettled <= 0 and had.seq <= kept.seq:
        return None
    return Loss("rolled_back", max(0, missing), max(0, unsettled), kept.seq + 1)


def _kept(acknowledged: Watermark, found: Watermark) -> Counts:
    """What is certainly still there of what was acknowledged: all that is found, while the server runs on;
    what it began with, when it was started in between."""
    if found.run is None or acknowledged.run is None or found.run.id == acknowledged.run.id:
        return found.counts
    return found.run.counts


def later(known: Watermark, told: Watermark, *, restarted: bool) -> Watermark:
    """Both together: answers of several threads arrive in any order, and counters only grow. `restarted`:
    another thread has heard of a run of the server that the caller did not know of when it asked."""
    if not known.incarnation:
        return told
    if told.incarnation != known.incarnation:
        return known  # a thread's first call: which of the two came first is not known, the next one knows
    ours, theirs = known.counts, told.counts
    ahead = theirs.seq >= ours.seq and theirs.enqueued >= ours.enqueued and theirs.settled >= ours.settled
    if ahead and not restarted:
        return told  # as nearly always; the rest is for answers that overtook each other
    most = Counts(
        max(ours.seq, theirs.seq), max(ours.enqueued, theirs.enqueued), max(ours.settled, theirs.settled)
    )
    return Watermark(known.incarnation, most, known.run if restarted else told.run)
