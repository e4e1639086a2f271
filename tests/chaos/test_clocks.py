"""The wall clocks of workers and producers are set an hour forwards and backwards while they work."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from random import Random

from glassq.stores.open import open_storage
from tests.chaos.clocks import set_clock
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.processes import Process
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage

CLOCKED = "tests.chaos.clocked"
HOUR = 3600.0


def test_a_workers_clock_is_set(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """Steps of an hour while jobs run: no live owner loses a lane, nothing runs twice, the order is kept. On
    SQLite all processes step together (they share their host's clock), on Redis one worker alone."""
    stage = stages(store_url)
    clock = stage.folder / "clock"
    together = stage.store == "sqlite"
    for index in range(2):
        clocked(stage, together, "produce", f"p{index}", "0", "7")
    clocked(stage, True, "work", "4")
    clocked(stage, together, "work", "4")
    for _ in range(sizes.pick(1, 20)):
        for offset in (HOUR, 0, -HOUR, 0, HOUR):
            wait_for_renewals(stage)
            stage.wait_for_more("settle.ok", chance.randint(1, 60))
            set_clock(clock, offset)
            figures.count(steps=1)
    for producer in stage.alive("produce"):
        producer.signal(signal.SIGTERM)
        assert producer.wait() == 0
    wait_for_renewals(stage)
    set_clock(clock, HOUR + 1)  # a job that was delayed by the later clock is due by it only
    stage.wait_for(lambda: scheduled(stage) == 0, "delayed jobs")
    stage.check_history()
    assert not stage.events("lease.lost", "settle.fenced")
    assert {event["cause"] for event in stage.events("lease.taken")} == {"ready"}


def test_a_long_job_through_steps_of_the_clock(
    store_url: str, stages: Stages, sizes: Sizes, tmp_path: Path
) -> None:
    """While a job runs, the clock of its worker and of a standby that wants its lane is set forwards and
    backwards; after each step both look at it. The lane is not taken over."""
    stage = stages(store_url, CHAOS_ENOUGH=str(tmp_path / "enough"))
    clock = stage.folder / "clock"
    assert clocked(stage, True, "last").wait() == 0
    clocked(stage, True, "work", "1")
    stage.wait_for(lambda: stage.events("start"), "the job")
    clocked(stage, True, "work", "1")
    steps = (HOUR, 0, -HOUR, 0) * sizes.pick(1, 20)
    for number, offset in enumerate(steps):
        wait_for_renewals(stage)
        set_clock(clock, offset)
        assert clocked(stage, True, "ring").wait() == 0
        stage.wait_for(
            lambda claimed=number + 1: len(stage.events("settle.ok")) >= claimed,  # type: ignore[misc]
            "the standby to claim by the new clock",
        )
    (tmp_path / "enough").touch()
    stage.check_history()
    assert len(stage.events("start")) == 2 + len(steps)
    assert not stage.events("lease.lost", "settle.fenced")


def test_two_clocks_on_one_file(sqlite_url: str, stages: Stages, sizes: Sizes, figures: Figures) -> None:
    """Processes of one host share one clock, so SQLite takes it from each of them. Should two differ by an
    hour all the same (a faked clock), lanes may change hands while their owner lives. The order and the fence
    hold: nothing is lost, nothing is settled twice or by the wrong one."""
    stage = stages(sqlite_url)
    for index in range(2):
        stage.producer(f"p{index}", sizes.pick(150, 5000))
    stage.worker()
    clocked(stage, True, "work", "4")
    set_clock(stage.folder / "clock", HOUR)
    stage.wait_for(lambda: len(stage.events("settle.ok")) >= sizes.pick(300, 10_000), "all jobs", 300)
    report = stage.judge()
    figures.count(reruns_between_two_clocks=report.figures["reruns"])
    unexpected = [finding for finding in report.findings if finding.invariant != "I6"]
    assert not unexpected, stage.describe(report)


def clocked(stage: Stage, follows: bool, role: str, *arguments: str) -> Process:
    """A process of the program, by the clock that is set, or by one that is not."""
    clock = stage.folder / ("clock" if follows else "true")
    if not clock.exists():
        set_clock(clock, 0)
    return stage.start(role, *arguments, module=CLOCKED, CHAOS_CLOCK=str(clock))


def wait_for_renewals(stage: Stage) -> None:
    """Until every worker has renewed everything it holds since this was called. A token has one fresh lease
    between two renewals, so it outlives one step of the clock."""
    workers = stage.alive("work")
    enough = {worker: renewals(stage, worker) + 2 for worker in workers}  # the first may have begun before
    stage.wait_for(
        lambda: all(renewals(stage, worker) >= enough[worker] for worker in workers),
        "all leases to be renewed",
    )


def renewals(stage: Stage, worker: Process) -> int:
    """How often a worker has renewed all its leases."""
    return sum(event["pid"] == worker.pid for event in stage.events("kept"))


def scheduled(stage: Stage) -> int:
    """Jobs that wait for their time."""
    with closing(open_storage(stage.url)) as storage:
        return sum(stats.scheduled for stats in storage.stats(storage.queues()))
