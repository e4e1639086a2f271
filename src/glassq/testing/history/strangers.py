"""Jobs that began, and that nobody is known to have enqueued (I10)."""

from __future__ import annotations

from collections import Counter, defaultdict

from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import Facts
from glassq.testing.history.report import Findings


def check_strangers(facts: Facts, findings: Findings) -> None:
    """Each is one of a call that got no answer: by the ids that call told, else by its producer."""
    if not facts.history.complete:
        return
    told = _Told(facts)
    strangers: dict[str, dict[str, kinds.Start]] = defaultdict(dict)
    for (queue, _), starts in facts.starts.items():
        for start in starts:
            if start.id not in facts.accepted and start.id not in told.ids:
                strangers[queue].setdefault(start.id, start)
    for queue, unknown in strangers.items():
        for start in _unexplained(queue, unknown, told):
            findings.add("I10", f"{start.id} began, and no enqueuing of it was recorded", start)


class _Told:
    """What is known of the calls that got no answer. `nameless` counts, by queue and file, the jobs of those
    that did not come to tell an id: their process was killed, or interrupted."""

    def __init__(self, facts: Facts) -> None:
        named = {line.call: line.ids for line in facts.history.of(kinds.EnqueueUnknown) if line.ids}
        self.ids: set[str] = set()
        self.nameless: Counter[tuple[str, int]] = Counter()
        for call in facts.unanswered:
            if call.call not in named:
                self.nameless[call.queue, call.file] += call.n
            for first in named.get(call.call, ()):
                producer, number = _parts(first)
                self.ids.update(f"{producer}:{number + index}" for index in range(call.n))
        self.files: dict[str, set[int]] = defaultdict(set)
        for job in facts.accepted.values():
            self.files[_parts(job.id)[0]].add(job.line.file)


def _unexplained(queue: str, unknown: dict[str, kinds.Start], told: _Told) -> list[kinds.Start]:
    """Those for which there are not enough calls: of the processes their producers belong to, where those are
    known, and of all processes together."""
    left = {file: count for (of_queue, file), count in told.nameless.items() if of_queue == queue}
    groups: dict[frozenset[int], list[kinds.Start]] = defaultdict(list)
    for start in unknown.values():
        groups[frozenset(told.files.get(_parts(start.id)[0], left))].append(start)
    too_many = [
        start
        for files, starts in groups.items()
        if len(starts) > sum(left.get(file, 0) for file in files)
        for start in starts
    ]
    return list(unknown.values()) if len(unknown) > sum(left.values()) and not too_many else too_many


def _parts(job_id: str) -> tuple[str, int]:
    """The producer of a job, with its queue, and the job's number there."""
    producer, _, number = job_id.rpartition(":")
    return producer, int(number) if number.isdecimal() else 0
