"""How lanes change hands: from an owner that gave them up, or whose time was over (I6)."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from glassq.testing.history import lines as kinds
from glassq.testing.history.clocks import Reading, StoreClock
from glassq.testing.history.facts import Facts
from glassq.testing.history.report import Findings

_SLACK = 0.05
"""Seconds by which a lease may seem shorter than it was: clocks of store and worker run apart a little."""
_GRAIN = 1e-6

Stay = tuple[str, str, int]
"""A stay in a lane: queue, lane and token."""


class Takeovers:
    """What is known of how long each owner was in its right, and of who took its lane."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._contacts = _contacts(facts)
        self._clocks = {queue: StoreClock(each) for queue, each in _readings(facts).items()}
        self._owners = {_stay(take): take.owner for taken in facts.taken.values() for take in taken}
        self._releases: dict[Stay, float] = {}
        for release in facts.history.of(kinds.LeaseReleasing):
            self._releases.setdefault(_stay(release), release.m)
        self._incarnations: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for listening in facts.history.of(kinds.Listening):
            node, incarnation = _node(listening.owner)
            self._incarnations[node].append((listening.m, incarnation))
        self._accused: set[Stay] = set()

    def early(self, old: Stay, taken: kinds.LeaseTaken) -> str | None:
        """How a lane was taken before its owner's lease can have ended, counted from the owner's own calls;
        None when it was not, or when nobody can tell: the store may have forgotten that owner."""
        sent, seconds = self._contacts.get(old, (None, 0.0))
        if sent is None or taken.m >= sent + seconds * 0.99 - _SLACK:
            return None
        if self._facts.lives[taken.queue].broken_between(sent, taken.m):
            return None
        return f"{taken.m - sent:.3f} s after its owner had last extended its lease of {seconds:g} s"

    def handed_over(self, old: Stay, taken: kinds.LeaseTaken) -> bool:
        """Whether another incarnation of the old owner's node was there, to which its lanes pass at once."""
        if taken.cause != "handover" or old not in self._owners:
            return False
        node, incarnation = _node(self._owners[old])
        return any(came <= taken.m and other != incarnation for came, other in self._incarnations[node])

    def of_one_worker(self, old: Stay, new: Stay) -> bool:
        """Whether one worker was given the lane both times: it knows which of its attempts still runs."""
        return old in self._owners and self._owners[old] == self._owners.get(new)

    def accuse(self, taken: kinds.LeaseTaken, what: str, findings: Findings, *lines: kinds.Line) -> None:
        """Add a finding, once for each claim."""
        if _stay(taken) not in self._accused:
            self._accused.add(_stay(taken))
            findings.add("I6", what, *lines)

    def check(self, findings: Findings) -> int:
        """I6: nobody takes a lane from an owner that is in its right. Returns how many claims came early by
        our clock while the store's own was set: such leases are the store's to judge."""
        unjudged = 0
        if not self._facts.history.complete:
            findings.note(
                "whether lanes were taken from their owners was not checked: a release may be missing"
            )
            return unjudged
        for lane, taken in self._facts.taken.items():
            stays: dict[int, kinds.LeaseTaken] = {}
            for take in taken:
                stays.setdefault(take.token, take)
            for old, new in pairwise(stays.values()):
                unjudged += self._check(old, new, f"{lane[1]!r} of queue {lane[0]}", findings)
        return unjudged

    def _check(self, old: kinds.LeaseTaken, new: kinds.LeaseTaken, lane: str, findings: Findings) -> int:
        how = self.early(_stay(old), new)
        excused = new.cause == "owner_died" or self.handed_over(_stay(old), new) or self._given_up(old, new)
        if how is None or excused:
            return 0
        if self.clock_was_set(_stay(old), new):
            return 1
        what = f"lane {lane} was taken ({new.cause}) from an owner that had not given it up, {how}"
        self.accuse(new, what, findings, old, new)
        return 0

    def clock_was_set(self, old: Stay, taken: kinds.LeaseTaken) -> bool:
        """Whether the store's clock was perhaps set between an owner's last contact and a claim."""
        clock = self._clocks.get(taken.queue)
        return clock is not None and clock.jumped_between(self._contacts[old][0], taken.m)

    def clock(self, queue: str) -> StoreClock:
        """The clock by which a queue's store judges."""
        return self._clocks.get(queue) or StoreClock(())

    def _given_up(self, old: kinds.LeaseTaken, new: kinds.LeaseTaken) -> bool:
        """Whether an owner may have given its lane up before another one took it: by a release, or by a
        settlement that left it, or whose answer is not known."""
        if self._releases.get(_stay(old), new.m) < new.m:
            return True
        before = [
            each
            for each in self._facts.settlings_in.get(_stay(old), ())
            if not each.refused and each.asked.m <= new.m + _GRAIN
        ]
        if any(not isinstance(each.answer, kinds.SettleOk) or not each.answer.held for each in before):
            return True
        # Held empty for a callback: if its owner dies in that, nothing is left that would tell a later owner.
        return bool(before) and before[-1].asked.leaving == "keep" and new.cause == "ready"


def _stay(line: kinds.LeaseLine) -> Stay:
    return line.queue, line.lane, line.token


def _node(owner: str) -> tuple[str, str]:
    """The name of an owner's instance, and which start of it."""
    node, incarnation, _ = owner.rsplit("/", 2)
    return node, incarnation


def _contacts(facts: Facts) -> dict[Stay, tuple[float, float]]:
    """When each lease was last extended, by when that was sent, and for how long."""
    contacts: dict[Stay, tuple[float, float]] = {}
    for taken in facts.taken.values():
        for take in taken:
            contacts.setdefault(_stay(take), (take.sent, take.seconds))
    for renewal in facts.history.of(kinds.LeaseRenewed):
        for lease in renewal.leases:
            contacts[lease] = max(contacts.get(lease, (0.0, 0.0)), (renewal.sent, renewal.seconds))
    return contacts


def _readings(facts: Facts) -> dict[str, list[Reading]]:
    """The store's clock, wherever an answer told it."""
    readings: dict[str, list[Reading]] = defaultdict(list)
    for taken in facts.taken.values():
        for take in taken:
            readings[take.queue].append((take.sent, take.m, take.now))
    for settling in facts.settlings:
        answer = settling.answer
        if isinstance(answer, kinds.SettleOk):
            readings[answer.queue].append((settling.asked.m, answer.m, answer.now))
    return readings
