"""What user code can do to the process it runs in: raise, hold the interpreter, or take it down."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.harms import DEATHS, KINDS, STATUSES
from tests.chaos.stage import Stage

INSIDE = "tests.chaos.inside"
RAISED, HELD, DEADLY = "raised", "held", "deadly"
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


@pytest.mark.parametrize(
    ("how", "watched"),
    [("call", False), ("call", True), ("regex", True)],
    ids=["alone", "with_a_standby", "regex_with_a_standby"],
)
def test_a_held_interpreter(
    store_url: str, how: str, watched: bool, stages: Stages, figures: Figures
) -> None:
    """A call that holds the GIL for longer than two leases, or a regular expression that takes as long, stops
    the renewals. Alone, the worker keeps its lane or gets it back; with a standby the lane goes there, and
    the late settlement is refused."""
    stage = stages(store_url)
    holder, *standbys = [stage.start("work", "1", module=INSIDE) for _ in range(1 + watched)]
    stage.wait_for(lambda: len(stage.events("worker.listening")) == 1 + watched, "all workers")
    for standby in standbys:  # there, and not in the way: how long a process takes to start is not tested
        standby.stop()
    call(stage, "hold", how, "2.2")
    stage.wait_for(lambda: stage.events("holding"), "the job that holds the interpreter")
    for standby in standbys:
        standby.go_on()
    stage.wait_for(lambda: settled(store_url, HELD) == 4, "all four jobs")
    stage.check_history()
    starts = [(event["pid"] == holder.pid, event["seq"]) for event in stage.events("start")]
    again = len(starts) - 4
    figures.count(runs_again=again)
    assert [seq for _, seq in starts][again:] == [1, 2, 3, 4]
    assert again <= 1
    if watched:
        assert starts[:2] == [(True, 1), (False, 1)], "the standby ran it again"
        assert [event["pid"] for event in stage.events("lease.lost", "settle.fenced")][:1] == [holder.pid]


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
