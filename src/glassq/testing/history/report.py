"""What the checker found."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from glassq.testing.history.lines import Line
from glassq.testing.history.reading import History

SHOWN = 50
"""Findings of one invariant that are described; further ones are only counted."""

INVARIANTS = {
    "I1": "every acknowledged job is settled, dead or still in",
    "I2": "first starts ascend in each lane and level, and nothing overtakes a head that has begun",
    "I3": "by the store's ordinals, settlements ascend in each lane and level, and tokens never decrease",
    "I4": "nothing is settled under an older token after a newer one began",
    "I5": "no success is sent before its code has ended, and no start follows an acknowledged settlement",
    "I6": "attempts of one lane never overlap, but after a pause longer than the lease",
    "I7": "data that is lost is the end of what was accepted, and every process that could know was told",
    "I8": "what was enqueued before has the lower seq",
    "I9": "dead letters keep every field",
    "I10": "enqueued + replayed = succeeded + buried + expired + cancelled + left",
    "I11": "no job begins before those it waits for have ended",
}


class Finding(msgspec.Struct, frozen=True):
    """One breach of an invariant: what happened, and the lines that show it."""

    invariant: str
    what: str
    where: tuple[str, ...] = ()


class Report(msgspec.Struct):
    """The checker's verdict. `figures` count what happened, `notes` say what could not be checked and why."""

    findings: list[Finding]
    figures: dict[str, Any]
    notes: list[str]
    counts: dict[str, int]
    """Findings per invariant, those that are not described included."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.counts


class Findings:
    """Collects findings and notes while the checks run."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.found: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []

    def add(self, invariant: str, what: str, *lines: Line | None) -> None:
        """Note a breach."""
        self.counts[invariant] += 1
        if self.counts[invariant] <= SHOWN:
            where = tuple(self._history.place(line) for line in lines if line is not None)
            self.found.append(Finding(invariant, what, where))

    def note(self, text: str) -> None:
        """Note what could not be checked."""
        if text not in self.notes:
            self.notes.append(text)
