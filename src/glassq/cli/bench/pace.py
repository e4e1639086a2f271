"""The pace of this machine: a few raw figures here, beside the same ones of the machine of the floors.

A floor that is a time was set on one machine; elsewhere the same code takes another time. So such a row is
judged by what it would have taken there: what it took, times the pace. Which figures are taken, which are
not, and why: decision 0038.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from glassq.cli.bench.meters import Timed
from glassq.cli.bench.samples import percentile


class Mark(msgspec.Struct, frozen=True):
    """What a raw loop took on the machine of the floors: microseconds of CPU per job, on one side."""

    loop: str
    side: Literal["client", "server"]
    micros: float

    def taken(self, run: Timed) -> float:
        """What a run took here, in the same unit."""
        return run.client_micros if self.side == "client" else run.server_micros

    def pace(self, run: Timed) -> float:
        """How fast this run was, against there: 0.5 is half as fast."""
        return self.micros / self.taken(run)


MARKS = (
    # CPU time, not rates: a rate falls while others use the machine, and would excuse whatever is slow.
    Mark("raw.add.one", "client", 61),
    Mark("raw.add.one", "server", 28),
    # The client's part of these depends on the parser redis-py found there, which is not known.
    Mark("raw.add.piped", "server", 1.3),
    Mark("raw.window", "server", 2.0),
)
"""The raw loops by which CPU times are compared."""

BARE_WAKE_UP = 0.36
"""Milliseconds that a bare wake-up took on the machine of the floors, in the middle."""


def of_cpu(runs: Mapping[str, Sequence[Timed]]) -> tuple[float, ...]:
    """The pace in each round of the raw loops, by CPU time: the middle of all marks. Empty when the server
    does not tell what it used."""
    rounds = zip(*(runs[mark.loop] for mark in MARKS), strict=True)
    pairs = [list(zip(MARKS, taken, strict=True)) for taken in rounds]
    if any(mark.taken(run) <= 0 for pair in pairs for mark, run in pair):
        return ()
    return tuple(statistics.median(mark.pace(run) for mark, run in pair) for pair in pairs)


def by_mark(runs: Mapping[str, Sequence[Timed]]) -> dict[str, float]:
    """The pace each mark tells by itself: where they do not agree, the pace is not known well."""
    return {f"{mark.loop} {mark.side}": statistics.median(map(mark.pace, runs[mark.loop])) for mark in MARKS}


def of_wake_ups(rounds: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The pace in each round of bare wake-ups, given in milliseconds. By the middle one: the late ones of a
    busy machine come by chance, and must not excuse ours."""
    return tuple(BARE_WAKE_UP / percentile(each, 0.50) for each in rounds)
