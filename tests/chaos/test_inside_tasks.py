"""What user code can do to the process it runs in: raise, hold the interpreter, or take it down."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from tests.chaos.conftest import Stages
from tests.chaos.events import Event
from tests.chaos.figures import Figures
from tests.chaos.harms import DEATHS, KINDS, STATUSES, letters_for
from tests.chaos.processes import Process
from tests.chaos.stage import Stage
from tests.chaos.tracing import stay_of

INSIDE = "tests.chaos.inside"
RAISED, DEADLY = "raised", "deadly"
"""Its queues."""


def call(stage: Stage, *arguments: str) -> None:
    """Have a process enqueue, and wait for its end."""
    assert stage.start(*arguments, module=INSIDE).wait() == 0


def test_every_exception_is_a_failed_attempt(store_url: str, stages: Stages) -> None:
    """Whatever a task raises, also what ends threads or cannot be put into words: it is tried again, then
    buried with its type, and the next job runs. The worker goes on and ends in peace."""
    stage = stages(store_url)
    call(stage, "raise")
    worker = stage.start("work", "2", module=INSIDE)
    expected = 3 * len(KINDS)
    stage.wait_for(lambda: len(stage.events("settle.ok")) >= expected, f"{expected} settlements")
    assert worker.running
    stage.check_history()
    starts = [event["attempt"] for event in stage.events("start")]
    assert starts == [1, 2, 1] * len(KINDS), "the order of the calls, each failure tried again in its place"
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        dead = app.queue(RAISED).dead_letters(limit=len(KINDS))
        assert app.queue(RAISED).stats().settled["succeeded"] == len(KINDS)
    assert [letter.attempts for letter in dead] == [2] * len(KINDS)
    reasons = dict(zip(KINDS, (letter.reason for letter in dead), strict=True))
    assert {kind for kind, reason in reasons.items() if reason != "exception"} == {"timeout"}
    errors = dict(zip(KINDS, (letter.error for letter in dead), strict=True))
    assert errors["system_exit"].startswith("SystemExit: 3")
    assert errors["str_exits"] == "Unspeakable: <its __str__ raised SystemExit>"
    assert max(map(len, errors.values())) < 5000
    assert len(stage.events("lease.lost")) == 0


def test_a_held_interpreter_alone(store_url: str, door: Path, stages: Stages, figures: Figures) -> None:
    """A call that holds the GIL for longer than two leases stops the renewals. Where nobody else is, the
    worker keeps its lane or gets it back, and goes on in its order."""
    stage = stages(store_url)
    worker = stage.start("work", "1", module=INSIDE)
    call(stage, "hold", "h", "call", str(door))
    stage.wait_for(lambda: stage.events("holding"), "the job that holds the interpreter")
    time.sleep(2.2 * stage.lease)  # the length of the hold
    with opened(door):
        stage.wait_for(lambda: settled_ones(stage) == 4, "all four jobs")
        stage.check_history()
    assert {event["pid"] for event in starts_in_order(stage, "h")} == {worker.pid}
    figures.count(runs_again=len(stage.events("start")) - 4)


def test_a_held_interpreter_beside_a_standby(store_url: str, door: Path, stages: Stages) -> None:
    """The same beside a standby, until that has begun: the lane goes there, and the late settlement is
    refused."""
    stage = stages(store_url)
    holder, standby = two_workers(stage)
    hold(stage, standby, "h", "call", str(door))
    stage.wait_for(lambda: began(stage, standby, "h"), "the standby to run it again")
    with opened(door):
        stage.wait_for(lambda: settled_ones(stage) == 4, "all four jobs")
        stage.check_history()
    assert_went_over(stage, holder, standby, "h")


def test_a_held_expression_beside_a_standby(store_url: str, stages: Stages, figures: Figures) -> None:
    """A regular expression that backtracks for two leases does the same. Nobody can end it from outside, or
    know when the standby gets to run: one that is over too soon is followed by one that takes twice as
    long."""
    stage = stages(store_url)
    holder, standby = two_workers(stage)
    letters, tries = letters_for(2 * stage.lease), 0
    while tries < 4 and not began(stage, standby, f"h{tries}"):
        tries += 1
        hold(stage, standby, f"h{tries}", "regex", str(letters + tries - 1))
        stage.wait_for(lambda: settled_ones(stage) == 4 * tries, "all four jobs")  # noqa: B023
    figures.count(held_expressions=tries)
    stage.check_history()
    assert_went_over(stage, holder, standby, f"h{tries}")


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """Where a held call waits until somebody opens."""
    path = tmp_path / "door"
    os.mkfifo(path)
    return path


def opened(door: Path) -> AbstractContextManager[object]:
    """Both ends of it: opening it waits for nobody, and who comes later finds it open."""
    return door.open("r+b", buffering=0)


def two_workers(stage: Stage) -> list[Process]:
    """A worker, and its standby."""
    workers = [stage.start("work", "1", module=INSIDE) for _ in range(2)]
    stage.wait_for(lambda: len(stage.events("worker.listening")) == len(workers), "all workers")
    return workers


def hold(stage: Stage, standby: Process, lane: str, how: str, until: str) -> None:
    """Have the other worker hold its interpreter in the first of four jobs of a lane."""
    standby.stop()  # there, and not in the way: how long a process takes to start is not tested
    call(stage, "hold", lane, how, until)
    stage.wait_for(
        lambda: lane in {event["key"] for event in stage.events("holding")},
        "the job that holds the interpreter",
    )
    standby.go_on()


def began(stage: Stage, worker: Process, lane: str) -> bool:
    """Whether a worker has begun a job of this lane."""
    return (worker.pid, lane) in {(event["pid"], event["lane"]) for event in stage.events("start")}


def settled_ones(stage: Stage) -> int:
    """Jobs that were settled, whoever did it."""
    return len({event["id"] for event in stage.events("settle.ok")})


def starts_in_order(stage: Stage, lane: str) -> list[Event]:
    """The starts of a lane's four jobs: each in its turn, perhaps again before the next one."""
    starts = sorted(
        (event for event in stage.events("start") if event["lane"] == lane),
        key=lambda event: float(event["m"]),
    )
    turns = [seq for seq, _ in groupby(event["seq"] for event in starts)]
    assert turns == sorted(set(turns))
    assert len(turns) == 4
    return starts


def assert_went_over(stage: Stage, holder: Process, standby: Process, lane: str) -> None:
    """The lane went from one to the other in its first job, which the holder was then not let settle."""
    first, again, *_ = starts_in_order(stage, lane)
    assert (first["pid"], again["pid"]) == (holder.pid, standby.pid), "the standby ran it again"
    assert first["id"] == again["id"]
    refused = {stay_of(event) for event in stage.events("lease.lost", "settle.fenced")}
    assert stay_of(first) in refused, "nobody told the holder"
    settled_by = [event["pid"] for event in stage.events("settle.ok") if event["id"] == first["id"]]
    assert settled_by == [standby.pid]


def test_poison(store_url: str, stages: Stages, figures: Figures) -> None:
    """A job that takes its worker down, however it does, is buried as `crashed` after the second death it was
    told to be allowed, and what is behind it in its lane runs."""
    # The node's next worker takes over at once; a lease that ended on a busy machine would count as a death.
    stage = stages(store_url, lease=5.0, CHAOS_NODE="poisoned")
    call(stage, "die")
    deaths = []
    for _ in range(2 * len(STATUSES)):
        worker = stage.start("work", "1", "2", module=INSIDE)
        worker.endings = set(STATUSES.values())
        deaths.append(worker.wait())
    # Each is in a lane of its own, and between lanes there is no order.
    assert sorted(deaths) == sorted(2 * list(STATUSES.values()))
    figures.count(deaths=len(deaths))
    stage.start("work", "1", "2", module=INSIDE)
    innocent = 2 * len(DEATHS)
    stage.wait_for(lambda: settled(store_url, DEADLY) == innocent + len(DEATHS), "everything settled")
    stage.check_history()
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        dead = app.queue(DEADLY).dead_letters()
        assert app.queue(DEADLY).stats().settled["succeeded"] == innocent
    assert [(letter.task, letter.reason, letter.attempts) for letter in dead] == [
        ("die", "crashed", 2)
    ] * len(DEATHS)


def settled(url: str, queue: str) -> int:
    """Jobs of a queue that are settled for good."""
    with Glassq(url, registry=CollectorRegistry()) as app:
        return sum(app.queue(queue).stats().settled.values())
