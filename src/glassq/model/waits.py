"""What a job's time in queue was spent on, from the times at which nobody held its lane."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from itertools import chain, groupby, repeat
from operator import attrgetter, mul, sub, truediv
from typing import Final, NamedTuple, TypeAlias

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
"""Makes one of its fields, without a call that only passes them on."""

_NO_MORE: Final = _stretch((0, 0, 0, 0))
"""No stretch: behind those of a lane, and where there is none."""
_Told: TypeAlias = Iterable[tuple[int, int, int, int]]
"""Stretches as they are told, or whole ones: the amount may be 0, for all of the time. Behind those of each
lane is one that ends at 0."""

Waited: TypeAlias = tuple[float, dict[str, float]]
"""What a job has waited, in seconds, and what for."""
_WaitedTogether: TypeAlias = tuple[list[float], dict[str, float]]
"""What each of several jobs has waited, and what for all of them together."""

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


class _Stretches:
    """Those of one lane, ascending, with what was found out about them: for many jobs of the lane."""

    __slots__ = ("_last", "_later", "all")

    def __init__(self, stretches: tuple[Stretch, ...]) -> None:
        self.all = stretches
        self._last = stretches[-1][1] if stretches else 0
        self._later: dict[int, _Later] = {}

    def split(self, eligible: float, started: float) -> Waited:
        """See `Waits.split`."""
        began = round(eligible * MICRO)
        waited = round(started * MICRO) - began
        if waited < 0:
            return 0.0, {_REST: 0.0}
        seconds = waited / MICRO
        if began >= self._last:  # came while the lane was held
            return seconds, {_REST: seconds}
        place = bisect_left(self.all, _stretch((began, 0, 0, 0)))
        whole, spent, end, cause = self._later.get(place) or self._reckon(place)
        share = end - began
        if share <= 0:  # came before all of them, or between two
            if waited >= whole:
                return seconds, {**spent, _REST: (waited - whole) / MICRO}
        elif cause is not None and waited >= whole + share:
            return seconds, {**spent, cause: share / MICRO, _REST: (waited - whole - share) / MICRO}
        parts = self.parts(began, waited)
        return seconds, {each: part / MICRO for each, part in parts.items()}

    def split_all(self, eligible: Sequence[float], started: Sequence[float]) -> _WaitedTogether:
        """See `Waits.split_all`."""
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
            came = _all_micros(eligible)
            told = chain.from_iterable(repeat((*self.all, _NO_MORE), jobs))
            added_up = _add_up(told, repeat(0), repeat(0), came, list(map(sub, _all_micros(started), came)))
            return added_up or _sum_up(map(self.split, eligible, started))
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
        place = bisect_left(self.all, _stretch((began, 0, 0, 0)))
        whole, spent, end, cause = self._later.get(place) or self._reckon(place)
        begin = self.all[place - 1].begin if place else 0
        until = self.all[place].begin if place < len(self.all) else end
        return _Span(end if cause is None else begin + 1, until, whole, end, cause, spent)

    def parts(self, began: int, waited: int) -> dict[str, int]:
        """See `Waits.parts`."""
        amounts, _ = _shares((*self.all, _NO_MORE), (0,), (0,), (began,))
        parts: dict[str, int] = {
            each: amount for each, amount in zip(KEPT_CAUSES, amounts, strict=True) if amount
        }
        rest = waited - sum(amounts)
        if rest < 0:  # a clock stepped back in between
            parts, rest = _no_more_than(parts, waited), 0
        return {**parts, _REST: rest}

    def _reckon(self, place: int) -> _Later:
        """Reckoned once for all jobs that came before the stretch at this place, and after the beginning of
        the one before."""
        parts = _amounts(self.all[place:])
        begin, end, number, amount = self.all[place - 1] if place else _NO_MORE
        is_pure = amount == end - begin
        cause = KEPT_CAUSES[number] if is_pure and KEPT_CAUSES[number] not in parts else None
        spent: dict[str, float] = {each: part / MICRO for each, part in parts.items()}
        later = self._later[place] = sum(parts.values()), spent, end, cause
        return later


class Waits(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The times at which a lane was nobody's, as far back as any of its jobs goes. They stay as they were
    told until somebody asks, and then mostly of many lanes together (`split_together`)."""

    told: bytes = b","
    """What a store tells: of each stretch `<begin>,<end>,<cause>,<amount>,`, with 0 for all of it, in time or
    against it; behind a number, or nothing, that only the store reads, and a comma."""
    since: float = 0.0
    """From this moment on (seconds), behind all that was told, its worker had it and served others."""
    until: float = 0.0
    """That lasted until then."""
    _known: _Stretches | None = None  # and nothing it holds holds it, so nobody has to look for that

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """What it is made of: ascending."""
        return self._stretches().all

    def split(self, eligible: float, started: float) -> Waited:
        """How long a job waited that became eligible and started then (seconds), and for what: the parts sum
        to the whole, counted in microseconds."""
        return self._stretches().split(eligible, started)

    def split_all(self, eligible: Sequence[float], started: Sequence[float]) -> _WaitedTogether:
        """The same of several jobs, at least one: how long each of them waited, and for what all of them
        together. Jobs of a lane mostly came one soon after the other: what is the same is asked once, and
        nothing is rounded to microseconds."""
        return self._stretches().split_all(eligible, started)

    def parts(self, began: int, waited: int) -> dict[str, int]:
        """The parts of a wait that began then and lasted so long. They sum to it."""
        return self._stretches().parts(began, waited)

    def _stretches(self) -> _Stretches:
        known = self._known
        if known is None:
            found = sorted(_whole(self.told))
            begin, end = round(self.since * MICRO), round(self.until * MICRO)
            begin = max(begin, found[-1].end if found else 0)
            if end > begin:
                found.append(_stretch((begin, end, FAIRNESS, end - begin)))
            known = _Stretches(tuple(found))
            msgspec.structs.force_setattr(self, "_known", known)  # changes nothing of what it says
        return known

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Waits) and self.stretches == other.stretches

    def __hash__(self) -> int:
        return hash(self.stretches)


def _all_micros(seconds: Iterable[float]) -> list[int]:
    """Several times, without a step of the interpreter for each; `round` would cost twice as much."""
    return list(map(float.__round__, map(mul, seconds, repeat(float(MICRO)))))


def _all_seconds(micros: Iterable[int]) -> list[float]:
    return list(map(truediv, micros, repeat(MICRO)))


def seconds_between(eligible: float, started: float) -> float:
    """How long a job waited that became eligible and started then (seconds), whatever for: the same number as
    `Waits.split` says."""
    return max(0, round(started * MICRO) - round(eligible * MICRO)) / MICRO


_REST: Final = WaitCause.BEHIND_LANE
NO_WAITS: Final = Waits()


def split_together(
    lanes: Sequence[Waits], eligible: Sequence[float], started: Sequence[float]
) -> _WaitedTogether:
    """As `Waits.split_all`, of jobs each with the waits of its lane, those of a lane one behind the other."""
    if _FEW * len(set(map(id, lanes))) < len(lanes):
        return _split_by_lanes(lanes, eligible, started)
    jobs = len(lanes)
    times = _all_micros(chain(eligible, started, map(_SINCE, lanes), map(_UNTIL, lanes)))
    came, since, until = times[:jobs], times[2 * jobs : 3 * jobs], times[3 * jobs :]
    waited = list(map(sub, times[jobs : 2 * jobs], came))
    added_up = _add_up(_read(map(_TOLD, lanes)), since, until, came, waited)
    return added_up or _sum_up(map(Waits.split, lanes, eligible, started))


_FEW: Final = 2
"""Jobs of a lane up to which it costs less to take their waits apart one by one."""
_TOLD: Callable[[Waits], bytes] = attrgetter("told")
_SINCE: Callable[[Waits], float] = attrgetter("since")
_UNTIL: Callable[[Waits], float] = attrgetter("until")


def _add_up(
    told: _Told, since: Iterable[int], until: Iterable[int], came: list[int], waited: list[int]
) -> _WaitedTogether | None:
    """Of jobs that are few in each lane, or of which some came within merged stretches or in several. None
    where a clock stepped back."""
    by_cause, by_job = _shares(told, since, until, came)
    if min(map(sub, waited, by_job)) < 0:
        return None
    spent: dict[str, float] = {
        cause: amount / MICRO for cause, amount in zip(KEPT_CAUSES, by_cause, strict=True) if amount
    }
    spent[_REST] = (sum(waited) - sum(by_cause)) / MICRO
    return _all_seconds(waited), spent


def _shares(
    told: _Told, since: Iterable[int], until: Iterable[int], came: Sequence[int]
) -> tuple[list[int], list[int]]:
    """What jobs have waited that came then, with what is told of the lane of each, one behind the other, and
    from when to when, behind all that, its worker had it: by cause, all together, and of each job for all
    causes. Of merged stretches they are told in proportion.

    One loop, as nearly every job's wait is taken apart here."""
    by_cause, by_job = [0] * len(KEPT_CAUSES), []
    lanes = zip(since, until, came, strict=False)
    last, served, began = next(lanes)
    whole = 0
    for begin, end, number, amount in told:
        if end:
            if end > last:  # noqa: PLR1730 - a call costs more
                last = end
            if began <= begin:
                share = amount or end - begin
            elif began < end:
                share = (amount or end - begin) * (end - began) // (end - begin)
            else:
                continue
            by_cause[number] += share
            whole += share
            continue
        if served > last and served > began:
            share = served - max(last, began)
            by_cause[FAIRNESS] += share
            whole += share
        by_job.append(whole)
        whole = 0
        last, served, began = next(lanes, _NO_LANE)
    if len(by_job) != len(came):
        raise ValueError(f"{len(by_job)} lanes are told of for {len(came)} jobs")
    return by_cause, by_job


_NO_LANE: Final = 0, 0, 0


def _split_by_lanes(
    lanes: Sequence[Waits], eligible: Sequence[float], started: Sequence[float]
) -> _WaitedTogether:
    """Of jobs that are many in each lane."""
    spent: dict[str, float] = {}
    waited: list[float] = []
    at = 0
    for _, run in groupby(lanes, id):
        lane, end = lanes[at], at + len([*run])
        seconds, causes = lane.split_all(eligible[at:end], started[at:end])
        waited += seconds
        _add_to(spent, causes)
        at = end
    return waited, spent


def _sum_up(jobs: Iterable[Waited]) -> _WaitedTogether:
    """Of jobs for some of which a clock stepped back, each by itself."""
    spent: dict[str, float] = {}
    waited: list[float] = []
    for seconds, causes in jobs:
        waited.append(seconds)
        _add_to(spent, causes)
    return waited, spent


def _add_to(spent: dict[str, float], causes: Mapping[str, float]) -> None:
    for cause in causes:
        spent[cause] = spent.get(cause, 0.0) + causes[cause]


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


_numbers: Final = msgspec.json.Decoder(list[int]).decode
_FIRST, _BETWEEN, _LAST = b"[1", b"0,0,0,1", b"0,0,0,0]"
"""Around what is told of lanes, to read it all at once. The 1 makes a number of what may be none; with three
more it is what tells that of the lane before it there is no more."""


def _read(told: Iterable[bytes]) -> _Told:
    """What is told of several lanes (see `Waits.told`), one behind the other, with `_NO_MORE` behind each."""
    numbers = iter(_numbers(b"%b%b%b" % (_FIRST, _BETWEEN.join(told), _LAST)))
    next(numbers)
    return zip(numbers, numbers, numbers, numbers, strict=True)


def _whole(told: bytes) -> list[Stretch]:
    return [
        _stretch((begin, end, cause, amount or end - begin))
        for begin, end, cause, amount in _read((told,))
        if end
    ]


def stretches_of(text: str) -> tuple[Stretch, ...]:
    """Of a text like `Waits.told`, without anything before the stretches."""
    return tuple(_whole(b",%b" % text.encode())) if text else ()


def waits_of(text: str) -> Waits:
    """Of the same."""
    return Waits(b",%b" % text.encode()) if text else NO_WAITS


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
