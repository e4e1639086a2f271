"""What two watermarks of a queue tell: whether its store lost what it had acknowledged."""

from __future__ import annotations

from typing import Literal

import msgspec

from glassq.model.watermarks import Counts, Run, Watermark


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
    if found.run is None or _same_run(acknowledged, found):
        return found.counts
    return found.run.counts


def take_in(
    known: Watermark, before: Watermark, found: Watermark, left: Watermark
) -> tuple[Loss | None, Watermark]:
    """What an answer says, and what is known with it. `known` is what all threads were told so far, `before`
    what of that was told when this call was sent; it found the queue so and left it so."""
    run, incarnation = found.run, found.incarnation
    if run is known.run is before.run and incarnation == known.incarnation == before.incarnation:
        # As nearly always: one life and one run, which have the same names in all answers. Asked for after
        # each job, so with no call more than it takes: have counters grown?
        now, then, after, had = found.counts, before.counts, left.counts, known.counts
        if (
            now.settled >= then.settled
            and after.settled >= had.settled
            and now.seq >= then.seq
            and after.seq >= had.seq
            and now.enqueued >= then.enqueued
            and after.enqueued >= had.enqueued
        ):
            return None, left
    if known.incarnation == found.incarnation:
        # Whatever a run of the server acknowledged came before the next one, whenever calls were sent.
        if _began_later(found.run, known.run):
            return find_loss(known, found), left
        if _began_later(known.run, found.run):
            return find_loss(left, known), known
    loss = find_loss(before, found)
    return loss, left if loss else later(known, left, overtaken=known.run != before.run)


def later(known: Watermark, told: Watermark, *, overtaken: bool) -> Watermark:
    """Both together: answers of several threads arrive in any order, and counters only grow. `overtaken`:
    another thread has heard of a run of the server that the caller did not know of when it asked."""
    if not known.incarnation:
        return told
    if told.incarnation != known.incarnation:
        return known  # a thread's first call: which of the two came first is not known, the next one knows
    if overtaken and not _same_run(known, told):
        return known  # the same of two runs: what one acknowledged must not be held against the other
    if _reaches(told.counts, known.counts):
        return told  # as nearly always; the rest is for answers that overtook each other
    ours, theirs = known.counts, told.counts
    most = Counts(
        max(ours.seq, theirs.seq), max(ours.enqueued, theirs.enqueued), max(ours.settled, theirs.settled)
    )
    return Watermark(known.incarnation, most, told.run)


def _began_later(run: Run | None, other: Run | None) -> bool:
    """Whether one run of a server certainly began after another: the queue had come further by then. While
    nothing is lost counters only grow; where they say nothing, neither does this."""
    if run is None or other is None or run.id == other.id or run.counts == other.counts:
        return False
    return _reaches(run.counts, other.counts)


def _reaches(counts: Counts, others: Counts) -> bool:
    """Whether these are nowhere behind others."""
    return (
        counts.seq >= others.seq and counts.enqueued >= others.enqueued and counts.settled >= others.settled
    )


def _same_run(one: Watermark, other: Watermark) -> bool:
    return one.run is None or other.run is None or one.run.id == other.run.id
