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
    """What a measure found for one target: a value per round, and what else should be known. `paces`: how
    fast the machine was in each of the rounds, for a time whose floor was set on another; empty: unknown.
    `witnesses`: what each of the figures behind the paces says by itself, where there are several."""

    key: str
    values: tuple[float, ...]
    note: str = ""
    paces: tuple[float, ...] = ()
    witnesses: tuple[float, ...] = ()


class Absent(msgspec.Struct, frozen=True):
    """Why there is no value for a target. `failed`: it was tried, and something went wrong."""

    key: str
    reason: str
    failed: bool = False


Found = Reading | Absent


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report. `values` are those of the rounds, `value` is the one that counts of them. Where
    there are `paces`, a verdict is of `at_pace`: what it would be at the pace of the machine of the floors.
    `spread` is that of the rounds as they were judged, or of the paces (by rounds, or by
    their witnesses), whichever is wider."""

    key: str
    label: str
    section: str
    unit: str
    how: str
    verdict: Verdict
    value: float | None = None
    values: tuple[float, ...] = ()
    at_pace: float | None = None
    paces: tuple[float, ...] = ()
    spread: float | None = None
    floor: float | None = None
    aim: float | None = None
    at_most: bool = False
    note: str = ""


def judge(target: Target, found: Found) -> Row:
    """The row of one target."""
    if isinstance(found, Absent):
        return _row(target, Verdict.FAILED if found.failed else Verdict.MISSING, found.reason)
    paces = found.paces if target.is_time else ()
    judged = _at(paces, found.values)
    value = _decisive(target, judged)
    unsteady = max(spread(paces), spread(found.witnesses))
    wide = max(unsteady, spread(judged) if target.judged is Judged.MEDIAN else 0.0)
    # By a pace that is not steady nothing is said that another round or witness would not say as well.
    crossed = [each * pace for each in found.values for pace in (*paces, *found.witnesses)]
    opinions = crossed if unsteady > NOISE_BOUND else judged
    return msgspec.structs.replace(
        _row(target, _verdict(target, value, opinions, wide), found.note),
        value=_decisive(target, found.values),
        values=found.values,
        at_pace=value if paces else None,
        paces=paces,
        spread=wide,
    )


def exit_code(rows: Iterable[Row]) -> int:
    """0 when every floor that was measured holds, 1 otherwise; too noisy to tell is not holding."""
    return 1 if any(row.verdict in BAD for row in rows) else 0


def _row(target: Target, verdict: Verdict, note: str) -> Row:
    return Row(
        key=target.key,
        label=target.label,
        section=target.section,
        unit=target.unit,
        how=target.how,
        verdict=verdict,
        floor=target.floor,
        aim=target.aim,
        at_most=target.at_most,
        note=note,
    )


def _at(paces: Sequence[float], values: Sequence[float]) -> Sequence[float]:
    """Times, each at the pace of its round; as they are when there is none."""
    return [value * pace for value, pace in zip(values, paces, strict=True)] if paces else values


def _decisive(target: Target, values: Sequence[float]) -> float:
    if target.judged is Judged.MEDIAN:
        return statistics.median(values)
    return max(values) if target.at_most else min(values)


def _verdict(target: Target, value: float, opinions: Sequence[float], wide: float) -> Verdict:
    if target.floor is None:
        return Verdict.SHOWN
    if wide > NOISE_BOUND and _disagree(target, opinions, target.floor):
        return Verdict.NOISY
    if not _meets(target, value, target.floor):
        return Verdict.BELOW
    if target.aim is None or not _meets(target, value, target.aim):
        return Verdict.HOLDS
    # Noise that leaves the floor certain may still leave the aim open.
    return Verdict.HOLDS if wide > NOISE_BOUND and _disagree(target, opinions, target.aim) else Verdict.AIM


def _disagree(target: Target, values: Sequence[float], bound: float) -> bool:
    """Whether some rounds meet a bound and others do not."""
    return len({_meets(target, value, bound) for value in values}) > 1


def _meets(target: Target, value: float, bound: float) -> bool:
    return value <= bound if target.at_most else value >= bound
