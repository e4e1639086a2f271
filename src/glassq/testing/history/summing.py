"""The sums come out (I10), in the store's own figures and against what was recorded."""

from __future__ import annotations

from collections import Counter, defaultdict

from glassq.model.names import queue_of
from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import NEVER, Facts, Settling
from glassq.testing.history.following import may_be_refused
from glassq.testing.history.report import Findings


def check_sums(facts: Facts, findings: Findings, *, losses_expected: bool) -> None:
    """I10, in the store's own figures and against what was recorded. Where losses are expected, a life of the
    store may have left no trace but what somebody took out in it."""
    for queue, dump in facts.dumps.items():
        stats = dump.stats
        if not stats:
            continue  # its store does not know this queue: each job that it should have is missed by I1
        settled: dict[str, int] = stats["settled"]
        left = sum(stats[state] for state in _STATES)
        came, went = stats["enqueued"] + stats["replayed"], sum(settled.values()) + left
        if came != went:
            what = f"queue {queue}: {came} came (enqueued and replayed), {went} are settled or left"
            findings.add("I10", what, dump)
        if left != len(dump.unsettled) + stats["scheduled"] + stats["deferred"]:
            what = f"queue {queue}: {left} jobs are left by its figures, {len(dump.unsettled)} are there"
            beside = f"{stats['scheduled']} scheduled and {stats['deferred']} deferred"
            findings.add("I10", f"{what}, {beside}", dump)
        if stats["dead_letters"] != len(dump.dead):
            what = (
                f"queue {queue}: {stats['dead_letters']} dead letters by its figures, {len(dump.dead)} there"
            )
            findings.add("I10", what, dump)
        if facts.history.complete:
            since = facts.lives[queue].met if losses_expected else -NEVER
            _against_history(facts, dump, findings, since)


_STATES = ("ready", "leased", "waiting_retry", "halted", "paused", "scheduled", "deferred")
_SETTLED = {"ack": "succeeded", "bury": "buried", "expire": "expired", "cancel": "cancelled"}


def _against_history(facts: Facts, dump: kinds.Dump, findings: Findings, since: float) -> None:
    """Each figure is between what surely happened and what may have happened. A store that went back to an
    earlier state may have forgotten any of it, but what was done in its last life: if it had but one, that
    has lasted `since` then."""
    queue, stats = dump.queue, dump.stats
    lives = facts.lives[queue]
    jobs = [job for job in facts.accepted.values() if job.queue == queue]
    kept = sum(lives.is_of_last(job.line.found) for job in jobs)
    _between(dump, "enqueued", stats["enqueued"], kept, len(jobs) + facts.uncertain[queue], findings)
    sure, perhaps = 0, 0
    for each in facts.replays:
        assert isinstance(each.asked, kinds.ReplayInvoked)  # noqa: S101
        if each.asked.queue == queue:
            sure += len(each.answer.jobs) if isinstance(each.answer, kinds.ReplayOk) else 0
            perhaps += 0 if each.answer else len(each.asked.ids)
    low = sure if len(lives.all) == 1 else 0
    refused, revived = _refused(facts, queue)
    _between(dump, "replayed", stats["replayed"], low, sure + perhaps + revived, findings)
    surely, maybe = _settled(facts, queue, since)
    last = Counter(
        each.asked.action for each in facts.settlings if _is_sure(facts, each) and each.asked.queue == queue
    )
    for action, name in _SETTLED.items():
        low = surely[action] if len(lives.all) == 1 else last[action]
        high = surely[action] + maybe[action] + (refused if action == "cancel" else 0)
        _between(dump, name, stats["settled"][name], low, high, findings)


def _refused(facts: Facts, queue: str) -> tuple[int, int]:
    """How many jobs may have been cancelled because one they wait for failed, and how many may have come back
    with that: each once more with every replay, of any queue."""
    jobs = sum(queue_of(job) == queue and may_be_refused(facts, job) for job in facts.after)
    return jobs * (1 + len(facts.replays)), jobs * len(facts.replays)


def _is_sure(facts: Facts, settling: Settling) -> bool:
    """Whether a settlement was done in the last life of its queue."""
    done = settling.done
    return done is not None and settling.final and facts.lives[settling.asked.queue].is_of_last(done.found)


def _settled(facts: Facts, queue: str, since: float) -> tuple[Counter[str], dict[str, float]]:
    """Settlements per action: how many were done since then, and how many more may have been. Answers that
    have no mark tell nothing of the life they are of."""
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
        was_done = (isinstance(answer, kinds.CancelOk) and answer.result == "removed") or (
            isinstance(answer, kinds.SkipOk) and answer.id is not None
        )
        is_sure = was_done and asked_line.m >= since
        done["cancel"] += is_sure
        was_asked = isinstance(answer, kinds.CancelOk) and answer.result == "asked"
        maybe["cancel"] += answer is None or was_asked or (was_done and not is_sure)
    least, most = facts.purged(queue, dead=False, since=since)
    done["cancel"] += least
    maybe["cancel"] += most - least
    return done, maybe


def _between(dump: kinds.Dump, name: str, found: int, low: float, high: float, findings: Findings) -> None:
    if not low <= found <= high:
        right = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        findings.add("I10", f"queue {dump.queue}: {found} {name} in the store, {right} by the history", dump)
