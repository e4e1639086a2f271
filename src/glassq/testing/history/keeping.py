"""Nothing is lost: jobs (I1), what a loss of data may take (I7), dead letters (I9), and the sums (I10)."""

from __future__ import annotations

from collections import Counter, defaultdict

from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import NEVER, Accepted, Facts, Settling
from glassq.testing.history.report import Findings

_GRAIN = 1e-6


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
        scheduled = int(facts.dumps[queue].stats["scheduled"])
        waiting = [job for job in jobs if job.seq is None and job.id not in started]
        explained = facts.purged(queue, dead=False)[1]
        explained += min(scheduled, len(waiting))
        explained += sum(1 for each in facts.skips if each.answer is None)
        if len(jobs) <= explained:
            continue
        others = f"; {int(explained)} of {len(jobs)} were purged or are scheduled" if explained else ""
        for job in jobs:
            what = f"{job.id} (seq {job.seq}) of queue {queue} was acknowledged and is gone{others}"
            findings.add("I1", what, job.line, facts.dumps[queue])


def _accounted_for(facts: Facts, job: Accepted) -> bool:
    """Whether a job that is not in the store any more may have left it rightly."""
    settled = any(
        each.final and not each.refused and (each.done is None or facts.stands(each))
        for each in facts.settlings_of.get(job.id, ())
    )
    return settled or job.id in facts.cancelled or not facts.survives(job)


# -- losses of data ----------------------------------------------------------------------------------


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
            _told(facts, queue, number, findings)
        _holes(facts, queue, findings)
    return losses


def _told(facts: Facts, queue: str, number: int, findings: Findings) -> None:
    """Every process that had been told of what is gone, and asked again, has reported it."""
    life = facts.lives[queue].all[number]
    knew: dict[int, tuple[float, kinds.Line]] = {}
    met: dict[int, tuple[float, kinds.Line]] = {}
    for its_life, line, seq, ordinal in _answers(facts, queue):
        file = line.file
        if its_life < number and (seq > life.seq or ordinal > life.settled):
            knew[file] = max(knew.get(file, (0.0, line)), (line.m, line), key=lambda each: each[0])
        elif its_life >= number:
            met[file] = min(met.get(file, (NEVER, line)), (line.m, line), key=lambda each: each[0])
    reports = [each for each in facts.history.of(kinds.LossTold) if each.queue == queue]
    for file in knew.keys() & met.keys():
        if knew[file][0] > met[file][0]:
            continue  # an answer that came late; this process was told of the new life before
        if not any(each.file == file and each.m >= knew[file][0] - _GRAIN for each in reports):
            what = f"queue {queue} lost what this process had been told of, and it reported nothing"
            findings.add("I7", what, knew[file][1], met[file][1])


def _answers(facts: Facts, queue: str) -> list[tuple[int, kinds.Line, int, int]]:
    """What processes were told: the life, the line, the highest seq and the ordinal in it."""
    highest: dict[int, tuple[int, kinds.Line, int, int]] = {}
    for job in facts.accepted.values():
        if job.queue == queue:
            known = highest.get(job.line.where, (job.life, job.line, 0, 0))
            highest[job.line.where] = (job.life, job.line, max(known[2], job.seq or 0), 0)
    answers = list(highest.values())
    answers.extend(
        (settling.life, settling.done, 0, settling.done.ordinal)
        for settling in facts.settlings
        if settling.asked.queue == queue and settling.done is not None
    )
    return answers


def _holes(facts: Facts, queue: str, findings: Findings) -> None:
    dump = facts.dumps.get(queue)
    if dump is None:
        return
    for left in (*dump.unsettled, *dump.dead):
        job = facts.accepted.get(left.id)
        if job is not None and job.seq is not None and not facts.survives(job):
            what = f"{left.id} (seq {job.seq}) is still in, though what was accepted before it was lost"
            findings.add("I7", what, job.line, dump)


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


# -- sums --------------------------------------------------------------------------------------------


def check_sums(facts: Facts, findings: Findings) -> None:
    """I10, in the store's own figures and against what was recorded."""
    for queue, dump in facts.dumps.items():
        stats = dump.stats
        settled: dict[str, int] = stats["settled"]
        left = sum(stats[state] for state in _STATES)
        came, went = stats["enqueued"] + stats["replayed"], sum(settled.values()) + left
        if came != went:
            what = f"queue {queue}: {came} came (enqueued and replayed), {went} are settled or left"
            findings.add("I10", what, dump)
        if left != len(dump.unsettled) + stats["scheduled"]:
            what = f"queue {queue}: {left} jobs are left by its figures, {len(dump.unsettled)} are there"
            findings.add("I10", f"{what} and {stats['scheduled']} scheduled", dump)
        if stats["dead_letters"] != len(dump.dead):
            what = (
                f"queue {queue}: {stats['dead_letters']} dead letters by its figures, {len(dump.dead)} there"
            )
            findings.add("I10", what, dump)
        if len(facts.lives[queue].all) == 1 and facts.history.complete:
            _against_history(facts, dump, findings)
    _strangers(facts, findings)


_STATES = ("ready", "leased", "waiting_retry", "halted", "paused", "scheduled", "deferred")
_SETTLED = {"ack": "succeeded", "bury": "buried", "expire": "expired", "cancel": "cancelled"}


def _against_history(facts: Facts, dump: kinds.Dump, findings: Findings) -> None:
    """Each figure is between what surely happened and what may have happened."""
    queue, stats = dump.queue, dump.stats
    accepted = sum(job.queue == queue for job in facts.accepted.values())
    _between(dump, "enqueued", stats["enqueued"], accepted, accepted + facts.uncertain[queue], findings)
    sure, perhaps = 0, 0
    for each in facts.replays:
        assert isinstance(each.asked, kinds.ReplayInvoked)  # noqa: S101
        if each.asked.queue == queue:
            sure += len(each.answer.jobs) if isinstance(each.answer, kinds.ReplayOk) else 0
            perhaps += 0 if each.answer else len(each.asked.ids)
    _between(dump, "replayed", stats["replayed"], sure, sure + perhaps, findings)
    surely, maybe = _settled(facts, queue)
    for action, name in _SETTLED.items():
        low = surely[action]
        _between(dump, name, stats["settled"][name], low, low + maybe[action], findings)


def _settled(facts: Facts, queue: str) -> tuple[Counter[str], dict[str, float]]:
    """Settlements per action: how many were done, and how many more may have been."""
    done: Counter[str] = Counter()
    groups: dict[tuple[str, int, str], bool] = {}
    for settling in facts.settlings:
        asked = settling.asked
        if asked.queue != queue or not settling.final or settling.refused:
            continue
        key = asked.id, asked.token, asked.action
        done[asked.action] += settling.done is not None
        groups[key] = groups.get(key, False) or settling.done is not None
    maybe: dict[str, float] = defaultdict(float)
    for (_, _, action), was_done in groups.items():
        maybe[action] += not was_done
    for steering in (*facts.cancels, *facts.skips):
        asked_line, answer = steering.asked, steering.answer
        of_queue = (
            asked_line.queue
            if isinstance(asked_line, kinds.SkipInvoked)
            else getattr(asked_line, "id", "").partition("/")[0]
        )
        if of_queue != queue:
            continue
        maybe["cancel"] += answer is None
        done["cancel"] += (isinstance(answer, kinds.CancelOk) and answer.result == "removed") or (
            isinstance(answer, kinds.SkipOk) and answer.id is not None
        )
    least, most = facts.purged(queue, dead=False)
    done["cancel"] += least
    maybe["cancel"] += most - least
    return done, maybe


def _between(dump: kinds.Dump, name: str, found: int, low: float, high: float, findings: Findings) -> None:
    if not low <= found <= high:
        right = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        findings.add("I10", f"queue {dump.queue}: {found} {name} in the store, {right} by the history", dump)


def _strangers(facts: Facts, findings: Findings) -> None:
    """Jobs that began and that nobody enqueued."""
    if not facts.history.complete:
        return
    strangers: dict[str, dict[str, kinds.Start]] = defaultdict(dict)
    for (queue, _), starts in facts.starts.items():
        for start in starts:
            if start.id not in facts.accepted:
                strangers[queue].setdefault(start.id, start)
    for queue, unknown in strangers.items():
        if len(unknown) > facts.uncertain[queue]:
            for start in unknown.values():
                what = f"{start.id} began, and no enqueuing of it was recorded"
                findings.add("I10", what, start)
