"""The checker: every invariant over one history, and the figures of what happened in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import Facts
from glassq.testing.history.keeping import check_dead, check_kept, check_losses, check_sums
from glassq.testing.history.ordering import check_acceptance, check_settlements, check_starts
from glassq.testing.history.reading import History
from glassq.testing.history.report import Findings, Report
from glassq.testing.history.running import check_ends, check_fence, check_overlaps, count_reruns


def check(history: History, *, losses_expected: bool = False) -> Report:
    """Judge a history by I1 to I10 of the contract. It must hold all that was done to the store's queues.

    Never accuses without proof: what was asked and not answered may have happened or not. `losses_expected`:
    the store was made to lose data; then each loss must be a clean cut, and told to whoever could know.
    """
    facts = Facts(history)
    findings = Findings(history)
    if not history.complete:
        findings.note("this history is incomplete: a process could not write for a while")
    check_acceptance(facts, findings)
    check_starts(facts, findings)
    check_settlements(facts, findings)
    check_fence(facts, findings)
    check_ends(facts, findings)
    overlaps = check_overlaps(facts, findings)
    losses = check_losses(facts, findings, expected=losses_expected)
    if history.complete:
        check_kept(facts, findings)
    check_dead(facts, findings)
    check_sums(facts, findings)
    figures = _figures(facts, overlaps, losses)
    return Report(findings.found, figures, findings.notes, dict(findings.counts))


def _figures(facts: Facts, overlaps: int, losses: int) -> dict[str, Any]:
    history = facts.history
    reruns, per_lane, most = count_reruns(facts)
    causes = Counter(take.cause for taken in facts.taken.values() for take in taken)
    done = Counter(each.asked.action for each in facts.settlings if each.done is not None)
    duplicates = sum(bool(job[5]) for line in history.of(kinds.EnqueueOk) for job in line.jobs)
    return {
        "files": len(history.files),
        "events": len(history),
        "torn_lines": len(history.torn),
        "queues": len(facts.queues),
        "lanes": len(facts.taken),
        "jobs_acknowledged": len(facts.accepted),
        "jobs_duplicate": duplicates,
        "jobs_unknown": sum(facts.uncertain.values()),
        "enqueues_failed": len(history.of(kinds.EnqueueFailed)),
        "starts": len(history.of(kinds.Start)),
        "late_starts": len(facts.late),
        "attempts_ended": len(history.of(kinds.End)),
        "settlements": dict(sorted(done.items())),
        "settlements_fenced": len(history.of(kinds.SettleFenced)),
        "settlements_unanswered": sum(each.answer is None for each in facts.settlings),
        "claims": dict(sorted(causes.items())),
        "takeovers": sum(count for cause, count in causes.items() if cause != "ready"),
        "leases_lost": len(history.of(kinds.LeaseLost)),
        "reruns": reruns,
        "reruns_per_lane": per_lane,
        "max_reruns_per_takeover": most,
        "overlaps": overlaps,
        "losses": losses,
        "losses_reported": len(history.of(kinds.LossTold)),
    }
