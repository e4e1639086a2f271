"""The checker: every invariant over one history, and the figures of what happened in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import Facts
from glassq.testing.history.following import check_waits
from glassq.testing.history.holders import Holders
from glassq.testing.history.keeping import check_dead, check_kept
from glassq.testing.history.losing import check_losses
from glassq.testing.history.ordering import check_acceptance, check_settlements, check_starts
from glassq.testing.history.reading import History
from glassq.testing.history.report import Findings, Report
from glassq.testing.history.running import check_ends, check_fence, check_overlaps, count_reruns
from glassq.testing.history.strangers import check_strangers
from glassq.testing.history.summing import check_sums
from glassq.testing.history.takeovers import Takeovers


def check(history: History, *, losses_expected: bool = False) -> Report:
    """Judge a history by I1 to I11 of the contract. It must hold all that was done to the store's queues.

    Never accuses without proof: what was asked and not answered may have happened or not. `losses_expected`:
    the store was made to lose data; then each loss must be a clean cut, and told to whoever could know.
    """
    facts = Facts(history)
    findings = Findings(history)
    if not history.complete:
        findings.note(
            "this history is incomplete: a process could not write for a while; I1, I2, the claims of I6, "
            "the reports of I7 and the sums of I10 were not checked"
        )
    _note_dumps(facts, findings)
    check_acceptance(facts, findings)
    holders = Holders(facts)
    check_starts(facts, holders, findings)
    check_settlements(facts, findings)
    takeovers = Takeovers(facts)
    check_fence(facts, takeovers, findings)
    check_ends(facts, holders, findings)
    overlaps = check_overlaps(facts, takeovers, findings)
    by_set_clock = takeovers.check(findings) if history.one_clock else 0
    losses = check_losses(facts, findings, expected=losses_expected)
    if history.complete:
        check_kept(facts, findings)
    check_dead(facts, findings)
    check_sums(facts, findings, losses_expected=losses_expected)
    check_strangers(facts, findings)
    check_waits(facts, findings)
    figures = _figures(facts)
    figures |= {"overlaps": overlaps, "takeovers_by_a_set_clock": by_set_clock}
    figures |= {"losses": losses, "losses_reported": len(history.of(kinds.LossTold))}
    return Report(findings.found, figures, findings.notes, dict(findings.counts))


def _note_dumps(facts: Facts, findings: Findings) -> None:
    """What a dump lacks, whose writer was killed or whose lines were taken away."""
    ends, dumps = facts.history.of(kinds.DumpEnd), facts.history.of(kinds.Dump)
    absent = {queue for end in ends for queue in end.queues} - {dump.queue for dump in dumps}
    if absent or (dumps and not ends):
        which = ", ".join(sorted(absent)) or "some queues"
        findings.note(f"the dump was cut: {which} may be missing from it; write it again")


def _figures(facts: Facts) -> dict[str, Any]:
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
    }
