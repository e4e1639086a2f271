"""What a loss of data may take, and who has to tell of it (I7)."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import NEVER, Facts
from glassq.testing.history.lives import Seen, see
from glassq.testing.history.report import Findings

_TELLING = 0.05
"""Seconds a process has for its report: the thread that noticed need not be the one that asked next."""


def check_losses(facts: Facts, findings: Findings, *, expected: bool) -> int:
    """I7; returns how many losses there were.

    What is left must be a prefix: a job missing before the cut is found by I1, one left after it here.
    """
    losses = 0
    for queue, lives in facts.lives.items():
        jobs = [job for job in facts.accepted.values() if job.queue == queue]
        for number, life in enumerate(lives.all[1:], 1):
            losses += 1
            gone = [job for job in jobs if job.life < number and job.seq is not None and job.seq > life.seq]
            if not expected:
                what = (
                    f"queue {queue} went back to seq {life.seq}, and {len(gone)} acknowledged jobs were lost"
                )
                findings.add("I7", what, *(job.line for job in gone[:5]))
        _holes(facts, queue, findings)
    if facts.history.complete:
        _check_told(facts, findings)
    return losses


def _holes(facts: Facts, queue: str, findings: Findings) -> None:
    dump = facts.dumps.get(queue)
    if dump is None:
        return
    for left in (*dump.unsettled, *dump.dead):
        job = facts.accepted.get(left.id)
        if job is not None and job.seq is not None and not facts.survives(job):
            what = f"{left.id} (seq {job.seq}) is still in, though what was accepted before it was lost"
            findings.add("I7", what, job.line, dump)


# -- told ----------------------------------------------------------------------------------------------


class _Heard(msgspec.Struct, gc=False):
    """An answer that tells where a queue stands, and when its call was sent."""

    seen: Seen
    line: kinds.EnqueueOk | kinds.SettleOk


class _Due(msgspec.Struct, gc=False):
    """A loss that one process must have noticed: it was told `knew`, asked again, and was told `met`."""

    knew: _Heard
    met: _Heard


def _check_told(facts: Facts, findings: Findings) -> None:
    """Every process has reported each loss that it must have noticed: a report for each, none of them older
    than the call whose answer was lost."""
    reports: dict[tuple[int, str], list[float]] = defaultdict(list)
    for report in facts.history.of(kinds.LossTold):
        reports[report.file, report.queue].append(report.m)
    ends: dict[int, float] = {}
    for (file, queue), heard in _heard(facts).items():
        told = sorted(reports[file, queue])
        for each in reversed(_noticed(heard)):
            ends = ends or _ends(facts)
            if told and told[-1] >= each.knew.seen.asked:
                told.pop()
            elif ends[file] >= each.met.line.m + _TELLING:  # else it was perhaps killed before it could
                what = f"queue {queue} lost what this process had been told of, and it did not report that"
                findings.add("I7", what, each.knew.line, each.met.line)


def _heard(facts: Facts) -> dict[tuple[int, str], list[_Heard]]:
    """The answers each process had about each queue, as they came."""
    heard: dict[tuple[int, str], list[_Heard]] = defaultdict(list)
    for line in facts.history.of(kinds.EnqueueOk):
        if line.found is not None:
            call = facts.calls.get(line.call)
            seen = see(line.m if call is None else call.m, line)
            heard[line.file, line.queue].append(_Heard(seen, line))
    for settling in facts.settlings:
        answer = settling.answer
        if isinstance(answer, kinds.SettleOk) and answer.found is not None:
            heard[answer.file, answer.queue].append(_Heard(see(settling.asked.m, answer), answer))
    for of_file in heard.values():
        of_file.sort(key=lambda each: each.line.m)
    return heard


def _noticed(heard: list[_Heard]) -> list[_Due]:
    """Each loss between two answers, the second of which was asked for after the first had come. Others a
    process may take for answers that overtook each other, until it asks again."""
    due: list[_Due] = []
    known: _Heard | None = None
    began = float("-inf")
    for each in heard:
        if each.seen.asked <= began:
            continue  # a process takes nothing in that it asked for before it noticed a loss
        if known is None:
            known = each if each.seen.mark[0] else None
        elif _lost(known.seen, each.seen):
            if each.seen.asked > known.line.m:
                due.append(_Due(known, each))
                began = each.line.m
                known = each if each.seen.mark[0] else None
        elif each.seen.seq >= known.seen.seq and each.seen.ordinal >= known.seen.ordinal:
            known = each
    return due


def _lost(known: Seen, found: Seen) -> bool:
    """Whether an answer shows that something is gone that another one had told of."""
    if found.mark[0] != known.mark[0]:
        return True
    _, seq, _, settled, run, began_seq, began_settled = found.mark
    if run and known.mark[4] and run != known.mark[4]:
        seq, settled = began_seq, began_settled
    return known.seq > seq or known.ordinal > settled


def _ends(facts: Facts) -> dict[int, float]:
    """The time of the last line of each process."""
    ends: dict[int, float] = defaultdict(lambda: -NEVER)
    for line in facts.history.all():
        ends[line.file] = max(ends[line.file], line.m)
    return ends
