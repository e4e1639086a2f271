"""Where a job can be, and where it can go from there."""

from __future__ import annotations

import pytest

from glassq.model.jobs import LEGAL_TRANSITIONS, JobState, Priority

ENDS = {JobState.SUCCEEDED, JobState.CANCELLED, JobState.EXPIRED}
STARTS = {JobState.SCHEDULED, JobState.DEFERRED, JobState.READY}


def test_every_state_has_its_row() -> None:
    """The table is total, and leads to states only."""
    assert set(LEGAL_TRANSITIONS) == set(JobState)
    assert all(state not in successors for state, successors in LEGAL_TRANSITIONS.items())


@pytest.mark.parametrize("state", sorted(ENDS))
def test_the_end_is_the_end(state: JobState) -> None:
    """A job that succeeded, was cancelled or expired never comes back."""
    assert not LEGAL_TRANSITIONS[state]


def test_a_buried_job_can_only_be_replayed() -> None:
    """Out of the dead letters leads one way: back to ready."""
    assert LEGAL_TRANSITIONS[JobState.BURIED] == {JobState.READY}


def test_only_a_leased_job_ends_by_running() -> None:
    """Nothing succeeds or is buried that was not leased first, and only what is ready is leased."""
    for state in (JobState.SUCCEEDED, JobState.BURIED):
        assert {source for source, to in LEGAL_TRANSITIONS.items() if state in to} == {JobState.LEASED}
    assert {source for source, to in LEGAL_TRANSITIONS.items() if JobState.LEASED in to} == {JobState.READY}


def test_a_lost_lease_brings_the_job_back() -> None:
    """A retry, a release and a reclaim all lead from leased to ready: no running job can get stuck."""
    assert JobState.READY in LEGAL_TRANSITIONS[JobState.LEASED]


@pytest.mark.parametrize("start", sorted(STARTS))
def test_every_end_can_be_reached(start: JobState) -> None:
    """From wherever a job begins, each way of settling is possible."""
    reached, frontier = {start}, {start}
    while frontier:
        frontier = set().union(*(LEGAL_TRANSITIONS[state] for state in frontier)) - reached
        reached |= frontier
    assert reached >= ENDS | {JobState.BURIED, JobState.LEASED}


def test_priorities_are_ordered() -> None:
    """Six levels, the higher the more urgent, normal in the lower middle."""
    assert [each.name for each in sorted(Priority)] == [
        "VERY_LOW",
        "LOW",
        "NORMAL",
        "HIGH",
        "VERY_HIGH",
        "CRITICAL",
    ]
