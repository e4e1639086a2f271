"""Nothing is lost: jobs (I1), dead letters (I9)."""

from __future__ import annotations

from collections import defaultdict

from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import Accepted, Facts, Settling
from glassq.testing.history.following import may_be_refused
from glassq.testing.history.report import Findings


def check_kept(facts: Facts, findings: Findings) -> None:
    """I1: every acknowledged job is settled, dead or still in; unless it was cancelled, purged or lost."""
    started = {start.id for starts in facts.starts.values() for start in starts}
    missing: dict[str, list[Accepted]] = defaultdict(list)
    known = {
        queue: {left.id for left in (*dump.unsettled, *dump.dead)} for queue, dump in facts.dumps.items()
    }
    for job in facts.accepted.values():
        if job.queue not in known:
            findings.note(f"I1, I9 and I10 were not checked for queue {job.queue}: there is no dump of it")
        elif not (job.id in known[job.queue] or _accounted_for(facts, job)):
            missing[job.queue].append(job)
    for queue, jobs in missing.items():
        stats = facts.dumps[queue].stats
        scheduled = int(stats.get("scheduled", 0)) + int(stats.get("deferred", 0))
        waiting = [job for job in jobs if job.seq is None and job.id not in started]
        explained = facts.purged(queue, dead=False)[1]
        explained += min(scheduled, len(waiting))
        explained += sum(1 for each in facts.skips if each.answer is None)
        if len(jobs) <= explained:
            continue
        others = (
            f"; {int(explained)} of {len(jobs)} were purged, are scheduled or deferred" if explained else ""
        )
        for job in jobs:
            what = f"{job.id} (seq {job.seq}) of queue {queue} was acknowledged and is gone{others}"
            findings.add("I1", what, job.line, facts.dumps[queue])


def _accounted_for(facts: Facts, job: Accepted) -> bool:
    """Whether a job that is not in the store any more may have left it rightly."""
    settled = any(
        each.final and not each.refused and (each.done is None or facts.stands(each))
        for each in facts.settlings_of.get(job.id, ())
    )
    gone = settled or job.id in facts.cancelled or not facts.survives(job)
    return gone or may_be_refused(facts, job.id)


# -- dead letters ------------------------------------------------------------------------------------


def check_dead(facts: Facts, findings: Findings) -> None:
    """I9: a buried job is a dead letter with all that it was; nothing else is."""
    last_start = {start.id: start for starts in facts.starts.values() for start in starts}
    for queue, dump in facts.dumps.items():
        dead = {each.id: each for each in dump.dead}
        for each in dump.dead:
            _same(facts, dump, each, last_start.get(each.id), findings)
        absent = [
            settlings[-1]
            for job_id, settlings in facts.settlings_of.items()
            if settlings[0].asked.queue == queue and job_id not in dead and _is_dead(facts, settlings)
        ]
        purged = facts.purged(queue, dead=True)[1]
        if len(absent) > purged:
            for settling in absent:
                what = f"{settling.asked.id} was buried and is no dead letter of queue {queue}"
                findings.add("I9", what, settling.answer, dump)


def _is_dead(facts: Facts, settlings: list[Settling]) -> bool:
    """Whether a job's last settlement surely buried it, and nobody can have replayed it since."""
    answered = [each for each in settlings if each.done is not None or each.answer is None]
    if not answered:
        return False
    last = answered[-1]
    replays = facts.replays_of.get(last.asked.id, ())
    return (
        last.asked.action == "bury"
        and facts.stands(last)
        and not any(each.ended >= last.asked.m for each in replays)
    )


def _same(
    facts: Facts, dump: kinds.Dump, dead: kinds.Dead, start: kinds.Start | None, findings: Findings
) -> None:
    """Each field is what the job was accepted with, or what it was buried with."""
    buried = [
        each
        for each in facts.settlings_of.get(dead.id, ())
        if each.asked.action == "bury" and not each.refused
    ]
    expected: dict[str, object] = {}
    job = facts.accepted.get(dead.id)
    if job is not None:
        expected = {"lane": job.lane, "level": job.level, "body": job.body}
        if job.seq is not None and not dead.replayed:
            expected["seq"] = job.seq
    if buried:
        asked = buried[-1].asked
        expected |= {"reason": asked.reason, "error": asked.error}
        if start is not None and asked.ran and start.token == asked.token:
            expected["attempts"] = start.attempt
    elif facts.history.complete:
        findings.add("I9", f"{dead.id} is a dead letter of queue {dump.queue} and nobody buried it", dump)
    for field, value in expected.items():
        found = getattr(dead, field)
        if found != value:
            what = f"the dead letter {dead.id} has {field} {found!r}, it was {value!r}"
            lines = [None if job is None else job.line, buried[-1].asked if buried else None, dump]
            findings.add("I9", what, *lines)
    if dead.buried_at <= 0 or dead.eligible_at <= 0:
        findings.add("I9", f"the dead letter {dead.id} has lost its times", dump)
