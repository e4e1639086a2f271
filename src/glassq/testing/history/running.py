"""Attempts: the fence (I4), no run after the end (I5), no two at a time (I6)."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from glassq.testing.history import lines as kinds
from glassq.testing.history.clocks import StoreClock
from glassq.testing.history.facts import NEVER, Facts, LaneName, Settling, first_newer
from glassq.testing.history.holders import Holders
from glassq.testing.history.report import Findings
from glassq.testing.history.takeovers import Takeovers

_GRAIN = 2e-6
"""The store's times are whole microseconds, written as fractions."""


class Attempts:
    """Starts with their ends."""

    def __init__(self, facts: Facts) -> None:
        self._ends: dict[tuple[str, int, int], list[kinds.End]] = defaultdict(list)
        for end in facts.history.of(kinds.End):
            self._ends[end.id, end.token, end.attempt].append(end)

    def end_of(self, start: kinds.Start) -> kinds.End | None:
        """The end of an attempt; None when its process was killed before."""
        ends = self._ends.get((start.id, start.token, start.attempt), ())
        return next((end for end in ends if end.m >= start.m), None)


def check_fence(facts: Facts, takeovers: Takeovers, findings: Findings) -> None:
    """I4: no settlement is done under a token after a newer owner was known, or by the store's own clock had
    been given the lane."""
    if not facts.history.one_clock:
        findings.note("I4 and I6 across owners were not checked: the files are of several hosts or starts")
        return
    finders = {lane: first_newer(taken) for lane, taken in facts.taken.items()}
    for settling in facts.settlings:
        asked = settling.asked
        lane = (asked.queue, asked.lane)
        if settling.done is None or lane not in finders:
            continue
        newer = finders[lane](asked.token)
        if newer is None:
            continue
        if newer.m >= asked.m:
            newer = _given_before(facts.taken[lane], settling, takeovers.clock(asked.queue))
        if newer is None:
            continue
        if facts.lives[asked.queue].broken_between(min(newer.m, asked.m), settling.done.m):
            continue  # the store may have forgotten the newer owner
        what = f"{asked.id} was settled under token {asked.token} after token {newer.token} was taken"
        findings.add("I4", what, newer, settling.answer)


def _given_before(
    takes: list[kinds.LeaseTaken], settling: Settling, clock: StoreClock
) -> kinds.LeaseTaken | None:
    """The newer owner to whom, by the clock of a store that nobody set, the lane was given before a
    settlement was done: both were under way at the same time."""
    done = settling.done
    assert done is not None  # noqa: S101
    for take in takes:
        began, ended = min(take.sent, settling.asked.m), max(take.m, done.m)
        given = take.token > done.token and take.now + _GRAIN < done.now
        if given and not clock.jumped_between(began, ended):
            return take
    return None


def check_ends(facts: Facts, holders: Holders, findings: Findings) -> None:
    """I5: what was settled for good is over, unless it was buried and brought back."""
    starts: dict[str, list[kinds.Start]] = defaultdict(list)
    for of_lane in facts.starts.values():
        for start in of_lane:
            starts[start.id].append(start)
    left = {each.id: dump for dump in facts.dumps.values() for each in dump.unsettled}
    attempts = Attempts(facts)
    for job_id, settlings in facts.settlings_of.items():
        for settling in settlings if facts.history.complete else ():
            _ran_before(settling, starts[job_id], attempts, findings)
        final = [each for each in settlings if each.final and facts.stands(each)]
        for settling in final:
            _started_again(facts, settling, starts[job_id], findings)
        _settled_twice(facts, final, findings)
        if final and job_id in left and not _brought_back(facts, final[-1], NEVER):
            what = f"{job_id} was settled for good and is still in queue {final[-1].asked.queue}"
            findings.add("I5", what, final[-1].answer, left[job_id])
    _second_late_starts(facts, holders, findings)


def _ran_before(
    settling: Settling, starts: list[kinds.Start], attempts: Attempts, findings: Findings
) -> None:
    """That a job succeeded is sent when its code has ended. One process writes both, one after the other.
    Where data was lost, the job may run once more later, in the same stay."""
    asked = settling.asked
    if asked.action != "ack":
        return
    own = [start for start in starts if (start.file, start.token) == (asked.file, asked.token)]
    before = [start for start in own if start.where < asked.where]
    for start in before or own:
        end = attempts.end_of(start)
        if start not in before or end is None or end.where > asked.where:
            what = f"{start.id} was told to have succeeded before its code had ended"
            findings.add("I5", what, asked, start, end)


def _started_again(facts: Facts, settling: Settling, starts: list[kinds.Start], findings: Findings) -> None:
    done = settling.done
    assert done is not None  # noqa: S101
    for start in starts:
        if start.token == done.token:
            again = start.m > done.m or (start.file == done.file and start.where > done.where)
        else:
            # The store gave that token away after it had taken the settlement.
            again = start.token > done.token
        if again and start.where not in facts.late and not _brought_back(facts, settling, start.m):
            what = f"{start.id} was started after its settlement ({done.action}) had been acknowledged"
            findings.add("I5", what, done, start)


def _settled_twice(facts: Facts, final: list[Settling], findings: Findings) -> None:
    ordered = sorted(final, key=lambda each: each.asked.m)
    for first, second in pairwise(ordered):
        assert second.done is not None  # noqa: S101
        if not _brought_back(facts, first, second.done.m):
            what = f"{first.asked.id} was settled for good twice"
            findings.add("I5", what, first.answer, second.answer)


def _brought_back(facts: Facts, settling: Settling, by: float) -> bool:
    """Whether a job may have been replayed between one of its settlements and a later moment."""
    return settling.asked.action == "bury" and any(
        each.asked.m <= by and each.ended >= settling.asked.m
        for each in facts.replays_of.get(settling.asked.id, ())
    )


def _second_late_starts(facts: Facts, holders: Holders, findings: Findings) -> None:
    """One start may slip in between looking at the lease and starting; whoever wakes up looks again. Another
    owner may also be there because the store has forgotten this one."""
    for starts in facts.starts.values():
        seen: dict[int, kinds.Start] = {}
        for start in starts:
            if start.where not in facts.late or holders.unaware(start, start.m):
                continue
            before = seen.setdefault(start.token, start)
            if before is not start:
                what = f"{start.id} was started under token {start.token}, long after another owner took over"
                findings.add("I5", what, before, start)


# -- overlaps ----------------------------------------------------------------------------------------


def check_overlaps(facts: Facts, takeovers: Takeovers, findings: Findings) -> int:
    """I6; returns how many attempts ran beside one of a newer owner, which a long pause explains."""
    attempts = Attempts(facts)
    overlaps = 0
    for lane, starts in facts.starts.items():
        by_token: dict[int, list[kinds.Start]] = defaultdict(list)
        for start in starts:
            by_token[start.token].append(start)
        for of_token in by_token.values():
            _within(facts, of_token, attempts, findings)
        if facts.history.one_clock:
            overlaps += _across(facts, lane, attempts, takeovers, findings)
    return overlaps


def _within(facts: Facts, starts: list[kinds.Start], attempts: Attempts, findings: Findings) -> None:
    """Attempts under one token: in one process, one after the other."""
    if not facts.history.complete:
        return
    for first, second in pairwise(starts):
        one, other = facts.history.files[first.file], facts.history.files[second.file]
        if (one.host, one.pid) != (other.host, other.pid):
            what = f"two processes ran jobs of lane {first.lane!r} under token {first.token}"
            findings.add("I6", what, first, second)
            continue
        end = attempts.end_of(first)
        if end is None or end.m > second.m:
            what = f"{second.id} began before {first.id} of the same lane and token had ended"
            findings.add("I6", what, first, second)


def _across(
    facts: Facts, lane: LaneName, attempts: Attempts, takeovers: Takeovers, findings: Findings
) -> int:
    """Attempts under different tokens, each against the newest attempt that began before."""
    overlaps = 0
    takes = {take.token: take for take in reversed(facts.taken.get(lane, []))}
    running: list[tuple[float, kinds.Start]] = []
    for start in sorted(facts.starts[lane], key=lambda each: each.m):
        running = [(end, each) for end, each in running if end > start.m]
        for _, older in running:
            if older.token == start.token:
                continue  # judged by `_within`
            overlaps += 1
            old, new = sorted((older, start), key=lambda each: each.token)
            if takeovers.of_one_worker((*lane, old.token), (*lane, new.token)):
                what = f"one worker ran {new.id} beside {old.id} of the same lane, which it had lost"
                findings.add("I6", what, older, start)
                continue
            taken = takes.get(new.token)
            if taken is None or takeovers.handed_over((*lane, old.token), taken):
                continue
            how = takeovers.early((*lane, old.token), taken)
            if how is not None:
                what = f"{new.id} ran beside {old.id} of the same lane: it was taken over {how}"
                takeovers.accuse(taken, what, findings, old, taken, new)
        end = attempts.end_of(start)
        if end is not None:
            running.append((end.m, start))
    return overlaps


# -- figures -----------------------------------------------------------------------------------------


def count_reruns(facts: Facts) -> tuple[int, dict[str, int], int]:
    """Jobs that ran again because no settlement of their last attempt was acknowledged: in all, in each lane
    that had any, and the most in one lane after one takeover."""
    most, total = 0, 0
    per_lane: dict[str, int] = {}
    for lane, starts in facts.starts.items():
        last: dict[str, kinds.Start] = {}
        after: Counter[int] = Counter()
        for start in starts:
            before = last.get(start.id)
            if before is not None and not _tried_again(facts, before, start):
                after[start.token] += 1
            last[start.id] = start
        if after:
            per_lane["/".join(lane)] = after.total()
            total += after.total()
            most = max(most, *after.values())
    return total, per_lane, most


def _tried_again(facts: Facts, before: kinds.Start, start: kinds.Start) -> bool:
    """Whether a later attempt is the store's will: a retry, a human's retry, a replay."""
    return (
        start.replayed != before.replayed
        or any(
            each.asked.token == before.token and each.done is not None and not each.final
            for each in facts.settlings_of.get(start.id, ())
        )
        or start.id in facts.replays_of
    )
