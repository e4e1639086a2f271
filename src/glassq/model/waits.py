"""What a job's time in queue was spent on, from the times at which nobody held its lane."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from itertools import groupby
from operator import sub
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

MICRO: Final = 1_000_000


class WaitCause(StrEnum):
    """What a job waited for. The parts of all causes sum to its time in queue."""

    BEHIND_LANE = "behind_lane"
    """Whatever is nothing else: jobs before it in its own lane ran, the price of order."""
    FAIRNESS = "fairness"
    """Its lane was ready, and all who serve the queue were busy with other lanes."""
    NO_WORKER = "no_worker"
    """Nobody alive served the queue; or its lane's owner was dead, and the lease had not ended."""
    PAUSED = "paused"
    """The queue or its lane was paused."""
    BACKOFF = "backoff"
    """The job before it waited for a retry."""
    HALTED = "halted"
    """The job before it was given up, and its lane waited for a human."""


KEPT_CAUSES: Final = (
    WaitCause.FAIRNESS,
    WaitCause.NO_WORKER,
    WaitCause.PAUSED,
    WaitCause.BACKOFF,
    WaitCause.HALTED,
)
"""Those that stores keep, by their numbers in the text of a lane; the rest is `BEHIND_LANE`."""
FAIRNESS, NO_WORKER, PAUSED, BACKOFF, HALTED = range(len(KEPT_CAUSES))


class Stretch(NamedTuple):
    """A time (µs, the store's clock) in which nobody held a lane, and what so much of it was spent on. Of a
    pure one that is all; those that were merged share their times, and their amounts add up to no more."""

    begin: int
    end: int
    cause: int
    amount: int


_stretch: Callable[[tuple[int, int, int, int]], Stretch] = partial(tuple.__new__, Stretch)
"""Makes one of its fields: done for each lane that is claimed, so without a call that only passes them on."""

_NONE: Final = _stretch((0, 0, 0, 0))

Waited: TypeAlias = tuple[float, dict[str, float]]
"""What a job has waited, in seconds, and what for. (Made for every job: a plain tuple costs least.)"""

_Later: TypeAlias = tuple[int, dict[str, float], int, WaitCause | None]
"""Some last stretches together (µs), and in seconds by cause. Then when the one before them ends, and its
cause, if it can be told by itself: it is pure, and of no cause that they have."""


class _Span(NamedTuple):
    """A time (µs): who became eligible in it has waited for all stretches that begin later, `whole`, for what
    is `spent` (seconds), and until `end` for a `cause` that is not among these."""

    since: float
    until: float
    whole: int
    end: int
    cause: WaitCause | None
    spent: Mapping[str, float]


class Waits:
    """The times at which a lane was nobody's, as far back as any of its jobs goes: ascending."""

    __slots__ = ("_last", "_later", "stretches")

    def __init__(self, stretches: tuple[Stretch, ...] = ()) -> None:
        self.stretches = stretches
        """What it is made of."""
        self._last = stretches[-1][1] if stretches else 0
        self._later: dict[int, _Later] = {}

    def and_then(self, begin: float, end: float, cause: int) -> Waits:
        """These, and one more stretch behind them (seconds)."""
        first, last = round(begin * MICRO), round(end * MICRO)
        first = max(first, self._last)
        if last <= first:
            return self
        return Waits((*self.stretches, _stretch((first, last, cause, last - first))))

    def split(self, eligible: float, started: float) -> Waited:
        """How long a job waited that became eligible and started then (seconds), and for what: the parts sum
        to the whole, counted in microseconds."""
        began = round(eligible * MICRO)
        waited = round(started * MICRO) - began
        if waited < 0:
            return 0.0, {_REST: 0.0}
        seconds = waited / MICRO
        if began >= self._last:  # came while the lane was held
            return seconds, {_REST: seconds}
        place = bisect_left(self.stretches, _stretch((began, 0, 0, 0)))
        whole, spent, end, cause = self._later.get(place) or self._reckon(place)
        share = end - began
        if share <= 0:  # came before all of them, or between two
            if waited >= whole:
                return seconds, {**spent, _REST: (waited - whole) / MICRO}
        elif cause is not None and waited >= whole + share:
            return seconds, {**spent, cause: share / MICRO, _REST: (waited - whole - share) / MICRO}
        parts = self.parts(began, waited)
        return seconds, {each: part / MICRO for each, part in parts.items()}

    def split_all(
        self, eligible: Sequence[float], started: Sequence[float]
    ) -> tuple[list[float], dict[str, float]]:
        """The same of several jobs, at least one: how long each of them waited, and for what all of them
        together. Jobs of a lane mostly came one soon after the other: what is the same is asked once, and
        nothing is rounded to microseconds."""
        jobs, first, last = len(eligible), round(min(eligible) * MICRO), max(eligible) * MICRO
        since, until, whole, end, cause, before = self._span_of(first)
        waited, within = list(map(sub, started, eligible)), 0.0
        alike = since <= first and last <= until
        if first >= end:
            alike = alike and min(waited) * MICRO >= whole
        else:
            alike = alike and last <= end and min(started) * MICRO >= end + whole
            until_then = end / MICRO
            within = sum([until_then - came for came in eligible])
        if not alike:
            return _split_one_by_one([self] * jobs, eligible, started)
        spent = {each: seconds * jobs for each, seconds in before.items()}
        if cause is not None and within:
            spent[cause] = within
        spent[_REST] = sum(waited) - jobs * whole / MICRO - within
        return waited, spent

    def _span_of(self, began: int) -> _Span:
        """Around the time when a job came. Where what came before cannot be told by itself it begins behind
        that, and perhaps behind the job."""
        if began >= self._last:
            return _Span(self._last, math.inf, 0, self._last, None, {})
        place = bisect_left(self.stretches, _stretch((began, 0, 0, 0)))
        whole, spent, end, cause = self._later.get(place) or self._reckon(place)
        begin = self.stretches[place - 1].begin if place else 0
        until = self.stretches[place].begin if place < len(self.stretches) else end
        return _Span(end if cause is None else begin + 1, until, whole, end, cause, spent)

    def parts(self, began: int, waited: int) -> dict[str, int]:
        """The parts of a wait that began then and lasted so long. They sum to it."""
        parts = self._shares(began)
        rest = waited
        for cause in parts:
            rest -= parts[cause]
        if rest < 0:  # a clock stepped back in between
            parts, rest = _no_more_than(parts, waited), 0
        parts[_REST] = rest
        return parts

    def _reckon(self, place: int) -> _Later:
        """Reckoned once for all jobs that came before the stretch at this place, and after the beginning of
        the one before."""
        parts = _amounts(self.stretches[place:])
        begin, end, number, amount = self.stretches[place - 1] if place else _NONE
        is_pure = amount == end - begin
        cause = KEPT_CAUSES[number] if is_pure and KEPT_CAUSES[number] not in parts else None
        spent: dict[str, float] = {each: part / MICRO for each, part in parts.items()}
        later = self._later[place] = sum(parts.values()), spent, end, cause
        return later

    def _shares(self, began: int) -> dict[str, int]:
        """How much a job has waited that became eligible then, by cause."""
        parts: dict[str, int] = {}
        for begin, end, number, amount in self.stretches:
            share = _share(began, begin, end, amount)
            if share > 0:
                cause = KEPT_CAUSES[number]
                parts[cause] = parts.get(cause, 0) + share
        return parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Waits) and self.stretches == other.stretches

    def __hash__(self) -> int:
        return hash(self.stretches)

    def __repr__(self) -> str:
        return f"Waits({self.stretches!r})"


def _share(began: int, begin: int, end: int, amount: int) -> int:
    """What of a stretch a job has waited that became eligible then; of a merged one, in proportion."""
    if began <= begin:
        return amount
    return amount * (end - began) // (end - begin) if began < end else 0


def seconds_between(eligible: float, started: float) -> float:
    """How long a job waited that became eligible and started then (seconds), whatever for: the same number as
    `Waits.split` says."""
    return max(0, round(started * MICRO) - round(eligible * MICRO)) / MICRO


_REST: Final = WaitCause.BEHIND_LANE
NO_WAITS: Final = Waits()


def split_together(
    lanes: Sequence[Waits], eligible: Sequence[float], started: Sequence[float]
) -> tuple[list[float], dict[str, float]]:
    """As `Waits.split_all`, of jobs each with the waits of its lane, those of a lane one behind the other."""
    if _FEW * len(set(map(id, lanes))) < len(lanes):
        return _split_by_lanes(lanes, eligible, started)
    return _split_one_by_one(lanes, eligible, started)


def _split_one_by_one(
    lanes: Sequence[Waits], eligible: Sequence[float], started: Sequence[float]
) -> tuple[list[float], dict[str, float]]:
    """Of jobs that are few in each lane, or of which some came within merged stretches or in several."""
    spent, waited = [0] * len(KEPT_CAUSES), []
    whole = 0
    for lane, came, went in zip(lanes, eligible, started, strict=True):
        began = round(came * MICRO)
        rest = round(went * MICRO) - began
        waited.append(rest / MICRO)
        whole += rest
        for begin, end, number, amount in lane.stretches:
            share = _share(began, begin, end, amount)
            spent[number] += share
            rest -= share
        if rest < 0:  # a clock stepped back
            return _split_each(lanes, eligible, started)
    told: dict[str, float] = {
        cause: amount / MICRO for cause, amount in zip(KEPT_CAUSES, spent, strict=True) if amount
    }
    told[_REST] = (whole - sum(spent)) / MICRO
    return waited, told


_FEW: Final = 2
"""Jobs of a lane up to which it costs less to take their waits apart one by one."""


def _split_by_lanes(
    lanes: Sequence[Waits], eligible: Sequence[float], started: Sequence[float]
) -> tuple[list[float], dict[str, float]]:
    """Of jobs that are many in each lane."""
    spent: dict[str, float] = {}
    waited: list[float] = []
    at = 0
    for _, run in groupby(lanes, id):
        lane, end = lanes[at], at + len([*run])
        seconds, causes = lane.split_all(eligible[at:end], started[at:end])
        waited += seconds
        for cause in causes:
            spent[cause] = spent.get(cause, 0.0) + causes[cause]
        at = end
    return waited, spent


def _split_each(
    lanes: Iterable[Waits], eligible: Iterable[float], started: Iterable[float]
) -> tuple[list[float], dict[str, float]]:
    """Of jobs for some of which a clock stepped back."""
    spent: dict[str, float] = {}
    waits: list[float] = []
    for seconds, causes in map(Waits.split, lanes, eligible, started):
        waits.append(seconds)
        for cause in causes:
            spent[cause] = spent.get(cause, 0.0) + causes[cause]
    return waits, spent


def _amounts(stretches: Iterable[Stretch]) -> dict[str, int]:
    """All of these together, by cause."""
    parts: dict[str, int] = {}
    for _, _, number, amount in stretches:
        if amount > 0:
            cause = KEPT_CAUSES[number]
            parts[cause] = parts.get(cause, 0) + amount
    return parts


def _no_more_than(parts: Mapping[str, int], most: int) -> dict[str, int]:
    """The same parts, cut where they come to more."""
    cut: dict[str, int] = {}
    for cause, share in parts.items():
        cut[cause] = min(share, most)
        most -= cut[cause]
    return cut


# -- as stores keep them ---------------------------------------------------------------------------------


_numbers: Final = msgspec.json.Decoder().decode


def stretches_of(text: str | bytes) -> tuple[Stretch, ...]:
    """From the text a store keeps: of each `<begin>,<end>,<cause>,<amount>,`, with 0 for all of it."""
    if not text:
        return ()
    told: Any = _numbers(b"[%b0]" % (text.encode() if isinstance(text, str) else text))
    each = iter(told)
    told_of = zip(each, each, each, each, strict=False)  # without the 0 behind all of them
    return tuple(
        [_stretch((begin, end, cause, amount or end - begin)) for begin, end, cause, amount in told_of]
    )


def waits_told(text: bytes) -> Waits:
    """From the same, newest first and behind a number, or nothing, that only its store reads."""
    told: Any = _numbers(b"[%b0]" % text.partition(b",")[2])
    each = iter(told)
    told_of = zip(each, each, each, each, strict=False)
    stretches = [
        _stretch((begin, end, cause, amount or end - begin)) for begin, end, cause, amount in told_of
    ]
    return Waits((*reversed(stretches),)) if stretches else NO_WAITS


def waits_of(text: str | bytes) -> Waits:
    """The same, ready to be asked."""
    return Waits(stretches_of(text)) if text else NO_WAITS


def text_of(begin: int, end: int, cause: int) -> str:
    """A pure stretch as stores keep it; nothing when it is empty."""
    return f"{begin},{end},{cause},0," if begin < end else ""


def merged(text: str, earliest: int, latest: int, few: int) -> str:
    """The same stretches in fewer, for jobs that became eligible between these moments (µs): without those
    before all jobs, and with those in one behind which no job came. What is still more than a few is merged
    two by two: a job that came within is then told its share of both."""
    groups: list[tuple[int, int, dict[int, int]]] = []
    for begin, end, cause, amount in stretches_of(text):
        pure = amount == end - begin
        first = max(begin, earliest) if pure else begin
        if end <= max(first, earliest):
            continue
        one = (first, end, {cause: end - first if pure else amount})
        if groups and (groups[-1][0] >= latest or groups[-1][0] == first):
            groups[-1] = _joined(groups[-1], one)
        else:
            groups.append(one)
    if len(groups) > few:
        pairs = [groups[index : index + 2] for index in range(0, len(groups), 2)]
        groups = [_joined(*pair) if len(pair) > 1 else pair[0] for pair in pairs]
    return "".join(
        f"{begin},{end},{cause},{amount}," for begin, end, parts in groups for cause, amount in parts.items()
    )


def _joined(
    group: tuple[int, int, dict[int, int]], other: tuple[int, int, dict[int, int]]
) -> tuple[int, int, dict[int, int]]:
    amounts = dict(group[2])
    for cause, amount in other[2].items():
        amounts[cause] = amounts.get(cause, 0) + amount
    return group[0], other[1], amounts
