"""Jobs that wait for others begin after these have ended (I11)."""

from __future__ import annotations

from glassq.model.edges import EdgePolicy
from glassq.model.names import is_gate, queue_of
from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import Facts
from glassq.testing.history.report import Findings

_GRAIN = 1e-6
"""Times are written down rounded; closer ones are taken for the same moment."""


def check_waits(facts: Facts, findings: Findings) -> None:
    """I11: when a job begins, each it waits for may have ended: a settlement of it was sent, or somebody took
    it out."""
    if not (facts.after and facts.history.one_clock):
        return
    begun: set[str] = set()
    for starts in facts.starts.values():
        for start in starts:
            if start.id in begun:
                continue
            begun.add(start.id)
            for parent, _ in facts.after.get(start.id, ()):
                if not (is_gate(parent) or _may_have_ended(facts, parent, start.m + _GRAIN)):
                    line = facts.accepted[parent].line
                    findings.add("I11", f"{start.id} began before {parent} had ended", line, start)


def _may_have_ended(facts: Facts, job_id: str, at: float) -> bool:
    job = facts.accepted.get(job_id)
    if job is None or not facts.survives(job) or taken_out(facts, job_id) or may_be_refused(facts, job_id):
        return True
    settled = facts.settlings_of.get(job_id, ())
    return any(each.final and not each.refused and each.asked.m <= at for each in settled)


def taken_out(facts: Facts, job_id: str) -> bool:
    """Whether somebody took a job out, or may have."""
    queue = queue_of(job_id)
    return (
        job_id in facts.cancelled
        or facts.purged(queue, dead=False)[1] > 0
        or any(
            isinstance(each.asked, kinds.SkipInvoked) and each.asked.queue == queue and each.answer is None
            for each in facts.skips
        )
    )


def may_be_refused(facts: Facts, job_id: str) -> bool:
    """Whether the failure of a job that this one waits for may have cancelled it."""
    looked, left = set[str](), [job_id]
    while left:
        for parent, policy in facts.after.get(left.pop(), ()):
            if policy != EdgePolicy.CANCEL or parent in looked:
                continue
            looked.add(parent)
            left.append(parent)
            failed = any(
                each.final and not each.refused and each.asked.action != "ack"
                for each in facts.settlings_of.get(parent, ())
            )
            if failed or taken_out(facts, parent):
                return True
    return False
