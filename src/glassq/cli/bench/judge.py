"""From what was measured to a verdict: pure functions, so that every verdict can be tested as a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from glassq.cli.bench.samples import NOISE_BOUND, spread
from glassq.cli.bench.targets import Judged, Target


class Verdict(StrEnum):
    """What is said about one row."""

    AIM = "aim reached"
    HOLDS = "holds"
    BELOW = "below floor"
    NOISY = "too noisy"
    FAILED = "failed"
    SHOWN = "shown"
    MISSING = "not measured"


BAD = (Verdict.BELOW, Verdict.NOISY, Verdict.FAILED)
"""Verdicts with which it cannot be said that all floors hold."""


class Reading(msgspec.Struct, frozen=True):
    """What a measure found for one target: a value per round, and what else should be known."""

    key: str
    values: tuple[float, ...]
    note: str = ""


class Absent(msgspec.Struct, frozen=True):
    """Why there is no value for a target. `failed`: it was tried, and something went wrong."""

    key: str
    reason: str
    failed: bool = False


Found = Reading | Absent


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report. `values` are those of the rounds, `value` is the one that was judged."""

    key: str
    label: str
    section: str
    unit: str
    how: str
    verdict: Verdict
    value: float | None = None
    values: tuple[float, ...] = ()
    spread: float | None = None
    floor: float | None = None
    aim: float | None = None
    at_most: bool = False
    note: str = ""


def judge(target: Target, found: Found) -> Row:
    """The row of one target."""
    if isinstance(found, Absent):
        return _row(target, verdict=Verdict.FAILED if found.failed else Verdict.MISSING, note=found.reason)
    value = _decisive(target, found.values)
    wide = spread(found.values) if target.judged is Judged.MEDIAN else 0.0
    return _row(
        target,
        verdict=_verdict(target, value, found.values, wide),
        value=value,
        values=found.values,
        spread=wide,
        note=found.note,
    )


def exit_code(rows: Iterable[Row]) -> int:
    """0 when every floor that was measured holds, 1 otherwise; too noisy to tell is not holding."""
    return 1 if any(row.verdict in BAD for row in rows) else 0


def _row(
    target: Target,
    *,
    verdict: Verdict,
    value: float | None = None,
    values: tuple[float, ...] = (),
    spread: float | None = None,
    note: str = "",
) -> Row:
    return Row(
        key=target.key,
        label=target.label,
        section=target.section,
        unit=target.unit,
        how=target.how,
        verdict=verdict,
        value=value,
        values=values,
        spread=spread,
        floor=target.floor,
        aim=target.aim,
        at_most=target.at_most,
        note=note,
    )


def _decisive(target: Target, values: Sequence[float]) -> float:
    if target.judged is Judged.MEDIAN:
        return statistics.median(values)
    return max(values) if target.at_most else min(values)


def _verdict(target: Target, value: float, values: Sequence[float], wide: float) -> Verdict:
    if target.floor is None:
        return Verdict.SHOWN
    if wide > NOISE_BOUND and _disagree(target, values, target.floor):
        return Verdict.NOISY
    if not _meets(target, value, target.floor):
        return Verdict.BELOW
    if target.aim is None or not _meets(target, value, target.aim):
        return Verdict.HOLDS
    # Noise that leaves the floor certain may still leave the aim open.
    return Verdict.HOLDS if wide > NOISE_BOUND and _disagree(target, values, target.aim) else Verdict.AIM


def _disagree(target: Target, values: Sequence[float], bound: float) -> bool:
    """Whether some rounds meet a bound and others do not."""
    return len({_meets(target, value, bound) for value in values}) > 1


def _meets(target: Target, value: float, bound: float) -> bool:
    return value <= bound if target.at_most else value >= bound
