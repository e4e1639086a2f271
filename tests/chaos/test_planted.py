"""A suite that cannot fail proves nothing: with a defect planted, the checker has to find it."""

from __future__ import annotations

from pathlib import Path

import pytest

from glassq.testing.history import Report
from tests.chaos.conftest import Stages
from tests.chaos.processes import Process
from tests.chaos.stage import Stage
from tests.chaos.test_stops import sleep_between_jobs

ENDINGS = ("settle.ok", "settle.fenced", "lease.lost")
"""How a sleeper's job ends for it: it settles, is refused, or has heard before that its lane is lost."""


def invariants(report: Report) -> set[str]:
    """Which invariants were found broken."""
    return {finding.invariant for finding in report.findings}


def sleep_through_a_takeover(stage: Stage) -> Report:
    """A worker stands still in the middle of a job until another one is in the middle of it, too; then it
    reports its own end."""
    held, again = stage.folder / "held", stage.folder / "again"
    sleeper = worker_in_a_job(stage, held)
    stage.start("enqueue", "4", "0").wait()
    stage.wait_for(lambda: in_a_job(stage, sleeper), "the first job")
    sleeper.stop()
    other = worker_in_a_job(stage, again)
    stage.wait_for(lambda: in_a_job(stage, other), "it again")
    held.touch()
    sleeper.go_on()
    stage.wait_for(
        lambda: sleeper.pid in {each["pid"] for each in stage.events(*ENDINGS)},
        "the sleeper's own end of it",
    )
    again.touch()
    return stage.judge()


def worker_in_a_job(stage: Stage, until: Path) -> Process:
    """A worker whose first job lasts until there is this file."""
    return stage.worker(1, GLASSQ_CRASH_AT="hold@in_function", CHAOS_HOLD=str(until))


def in_a_job(stage: Stage, worker: Process) -> bool:
    """Whether its first job has begun."""
    return worker.pid in {event["pid"] for event in stage.events("at_point")}


def test_a_sleeper_is_refused(store_url: str, stages: Stages) -> None:
    """What the next test plants a defect into: with the fence, nothing is found."""
    report = sleep_through_a_takeover(stages(store_url))
    assert not report.findings, report


def test_a_missing_fence_is_found(store_url: str, stages: Stages) -> None:
    """Without the fence a worker that slept past its lease settles the job that another one runs: I4."""
    report = sleep_through_a_takeover(stages(store_url, CHAOS_PLANT="fence"))
    assert "I4" in invariants(report), report


@pytest.mark.parametrize("plant", ["", "append"])
def test_appends_that_are_not_replay_safe_are_found(redis_url: str, stages: Stages, plant: str) -> None:
    """Answers of appends are lost and the requests repeated: without the remembered answer each repetition
    stores the job again (I5, I10); with it, nothing is found."""
    stage = stages(redis_url, CHAOS_CUT="append:0.3", CHAOS_PLANT=plant)
    stage.producer("p", 100).wait()
    report = stage.judge()
    assert len(stage.events("enqueue.ok")) > 50
    if plant:
        assert {"I5", "I10"} & invariants(report), report
    else:
        assert not report.findings, report


@pytest.mark.parametrize("plant", ["", "deadline"])
def test_a_worker_that_trusts_its_lease_for_ever_is_seen(store_url: str, stages: Stages, plant: str) -> None:
    """A worker stands still between two jobs of a lane until another one has run the second. Without its own
    deadline it runs that once more, after it was settled; with it, it begins nothing.

    One such start in a stay may always slip in between looking at the lease and starting, so the checker
    counts the first (`late_starts`) and accuses from the second on; the store's fence allows no second.
    """
    stage = stages(store_url, CHAOS_PLANT=plant)
    sleep_between_jobs(stage, 2)
    report = stage.judge()
    assert not report.findings, report
    assert report.figures["late_starts"] == (1 if plant else 0)
