from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassq.policy.slots import (
    COUNTED,
    GRACE,
    HORIZON,
    MARGIN,
    MOST_CAUGHT_UP,
    After,
    Missed,
    due,
    remembered_until,
    spread,
)
from glassq.schedules.timetables import Every

POLICIES = st.sampled_from(get_args(Missed))
NOW = 1_750_000_000


def listed(*slots: int) -> After:
    """A timetable that has these slots and no others."""

    def after(moment: float) -> int | None:
        at = bisect_right(slots, moment)
        return slots[at] if at < len(slots) else None

    return after


@given(
    st.sets(st.integers(NOW - 90_000, NOW + 90_000), max_size=60).map(sorted),
    st.integers(NOW - 90_000, NOW),
    POLICIES,
)
def test_every_due_slot_is_enqueued_or_missed(slots: list[int], position: int, missed: Missed) -> None:
    """None is both, none is neither, none comes early, and afterwards nothing is due any more."""
    after = listed(*slots)
    found = due(after, missed, position=position, now=NOW)
    expected = [slot for slot in slots if position < slot <= NOW]
    assert len(found.slots) + found.missed == len(expected)
    assert set(found.slots) <= set(expected)
    assert list(found.slots) == sorted(found.slots)
    assert found.position == (expected[-1] if expected else position)
    assert due(after, missed, position=found.position, now=NOW).slots == ()
    if missed == "all":
        assert list(found.slots) == expected
    elif missed == "last" or not expected or NOW - expected[-1] <= GRACE:
        assert list(found.slots) == expected[-1:]
    else:
        assert found.slots == ()


@given(st.lists(st.integers(0, 5000), max_size=30), POLICIES)
def test_looking_often_or_seldom_enqueues_nothing_twice(steps: list[int], missed: Missed) -> None:
    """However time goes on, the slots of all looks are in order, each once; under `all`, none is left out."""
    every = Every(60)
    position = now = NOW
    seen: list[int] = []
    for step in steps:
        now += step
        found = due(every.after, missed, position=position, now=now)
        position = found.position
        seen += found.slots
    assert all(one < other for one, other in pairwise(seen))
    if missed == "all":
        assert seen == list(range(every.seconds * (NOW // 60 + 1), now + 1, 60))


def test_after_an_outage_the_newest_hundred_are_caught_up_on() -> None:
    """Under `all`: an outage is not answered by a flood, what is left out counts as missed."""
    found = due(Every(60).after, "all", position=NOW - 500 * 60, now=NOW)
    assert len(found.slots) == MOST_CAUGHT_UP
    assert found.slots[-1] == found.position == NOW // 60 * 60
    assert found.missed == 500 - MOST_CAUGHT_UP


def test_a_year_of_seconds_costs_no_more_than_a_day() -> None:
    """Slots beyond the newest thousand are not looked at."""
    asked = 0

    def after(moment: float) -> int | None:
        nonlocal asked
        asked += 1
        return int(moment) + 1

    found = due(after, "last", position=NOW - HORIZON, now=NOW)
    assert found.slots == (NOW,)
    assert found.missed == COUNTED - 1
    assert asked < 10 * COUNTED


def test_skip_forgives_a_minute() -> None:
    """A leader may change in that time; a slot that is later than that is missed."""
    once = listed(NOW)
    assert due(once, "skip", position=0, now=NOW + GRACE).slots == (NOW,)
    late = due(once, "skip", position=0, now=NOW + GRACE + 0.5)
    assert (late.slots, late.missed, late.position) == ((), 1, NOW)


@pytest.mark.parametrize("missed", get_args(Missed))
def test_a_clock_that_steps_back_repeats_nothing(missed: Missed) -> None:
    """What was enqueued before the step is not due again: the schedule waits until it is passed."""
    found = due(Every(60).after, missed, position=NOW, now=NOW - 3600)
    assert (found.slots, found.position) == ((), NOW)


def test_a_clock_that_was_wrong_for_years_stops_no_schedule() -> None:
    """A position more than a day ahead goes back to now, and what comes then is due as ever."""
    years = 10 * HORIZON
    found = due(Every(60).after, "all", position=NOW + years, now=NOW)
    assert (found.slots, found.missed, found.position) == ((), 0, NOW)
    assert due(Every(60).after, "all", position=found.position, now=NOW + 60).slots


@given(st.integers(1, 40 * 86_400), st.integers(0, 300), POLICIES)
def test_a_slot_is_remembered_for_longer_than_it_can_be_caught_up_on(
    seconds: int, later: int, missed: Missed
) -> None:
    """Whoever comes however late after the one that enqueued it and died: it is due no more, or known."""
    every = Every(seconds)
    slot = NOW // seconds * seconds
    known_until = remembered_until(every.after, missed, slot)
    now = slot + later * seconds
    still = due(every.after, missed, position=slot - 1, now=now).slots
    assert slot not in still or now + MARGIN <= known_until


def test_what_has_no_further_slots_is_remembered_for_the_horizon() -> None:
    """A single slot can be caught up on for so long, and then no more."""
    once = listed(NOW)
    assert remembered_until(once, "last", NOW) == NOW + HORIZON + MARGIN
    assert due(once, "last", position=0, now=NOW + HORIZON - 1).slots == (NOW,)
    assert due(once, "last", position=0, now=NOW + HORIZON).slots == ()


@given(st.text(max_size=20), st.integers(0, 2**33), st.floats(0, 86_400))
def test_jitter_is_the_same_whoever_asks(name: str, slot: int, jitter: float) -> None:
    """Two leaders put a slot's job off alike, within its bounds."""
    assert 0 <= spread(name, slot, jitter) <= jitter
    assert spread(name, slot, jitter) == spread(name, slot, jitter)


def test_jitter_spreads() -> None:
    """Schedules of one minute do not come at one moment."""
    waits = {spread(f"report-{number}", NOW, 60) // 10 for number in range(100)}
    assert waits == {0, 1, 2, 3, 4, 5}
