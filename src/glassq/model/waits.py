"""What a job's time in queue was spent on, from the times at which nobody held its lane."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
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

    __slots__ = ("_last", "_later", "_stretches")

    def __init__(self, stretches: tuple[Stretch, ...] = ()) -> None:
        self._stretches = stretches
        self._last = stretches[-1].end if stretches else 0
        self._later: dict[int, _Later] = {}

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """What it is made of."""
        return self._stretches

    def and_then(self, begin: float, end: float, cause: int) -> Waits:
        """These, and one more stretch behind them (seconds)."""
        first, last = round(begin * MICRO), round(end * MICRO)
        if last <= max(first, self._last):
            return self
        first = max(first, self._last)
        return Waits((*self._stretches, Stretch(first, last, cause, last - first)))

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
        place = bisect_left(self._stretches, _stretch((began, 0, 0, 0)))
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
        self, eligible: Iterable[float], started: Iterable[float]
    ) -> tuple[list[float], dict[str, float]]:
        """The same of several jobs, at least one: how long each of them waited, and for what all of them
        together. Jobs of a lane mostly came one soon after the other: what is the same is asked once."""
        eligible, started = [*eligible], [*started]
        came = [round(each * MICRO) for each in eligible]
        went = [round(each * MICRO) for each in started]
        waited, first, last, jobs = list(map(sub, went, came)), min(came), max(came), len(came)
        since, until, whole, end, cause, before = self._span_of(first)
        within = 0
        alike = since <= first and last <= until
        if first >= end:
            alike = alike and min(waited) >= whole
        else:
            alike = alike and last <= end and min(went) >= end + whole
            within = jobs * end - sum(came)
        if not alike:
            return self._split_each(eligible, started)
        spent = {each: seconds * jobs for each, seconds in before.items()}
        if cause is not None and within:
            spent[cause] = within / MICRO
        spent[_REST] = (sum(waited) - jobs * whole - within) / MICRO
        return [each / MICRO for each in waited], spent

    def _split_each(
        self, eligible: Iterable[float], started: Iterable[float]
    ) -> tuple[list[float], dict[str, float]]:
        """Of jobs of which some came within merged stretches or in several, or a clock stepped back."""
        spent: dict[str, float] = {}
        waits: list[float] = []
        for seconds, causes in map(self.split, eligible, started):
            waits.append(seconds)
            for cause in causes:
                spent[cause] = spent.get(cause, 0.0) + causes[cause]
        return waits, spent

    def _span_of(self, began: int) -> _Span:
        """Around the time when a job came. Where what came before cannot be told by itself it begins behind
        that, and perhaps behind the job."""
        if began >= self._last:
            return _Span(self._last, math.inf, 0, self._last, None, {})
        place = bisect_left(self._stretches, _stretch((began, 0, 0, 0)))
        whole, spent, end, cause = self._later.get(place) or self._reckon(place)
        begin = self._stretches[place - 1].begin if place else 0
        until = self._stretches[place].begin if place < len(self._stretches) else end
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
        parts = _amounts(self._stretches[place:])
        begin, end, number, amount = self._stretches[place - 1] if place else _NONE
        is_pure = amount == end - begin
        cause = KEPT_CAUSES[number] if is_pure and KEPT_CAUSES[number] not in parts else None
        spent: dict[str, float] = {each: part / MICRO for each, part in parts.items()}
        later = self._later[place] = sum(parts.values()), spent, end, cause
        return later

    def _shares(self, began: int) -> dict[str, int]:
        """How much a job has waited that became eligible then, by cause. Of merged ones, in proportion."""
        parts: dict[str, int] = {}
        for begin, end, number, amount in self._stretches:
            if began <= begin:
                share = amount
            elif began < end:
                share = amount * (end - began) // (end - begin)
            else:
                continue
            if share > 0:
                cause = KEPT_CAUSES[number]
                parts[cause] = parts.get(cause, 0) + share
        return parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Waits) and self._stretches == other._stretches

    def __hash__(self) -> int:
        return hash(self._stretches)

    def __repr__(self) -> str:
        return f"Waits({self._stretches!r})"


def seconds_between(eligible: float, started: float) -> float:
    """How long a job waited that became eligible and started then (seconds), whatever for: the same number as
    `Waits.split` says."""
    return max(0, round(started * MICRO) - round(eligible * MICRO)) / MICRO


_REST: Final = WaitCause.BEHIND_LANE
NO_WAITS: Final = Waits()


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


def stretches_of(text: str | bytes) -> tuple[Stretch, ...]:
    """From the text a store keeps: of each `<begin>,<end>,<cause>,<amount>,`, with 0 for all of it."""
    if not text:
        return ()
    told: Any = msgspec.json.decode(b"[%b0]" % (text.encode() if isinstance(text, str) else text))
    told_of = zip(told[0:-1:4], told[1::4], told[2::4], told[3::4], strict=True)
    return tuple(
        [_stretch((begin, end, cause, amount or end - begin)) for begin, end, cause, amount in told_of]
    )


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
