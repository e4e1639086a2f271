"""How a job's wait is taken apart: only its own time counts, and nothing is lost or counted twice."""

from __future__ import annotations

import msgspec
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
    WaitCause,
    Waits,
    merged,
    seconds_between,
    split_together,
    stretches_of,
    text_of,
    waits_of,
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
    waits = waits_of(text_of(1_000_000, 2_000_000, PAUSED))
    longer = Waits(waits.told, 2.0, 2.5)
    assert longer.parts(0, 3_000_000) == {"paused": 1_000_000, "fairness": 500_000, "behind_lane": 1_500_000}
    assert Waits(waits.told, 1.5, 2.5) == longer
    assert Waits(waits.told, 1.5, 2.0) == Waits(waits.told, 2.0, 2.0) == waits


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


def test_a_time_that_began_nobody_knows_when_is_one() -> None:
    """As of a lane with jobs of several levels that nobody held before."""
    waits, came, went = waits_of("0,3000,0,0,"), [0.001, 0.002, 0.004], [0.004] * 3
    assert waits.parts(1000, 3000) == {"fairness": 2000, "behind_lane": 1000}
    for lanes in ([waits] * 3, [waits, waits_of("0,3000,0,0,"), NO_WAITS]):
        _, spent = split_together(lanes, came, went)
        assert spent == {"fairness": 0.003, "behind_lane": 0.002}


def told_newest_first(text: str) -> str:
    """As one store keeps them, but for the number before them."""
    return "".join(
        f"{begin},{end},{cause},{amount}," for begin, end, cause, amount in stretches_of(text)[::-1]
    )


@st.composite
def jobs_of_lanes(draw: st.DrawFn) -> tuple[Waits, float, float]:
    """When a job came and began, and the waits of its lane: stretches that were merged or were not, in time
    or against it, and perhaps one in its worker, which began behind all others or, as clocks go, did not."""
    text = laid_out(draw(lengths))
    text = draw(st.sampled_from([text, merged(text, 1000, 2000, 4), merged(text, 0, 0, 1)]))
    last = max([each.end for each in stretches_of(text)], default=1000)
    told = f"{draw(st.sampled_from(['', '17']))},{draw(st.sampled_from([text, told_newest_first(text)]))}"
    since = draw(st.integers(last, last + 100) | st.integers(900, last))
    until = draw(st.just(0) | st.integers(since - 50, since + 100))
    came, waited = draw(st.integers(900, last + 200)), draw(st.integers(-20, 4000))
    return Waits(told.encode(), since / MICRO, until / MICRO), came / MICRO, (came + waited) / MICRO


@given(st.lists(jobs_of_lanes(), min_size=1, max_size=6))
def test_waits_that_are_added_up_are_those_of_each_job(jobs: list[tuple[Waits, float, float]]) -> None:
    """To the microsecond: what a job came within, what is merged, and what it waited for in its worker."""
    lanes, eligible, started = zip(*jobs, strict=True)
    seconds, spent = split_together(lanes, eligible, started)
    assert seconds == [seconds_between(*each) for each in zip(eligible, started, strict=True)]
    sums = dict.fromkeys(WaitCause, 0)
    for waits, came, went in jobs:
        waited = round(went * MICRO) - round(came * MICRO)
        for cause, part in waits.parts(round(came * MICRO), max(0, waited)).items():
            sums[WaitCause(cause)] += part
    assert {cause: round(part * MICRO) for cause, part in spent.items() if part} == {
        cause: part for cause, part in sums.items() if part
    }
    assert sum(sums.values()) == sum(round(each * MICRO) for each in seconds)


@given(lengths)
def test_stretches_may_be_told_newest_first(told: list[tuple[int, int, int]]) -> None:
    """Behind a number, or nothing, that is not theirs."""
    text = laid_out(told)
    newest_first = told_newest_first(text)
    assert Waits(f"17,{newest_first}".encode()) == Waits(f",{newest_first}".encode()) == waits_of(text)
    assert Waits(b",") == Waits(b"0,") == NO_WAITS


@pytest.mark.parametrize("told", [b"17,1,2,x,0,", b"17,1,2,0,", b"17", b"", b"1,2,3,4,5,6,7,8"])
def test_what_tells_no_stretches_is_refused_when_it_is_asked(told: bytes) -> None:
    """Whoever serves the lane need not ask; and no other lane is told what is not its own."""
    refused = (msgspec.DecodeError, ValueError, IndexError)
    with pytest.raises(refused):
        Waits(told).split(0.0, 1.0)
    for lanes in ([Waits(told)], [waits_of("1,2,0,0,"), Waits(told)], [Waits(told), waits_of("1,2,0,0,")]):
        with pytest.raises(refused):
            split_together(lanes, [0.0] * len(lanes), [1.0] * len(lanes))
