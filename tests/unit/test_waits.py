"""How a job's wait is taken apart: only its own time counts, and nothing is lost or counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassq.model.waits import (
    BACKOFF,
    FAIRNESS,
    MICRO,
    NO_WAITS,
    NO_WORKER,
    PAUSED,
    Stretch,
    WaitCause,
    Waits,
    merged,
    seconds_between,
    split_together,
    stretches_of,
    text_of,
    waits_of,
    waits_told,
)

lengths = st.lists(
    st.tuples(
        st.integers(0, 50), st.integers(1, 50), st.sampled_from([FAIRNESS, NO_WORKER, PAUSED, BACKOFF])
    ),
    max_size=30,
)


def laid_out(told: list[tuple[int, int, int]]) -> str:
    """Stretches one behind the other, from gaps, lengths and causes."""
    text, at = "", 1000
    for gap, length, cause in told:
        text += text_of(at + gap, at + gap + length, cause)
        at += gap + length
    return text


def test_a_wait_without_stretches_was_behind_the_lane() -> None:
    """The rest is all of it."""
    assert NO_WAITS.split(10.0, 12.5) == (2.5, {WaitCause.BEHIND_LANE: 2.5})
    assert waits_of("") is NO_WAITS


def test_a_job_is_told_what_came_after_it() -> None:
    """A stretch before it is not its own, of one that it came within the rest is."""
    waits = waits_of("1000,2000,0,0,3000,5000,2,0,")
    assert waits.parts(0, 6000) == {"fairness": 1000, "paused": 2000, "behind_lane": 3000}
    assert waits.parts(1500, 4500) == {"fairness": 500, "paused": 2000, "behind_lane": 2000}
    assert waits.parts(4000, 2000) == {"paused": 1000, "behind_lane": 1000}
    assert waits.parts(5000, 10) == {"behind_lane": 10}


def test_of_merged_stretches_a_job_is_told_its_share() -> None:
    """Half of the time, half of each amount."""
    waits = waits_of("1000,2000,0,300,1000,2000,1,100,")
    assert waits.parts(1500, 1000) == {"fairness": 150, "no_worker": 50, "behind_lane": 800}


def test_a_clock_that_went_back_makes_no_negative_part() -> None:
    """The parts come to no more than the wait."""
    waits = waits_of("1000,2000,0,0,2000,3000,1,0,")
    assert waits.parts(1000, 1500) == {"fairness": 1000, "no_worker": 500, "behind_lane": 0}
    assert waits.split(0.003, 0.001) == (0.0, {"behind_lane": 0.0})
    assert seconds_between(0.003, 0.001) == 0.0


def test_a_worker_adds_the_time_in_which_a_lane_waited_in_it() -> None:
    """Behind what there is; nothing when no time passed."""
    waits = Waits((Stretch(1_000_000, 2_000_000, PAUSED, 1_000_000),))
    longer = waits.and_then(2.0, 2.5, FAIRNESS)
    assert longer.parts(0, 3_000_000) == {"paused": 1_000_000, "fairness": 500_000, "behind_lane": 1_500_000}
    assert waits.and_then(2.0, 2.0, FAIRNESS) is waits


@given(told=lengths, began=st.integers(900, 4200), after=st.integers(0, 500))
def test_the_parts_sum_to_the_whole(told: list[tuple[int, int, int]], began: int, after: int) -> None:
    """Whatever the stretches, and whatever is left of them when they are merged."""
    text = laid_out(told)
    last = max([each.end for each in stretches_of(text)], default=1000)
    waited = max(0, last + after - began)
    for form in (text, merged(text, 1000, 2000, 4), merged(text, 0, 0, 1)):
        parts = waits_of(form).parts(began, waited)
        assert sum(parts.values()) == waited
        assert min(parts.values()) >= 0


@given(told=lengths, earliest=st.integers(900, 4200), spread=st.integers(0, 2000))
def test_merging_changes_nothing_for_jobs_before_and_behind(
    told: list[tuple[int, int, int]], earliest: int, spread: int
) -> None:
    """The oldest job and the youngest are told the same as before, however little is kept."""
    text = laid_out(told)
    latest = earliest + spread
    short = merged(text, earliest, latest, 100)
    for began in (earliest, latest):
        before, after = waits_of(text).parts(began, 10_000), waits_of(short).parts(began, 10_000)
        assert {cause: part for cause, part in after.items() if part} == {
            cause: part for cause, part in before.items() if part
        }


@given(lengths.filter(bool), st.integers(0, 5000), st.integers(0, 9000))
def test_a_wait_is_split_as_its_parts_say(told: list[tuple[int, int, int]], came: int, lasted: int) -> None:
    """However a split is come by, of one stretch or of many: it is what the parts are, in seconds. A clock
    that stepped back is among the cases."""
    for waits in (waits_of(laid_out(told)), waits_of(laid_out(told[:1]))):
        began, started = came / 1_000_000, (came + lasted) / 1_000_000
        seconds, causes = waits.split(began, started)
        assert seconds == seconds_between(began, started)
        assert seconds == lasted / 1_000_000
        parts = waits.parts(came, lasted)
        assert {cause: part for cause, part in causes.items() if part} == {
            cause: part / 1_000_000 for cause, part in parts.items() if part
        }


@given(lengths, st.lists(st.tuples(st.integers(900, 3000), st.integers(-20, 2000)), min_size=1, max_size=4))
def test_jobs_of_a_lane_are_told_together_what_each_is_told(
    told: list[tuple[int, int, int]], jobs: list[tuple[int, int]]
) -> None:
    """How long each has waited, and the sums by cause; also of merged stretches, and where a clock stepped
    back."""
    text = laid_out(told)
    times = [(came / MICRO, (came + waited) / MICRO) for came, waited in jobs]
    for waits in (waits_of(text), waits_of(merged(text, 1000, 2000, 4))):
        singly = [waits.split(*each) for each in times]
        seconds, spent = waits.split_all(*zip(*times, strict=True))
        assert seconds == pytest.approx([each for each, _ in singly], abs=1e-9)
        for cause in WaitCause:
            assert spent.get(cause, 0.0) == pytest.approx(
                sum(causes.get(cause, 0.0) for _, causes in singly), abs=1e-9
            )


@given(st.lists(st.tuples(lengths, st.integers(900, 3000), st.integers(-20, 2000)), min_size=1, max_size=5))
def test_jobs_of_several_lanes_are_told_together_what_each_is_told(
    jobs: list[tuple[list[tuple[int, int, int]], int, int]],
) -> None:
    """Each with the waits of its own lane, those of one lane with the same ones; also where a clock stepped
    back."""
    of_one = [waits_of(laid_out(jobs[0][0]))] * len(jobs)
    singles = [waits_of(laid_out(told)) for told, _, _ in jobs]
    for lanes in (singles, of_one, [*of_one, NO_WAITS], [*of_one, *of_one, *of_one, *singles]):
        told = (jobs * 4)[: len(lanes)]
        times = [(came / MICRO, (came + waited) / MICRO) for _, came, waited in told]
        singly = [waits.split(*each) for waits, each in zip(lanes, times, strict=True)]
        seconds, spent = split_together(lanes, *zip(*times, strict=True))
        assert seconds == pytest.approx([each for each, _ in singly], abs=1e-9)
        for cause in WaitCause:
            assert spent.get(cause, 0.0) == pytest.approx(
                sum(causes.get(cause, 0.0) for _, causes in singly), abs=1e-9
            )


@given(lengths)
def test_stretches_may_be_told_newest_first(told: list[tuple[int, int, int]]) -> None:
    """Behind a number, or nothing, that is not theirs."""
    waits = waits_of(laid_out(told))
    text = "".join(f"{begin},{end},{cause},0," for begin, end, cause, _ in reversed(waits.stretches))
    assert waits_told(f"17,{text}".encode()) == waits_told(f",{text}".encode()) == waits
    assert waits_told(b"") is waits_told(b"0,") is NO_WAITS
