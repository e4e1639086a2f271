"""Order: of acceptance (I8), of first starts (I2), of settlements (I3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from glassq.testing.history.facts import Accepted, Facts, LaneName, Settling
from glassq.testing.history.holders import Holders
from glassq.testing.history.lines import Start
from glassq.testing.history.report import Findings

_GRAIN = 1e-6
"""Times are written down rounded; closer ones are taken for the same moment."""


def check_acceptance(facts: Facts, findings: Findings) -> None:
    """I8: an enqueue that returned before another was called has the lower seq; batches are contiguous."""
    by_life: dict[tuple[str, int], list[Accepted]] = defaultdict(list)
    for job in facts.accepted.values():
        if job.seq is not None:
            by_life[job.queue, job.life].append(job)
    for jobs in by_life.values():
        _unique(jobs, findings)
        _contiguous(jobs, findings)
        if facts.history.one_clock:
            _ascending(jobs, findings)
    _unchanged(facts, findings)


def _unique(jobs: list[Accepted], findings: Findings) -> None:
    owners: dict[int, Accepted] = {}
    for job in jobs:
        assert job.seq is not None  # noqa: S101
        other = owners.setdefault(job.seq, job)
        if other is not job:
            what = f"{job.id} and {other.id} of queue {job.queue} were both given seq {job.seq}"
            findings.add("I8", what, other.line, job.line)


def _contiguous(jobs: Iterable[Accepted], findings: Findings) -> None:
    last: Accepted | None = None
    for job in jobs:  # in the order of the answers, each of which is in the order of its jobs
        if last is not None and last.line is job.line and job.seq != (last.seq or 0) + 1:
            what = f"{job.id} has seq {job.seq} right after {last.id} with seq {last.seq} in one append"
            findings.add("I8", what, job.line)
        last = job


def _ascending(jobs: list[Accepted], findings: Findings) -> None:
    by_answer = sorted(jobs, key=lambda job: job.line.m)
    highest: Accepted | None = None
    position = 0
    for job in sorted(jobs, key=lambda job: job.asked):
        while position < len(by_answer) and by_answer[position].line.m < job.asked - _GRAIN:
            known = by_answer[position]
            if highest is None or (known.seq or 0) > (highest.seq or 0):
                highest = known
            position += 1
        if highest is not None and (job.seq or 0) < (highest.seq or 0):
            what = (
                f"{job.id} was enqueued after {highest.id} had been acknowledged with seq {highest.seq}, "
                f"and was given seq {job.seq}"
            )
            findings.add("I8", what, highest.line, job.line)


def _unchanged(facts: Facts, findings: Findings) -> None:
    """A job starts with the seq, lane and level it was accepted with."""
    for (_, lane), starts in facts.starts.items():
        for start in starts:
            job = facts.accepted.get(start.id)
            if job is None or start.replayed:
                continue
            if len(facts.lives[start.queue].all) > 1 and job.seq != start.seq:
                continue  # it was accepted twice: a call is repeated when its store lost the first
            was, is_now = (job.seq, job.lane, job.level), (start.seq, lane, start.level)
            if (job.seq is not None and was != is_now) or was[1:] != is_now[1:]:
                what = f"{start.id} was accepted as (seq, lane, level) {was} and started as {is_now}"
                findings.add("I8", what, job.line, start)


# -- first starts ------------------------------------------------------------------------------------


def check_starts(facts: Facts, holders: Holders, findings: Findings) -> None:
    """I2: first starts ascend per lane and level; a begun head is not overtaken by its lane."""
    if not facts.history.complete:
        findings.note(
            "I2 was not checked: a start may be missing, and the next one would look like the first"
        )
        return
    for lane, starts in facts.starts.items():
        _first_starts(facts, starts, findings)
        _begun_heads(facts, holders, lane, starts, findings)
    _left_behind(facts, holders, findings)


def _life_of(facts: Facts, job_id: str, queue: str, seq: int) -> int | None:
    """The life in which a job got this seq, where that is certain: a call that is repeated after a loss, or a
    scheduled job that outlives one, gets its seq in a later life than the one it was first known in."""
    if len(facts.lives[queue].all) == 1:
        return 0
    job = facts.accepted.get(job_id)
    return job.life if job is not None and job.seq == seq else None


def _first_starts(facts: Facts, starts: list[Start], findings: Findings) -> None:
    begun: set[str] = set()
    highest: dict[int, tuple[tuple[int, int], Start]] = {}
    for start in starts:
        if start.id in begun or start.replayed:
            continue
        begun.add(start.id)
        life = _life_of(facts, start.id, start.queue, start.seq)
        if life is None:
            continue
        place = (life, start.seq)
        known = highest.get(start.level)
        if known is not None and place < known[0]:
            what = (
                f"{start.id} (seq {start.seq}) of lane {start.lane!r}, level {start.level}, began first "
                f"after {known[1].id} (seq {known[1].seq}) had begun"
            )
            findings.add("I2", what, known[1], start)
        else:
            highest[start.level] = (place, start)


def _begun_heads(
    facts: Facts, holders: Holders, lane: LaneName, starts: list[Start], findings: Findings
) -> None:
    head: Start | None = None
    gone_back: dict[str, Start] = {}
    for start in starts:
        if start.where in facts.late:
            continue
        gone_back.pop(start.id, None)
        overtaken = [each for each in gone_back.values() if _comes_before(each, start)]
        if head is not None and head.id != start.id:
            if _ran_ahead(facts, head, start.id):
                gone_back[head.id] = head
            else:
                overtaken.append(head)
        for each in overtaken:
            if not _may_be_over(facts, lane, each, start) and not holders.unaware(each, start.m):
                what = f"{start.id} began in lane {lane[1]!r} while {each.id} had begun and was not settled"
                findings.add("I2", what, each, start)
            gone_back.pop(each.id, None)
        head = start


def _comes_before(waiting: Start, start: Start) -> bool:
    """Whether a job is in its lane before one that begins. One that went back has not begun for its store,
    which may give a higher level the turn."""
    is_placed = not (waiting.replayed or start.replayed)
    return is_placed and waiting.level == start.level and waiting.seq < start.seq


def _ran_ahead(facts: Facts, head: Start, job_id: str) -> bool:
    """Whether a head began when this job's settlement had been sent, of which nothing came: the job is still
    before it in their lane. The head's own settlement was perhaps never sent: it may wait for that answer."""
    return any(
        settling.final and settling.done is None and settling.asked.m <= head.m + _GRAIN
        for settling in facts.settlings_in.get((head.queue, head.lane, head.token), ())
        if settling.asked.id == job_id
    )


def _may_be_over(facts: Facts, lane: LaneName, head: Start, start: Start) -> bool:
    """Whether a head may have been ended, or forgotten by its store, before another job began."""
    for settling in facts.settlings_of.get(head.id, ()):
        # Its answer need not have come: the same lease holder may go on once it is sent.
        if settling.final and not settling.refused and settling.asked.m <= start.m + _GRAIN:
            return True
    job, lives = facts.accepted.get(head.id), facts.lives[lane[0]]
    return (
        head.id in facts.cancelled
        or facts.skipped_perhaps(lane)
        or facts.purged(lane[0], dead=False)[1] > 0
        or (job is not None and not facts.survives(job))
        or lives.broken_between(head.m, start.m)
        or (job is None and len(lives.all) > 1)
    )


def _left_behind(facts: Facts, holders: Holders, findings: Findings) -> None:
    """A job still in its lane is not older than one of the same lane and level that has begun."""
    for queue, dump in facts.dumps.items():
        begun: dict[tuple[str, int], tuple[tuple[int, int], Start]] = {}
        for (of_queue, lane), starts in facts.starts.items():
            for start in starts if of_queue == queue else ():
                life = _life_of(facts, start.id, queue, start.seq)
                if start.replayed or life is None:
                    continue
                known = begun.get((lane, start.level))
                if known is None or known[0] < (life, start.seq):
                    begun[lane, start.level] = ((life, start.seq), start)
        for left in dump.unsettled:
            known = begun.get((left.lane, left.level))
            life = _life_of(facts, left.id, queue, left.seq)
            if left.replayed or known is None or life is None or (life, left.seq) >= known[0]:
                continue
            if _ran_ahead(facts, known[1], left.id) or holders.unaware(known[1], dump.m):
                continue
            what = f"{left.id} (seq {left.seq}) is still in, and {known[1].id} (seq {known[1].seq}) has begun"
            findings.add("I2", f"{what}, of lane {left.lane!r}, level {left.level}", known[1], dump)


# -- settlements -------------------------------------------------------------------------------------


def check_settlements(facts: Facts, findings: Findings) -> None:
    """I3: in the order of the store's ordinals seqs ascend and tokens never decrease, lane by lane."""
    places = {start.id: start for starts in facts.starts.values() for start in starts}
    by_life: dict[tuple[str, int], list[Settling]] = defaultdict(list)
    for settling in facts.settlings:
        if settling.final and settling.done is not None:
            by_life[settling.asked.queue, settling.life].append(settling)
    for settlings in by_life.values():
        settlings.sort(key=_ordinal)
        _ordinals(facts, settlings, findings)
        _by_ordinal(facts, settlings, places, findings)


def _ordinal(settling: Settling) -> int:
    return settling.done.ordinal if settling.done is not None else 0


def _ordinals(facts: Facts, settlings: list[Settling], findings: Findings) -> None:
    """Each is given once, above zero, and later settlements have the higher ones."""
    last: Settling | None = None
    latest: Settling | None = None
    for settling in settlings:
        if _ordinal(settling) < 1:
            what = f"the settlement of {settling.asked.id} was done and has no ordinal"
            findings.add("I3", what, settling.answer)
        elif last is not None and _ordinal(last) == _ordinal(settling):
            what = f"{last.asked.id} and {settling.asked.id} were both the settlement {_ordinal(last)}"
            findings.add("I3", what, last.answer, settling.answer)
        if latest is None or settling.asked.m > latest.asked.m:
            latest = settling
        elif facts.history.one_clock and settling.done and settling.done.m < latest.asked.m - _GRAIN:
            what = (
                f"{settling.asked.id} was settled before {latest.asked.id} was about to be, and has the "
                f"later ordinal ({_ordinal(settling)} and {_ordinal(latest)})"
            )
            findings.add("I3", what, settling.answer, latest.answer)
        last = settling


def _by_ordinal(
    facts: Facts, settlings: list[Settling], places: dict[str, Start], findings: Findings
) -> None:
    newest: dict[str, Settling] = {}
    highest: dict[tuple[str, int], tuple[tuple[int, int], Settling]] = {}
    for settling in settlings:
        asked = settling.asked
        known = newest.setdefault(asked.lane, settling)
        if asked.token < known.asked.token:
            what = (
                f"{asked.id} was settled under token {asked.token} after {known.asked.id} of the same lane "
                f"under {known.asked.token}"
            )
            findings.add("I3", what, known.answer, settling.answer)
        else:
            newest[asked.lane] = settling
        place = _place(facts, settling, places)
        if place is None:
            continue
        level, position = place
        before = highest.get((asked.lane, level))
        if before is not None and position < before[0]:
            what = (
                f"{asked.id} (seq {position[1]}) of lane {asked.lane!r}, level {level}, was settled after "
                f"{before[1].asked.id} (seq {before[0][1]})"
            )
            findings.add("I3", what, before[1].answer, settling.answer)
        else:
            highest[asked.lane, level] = (position, settling)


def _place(facts: Facts, settling: Settling, places: dict[str, Start]) -> tuple[int, tuple[int, int]] | None:
    """Level and place of a job, if they are known and it was not replayed."""
    job_id = settling.asked.id
    if job_id in facts.replays_of:
        return None
    job, start = facts.accepted.get(job_id), places.get(job_id)
    if start is not None and start.replayed:
        return None
    known = start or job
    if known is None or known.seq is None:
        return None
    life = _life_of(facts, job_id, settling.asked.queue, known.seq)
    return None if life is None else (known.level, (life, known.seq))
