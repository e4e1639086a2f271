from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassq.errors import BadOption, MissingExtra
from glassq.schedules import timetables
from glassq.schedules.timetables import (
    Cron,
    Every,
    Once,
    Timetable,
    parse_cron,
    parse_interval,
    parse_moment,
)

HOURS = ("Europe/Stockholm", "America/New_York", "America/Santiago")
"""Ahead and behind, north and south; the last one changes at midnight."""
ZONES = (*HOURS, "Australia/Lord_Howe")
"""The last one's summer is half an hour; cronsim goes through its repeated half hour once."""

FIXED = {
    "30 2 * * *": ("02:30",),
    "0 3 * * *": ("03:00",),
    "5,35 1 * * *": ("01:05", "01:35"),
    "59 2 * * *": ("02:59",),
    "15 0 * * *": ("00:15",),
    "0 2,3 * * *": ("02:00", "03:00"),
    "0,30 1-2 * * *": ("01:00", "01:30", "02:00", "02:30"),
}
MOVING = ("* * * * *", "*/20 * * * *", "30 * * * *", "*/15 2 * * *", "10 */1 * * *", "0 30 2 * * *")


def moment(text: str, zone: str) -> float:
    """Epoch seconds of a local time; `+` after it means the second of two."""
    local = datetime.fromisoformat(text.removesuffix("+")).replace(tzinfo=ZoneInfo(zone))
    return local.replace(fold=int(text.endswith("+"))).timestamp()


def slots(timetable: Timetable, start: float, end: float) -> list[int]:
    """Its slots in (start, end]."""
    found = []
    slot = timetable.after(start)
    while slot is not None and slot <= end:
        found.append(slot)
        slot = timetable.after(slot)
    return found


def local(found: list[int], zone: str) -> list[str]:
    """Slots as the wall's clock shows them, with `+` for the second of two."""
    times = [datetime.fromtimestamp(slot, ZoneInfo(zone)) for slot in found]
    return [f"{time:%H:%M}" + "+" * time.fold for time in times]


@cache
def edges(zone: str) -> list[float]:
    """The changes of the clock in a year of this zone, to the hour."""
    year = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(365 * 24)]
    shifts = [(time.timestamp(), time.astimezone(ZoneInfo(zone)).utcoffset()) for time in year]
    return [after for (_, was), (after, now) in pairwise(shifts) if was != now]


@pytest.mark.parametrize(
    ("expression", "day", "expected"),
    [
        # 2026-03-29: 02:00 is followed by 03:00.
        ("30 2 * * *", "2026-03-29", ["03:00"]),
        ("0,30 2 * * *", "2026-03-29", ["03:00"]),
        ("0 2,3 * * *", "2026-03-29", ["03:00"]),
        ("30 1 * * *", "2026-03-29", ["01:30"]),
        ("30 * * * *", "2026-03-29", ["00:30", "01:30", "03:30", "04:30"]),
        ("*/30 2 * * *", "2026-03-29", []),
        ("0 30 2 * * *", "2026-03-29", []),
        # 2026-10-25: 03:00 is followed by 02:00.
        ("30 2 * * *", "2026-10-25", ["02:30"]),
        ("0 3 * * *", "2026-10-25", ["03:00"]),
        ("30 * * * *", "2026-10-25", ["00:30", "01:30", "02:30", "02:30+", "03:30", "04:30"]),
        ("*/30 2 * * *", "2026-10-25", ["02:00", "02:30", "02:00+", "02:30+"]),
        ("0 30 2 * * *", "2026-10-25", ["02:30", "02:30+"]),
    ],
)
def test_the_nights_the_clocks_change(expression: str, day: str, expected: list[str]) -> None:
    """What is skipped is due when the gap is over, what comes twice once; a `*` follows real time."""
    zone = "Europe/Stockholm"
    found = slots(
        parse_cron(expression, zone), moment(f"{day}T00:00", zone) - 1, moment(f"{day}T04:59", zone)
    )
    assert local(found, zone) == expected


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", FIXED)
def test_fixed_times_are_due_once_a_day(expression: str, zone: str) -> None:
    """Around every edge of a year: each date's times once, the first of two, the end of the gap for none."""
    for edge in edges(zone):
        start, end = edge - 3 * 86_400, edge + 3 * 86_400
        dates = [datetime.fromtimestamp(start + day * 86_400, ZoneInfo(zone)).date() for day in range(-1, 8)]
        times = {real(f"{date}T{time}", zone) for date in dates for time in FIXED[expression]}
        assert slots(Cron(expression, zone), start, end) == sorted(
            each for each in times if start < each <= end
        )


def real(text: str, zone: str) -> int:
    """The moment of a local time, the first of two; where there is none, the first one after the gap."""
    shown = datetime.fromisoformat(text)
    while (
        datetime.fromtimestamp(moment(shown.isoformat(), zone), ZoneInfo(zone)).replace(tzinfo=None) != shown
    ):
        shown += timedelta(minutes=1)
    return int(moment(shown.isoformat(), zone))


@given(
    st.sampled_from(HOURS),
    st.sampled_from(MOVING),
    st.integers(-4 * 3600, 4 * 3600),
)
def test_a_star_follows_the_time_that_passes(zone: str, expression: str, shift: int) -> None:
    """Next to both edges: a moment is a slot exactly if the wall's clock shows a time that fits, then."""
    table = Cron(expression, zone)
    minutes = expression.split()[-5:]
    for edge in edges(zone):
        start = edge + shift
        found = slots(table, start, start + 3600)
        fitting = []
        for second in range(int(start) + 1, int(start) + 3601):
            if second % 60 == 0:
                shown = datetime.fromtimestamp(second, ZoneInfo(zone))
                if _fits(minutes[0], shown.minute) and _fits(minutes[1], shown.hour):
                    fitting.append(second)
        assert found == fitting


def _fits(field: str, value: int) -> bool:
    if field.startswith("*"):
        return value % int(field.partition("/")[2] or 1) == 0
    return value == int(field)


@given(
    st.sampled_from(ZONES),
    st.sampled_from((*FIXED, *MOVING)),
    st.integers(0, 1),
    st.lists(st.integers(-2 * 86_400, 2 * 86_400), min_size=2, max_size=4).map(sorted),
)
def test_the_slots_are_the_same_from_wherever_they_are_looked_for(
    zone: str, expression: str, edge: int, cuts: list[int]
) -> None:
    """Two leaders agree, and a look in several steps finds what one look does, also inside a change."""
    table = Cron(expression, zone)
    middle = edges(zone)[edge % len(edges(zone))] if edges(zone) else moment("2026-06-01", zone)
    times = [middle + cut / 20 for cut in cuts]
    parts = [slot for start, end in pairwise(times) for slot in slots(table, start, end)]
    assert parts == slots(table, times[0], times[-1])


@given(st.integers(1, 10_000_000), st.floats(0, 4e9))
def test_intervals_are_multiples_since_the_epoch(seconds: int, start: float) -> None:
    """All who know the interval agree on its slots, and the next is never further than it."""
    slot = Every(seconds).after(start)
    assert slot is not None
    assert slot % seconds == 0
    assert start < slot <= start + seconds


def test_once_is_once() -> None:
    """Before its moment that is what comes next, and then nothing."""
    table = parse_moment(datetime(2026, 1, 1, tzinfo=UTC))
    assert table.after(table.at - 0.5) == table.at
    assert table.after(table.at) is None
    assert parse_moment(1.25) == Once(2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: parse_cron("0 9 * *"), "minute, hour, day of month"),
        (lambda: parse_cron("61 9 * * *"), "Bad minute"),
        (lambda: parse_cron("0 0 30 2 *"), "Bad day-of-month"),
        (lambda: parse_cron(9), "is text such as"),
        (lambda: parse_cron("0 9 * * *", "Europe/Atlantis"), "no time zone"),
        (lambda: parse_cron("0 9 * * *", "../etc/passwd"), "no time zone"),
        (lambda: parse_cron("0 9 * * *", None), "name of a time zone"),
        (lambda: parse_interval(0.5), "whole seconds"),
        (lambda: parse_interval(0), "above 0"),
        (lambda: parse_interval("1m"), "is seconds"),
        (lambda: parse_moment(datetime(2026, 1, 1)), "needs a time zone"),  # noqa: DTZ001 - that is the point
        (lambda: parse_moment("tomorrow"), "is seconds"),
    ],
)
def test_what_is_no_timetable_is_refused(make: object, says: str) -> None:
    """With what is wrong and what to do."""
    assert callable(make)
    with pytest.raises(BadOption, match=says):
        make()


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cron expressions need a package; intervals and single moments do not."""
    monkeypatch.setattr(timetables, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'glassq\[cron\]'"):
        parse_cron("0 9 * * *")
    assert parse_interval(60) == Every(60)
