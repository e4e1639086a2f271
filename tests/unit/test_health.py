from __future__ import annotations

import os

import pytest

from glassq.model.events import (
    LaneClaimed,
    QueueDeclared,
    SettlementDelayed,
    StorageCalled,
    WorkerBeat,
    WorkerChanged,
)
from glassq.model.leases import ClaimCause
from glassq.model.stats import QueueStats
from glassq.observe.health import Health
from glassq.telemetry import Bus
from tests.unit.observing import LEASE, MovedClock, abandoned, settled, started


class Ward:
    """Health of one application, told what happens by hand."""

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.bus = Bus()
        self.health = Health(self.clock, service="shop")
        self.health.attach(self.bus)

    def worker(self, state: str, name: str = "w1") -> None:
        """A worker enters a state."""
        self.bus.emit(WorkerChanged(worker=name, state=state, queues=("orders",)))

    def beat(self, name: str = "w1", **remaining: float) -> None:
        """A worker's loop turns."""
        self.bus.emit(WorkerBeat(worker=name, at=0.0, lanes={}, lease_remaining=remaining))

    def store(self, error: str | None = None) -> None:
        """The store answers, or fails."""
        self.bus.emit(StorageCalled(store="sqlite", operation="claim", seconds=0.001, error=error))

    def running(self) -> None:
        """A worker that has started in the right order of things."""
        self.bus.emit(QueueDeclared(queue="orders"))
        self.worker("starting")
        self.store()
        self.worker("running")

    def statuses(self) -> tuple[str, str, str, str]:
        """live, ready, startup, full."""
        health = self.health
        return (health.live().status, health.ready().status, health.startup().status, health.full().status)


@pytest.fixture
def ward() -> Ward:
    """An application to which nothing has happened yet."""
    return Ward()


def test_a_running_worker_passes_everything(ward: Ward) -> None:
    """The normal case, and what a report says about itself."""
    ward.running()
    assert ward.statuses() == ("pass", "pass", "pass", "pass")
    report = ward.health.full()
    assert report.ok
    assert report.service == "shop"
    assert set(report.checks) >= {"worker:w1:loop", "attempts:overrun", "store:contact", "worker:state"}


def test_an_application_that_only_produces_is_well(ward: Ward) -> None:
    """It has no worker that could stand still, and speaks to the store only when it has something to say."""
    assert ward.statuses() == ("pass", "pass", "pass", "pass")
    ward.store()
    ward.clock.sleep(3600)
    assert ward.statuses() == ("pass", "pass", "pass", "pass")


def test_a_producer_whose_store_refused_is_not_ready_until_it_answers(ward: Ward) -> None:
    """The last call decides, once the last good answer is more than ten seconds old."""
    ward.store("connection")
    assert ward.health.ready().status == "fail"
    ward.store()
    assert ward.health.ready().status == "pass"
    ward.clock.sleep(11)
    ward.store("connection")
    assert ward.health.ready().status == "fail"


def test_a_loop_that_stands_still_for_half_a_minute_is_dead(ward: Ward) -> None:
    """29 s are a pause, 30 s a reason to restart."""
    ward.running()
    ward.clock.sleep(29)
    assert ward.health.live().status == "pass"
    ward.clock.sleep(1)
    assert ward.health.live().status == "fail"
    ward.beat()
    assert ward.health.live().status == "pass"


def test_a_long_drain_is_not_a_dead_loop(ward: Ward) -> None:
    """A draining worker claims nothing more; whether it is stuck, its attempts tell."""
    ward.running()
    ward.bus.emit(started(at=ward.clock.monotonic(), timeout=100.0))
    ward.worker("draining")
    ward.clock.sleep(120)
    assert ward.health.live().status == "warn"
    ward.clock.sleep(20)
    assert ward.health.live().status == "fail"


def test_one_stuck_worker_among_several_is_enough(ward: Ward) -> None:
    """Each worker of the process has its own loop; one that was stopped owes no beat."""
    ward.running()
    ward.worker("running", "w2")
    ward.clock.sleep(40)
    ward.beat("w1")
    assert ward.health.live().status == "fail"
    ward.worker("stopped", "w2")
    assert ward.health.live().status == "pass"


def test_an_attempt_that_only_waits_for_the_store_is_not_stuck(ward: Ward) -> None:
    """It has ended, and under a long lease its settlement may wait past all timeouts: an outage must not
    restart the worker for that. Another one that does not end still counts."""
    ward.running()
    ward.bus.emit(started(at=ward.clock.monotonic(), timeout=1.0))
    ward.bus.emit(started(at=ward.clock.monotonic(), job_id="orders/p:2", timeout=20.0))
    ward.bus.emit(SettlementDelayed(lease=LEASE, job_id="orders/p:1"))
    ward.clock.sleep(40)
    ward.beat()
    assert ward.health.live().status == "warn"
    ward.clock.sleep(11)
    ward.beat()
    assert ward.health.live().status == "fail"


def test_liveness_never_looks_at_the_store(ward: Ward) -> None:
    """An outage of the store must not restart every worker: only readiness falls."""
    ward.running()
    for _ in range(10):
        ward.clock.sleep(5)
        ward.beat()
        ward.store("connection")
    assert ward.statuses()[:2] == ("pass", "fail")
    assert ward.health.ready().checks["store:contact"][0]["output"] == "connection"


def test_ten_seconds_without_an_answer_are_not_ready(ward: Ward) -> None:
    """A store that hangs gives no error to count: silence counts."""
    ward.running()
    ward.clock.sleep(9.9)
    assert ward.health.ready().status == "pass"
    ward.clock.sleep(0.1)
    assert ward.health.ready().status == "fail"


@pytest.mark.parametrize("end", [settled(), abandoned()])
def test_an_attempt_far_past_its_timeout_is_fatal(ward: Ward, end: object) -> None:
    """Late is a warning; past timeout and grace nothing but a restart frees the lane."""
    ward.running()
    ward.bus.emit(started(at=ward.clock.monotonic(), timeout=10.0))
    expected = [(9.0, "pass"), (3.0, "warn"), (27.0, "warn"), (2.0, "fail")]
    for seconds, status in expected:
        ward.clock.sleep(seconds)
        ward.beat()
        assert ward.health.live().status == status
        assert ward.health.live().ok is (status != "fail")
    ward.bus.emit(end)  # type: ignore[arg-type]
    assert ward.health.live().status == "pass"


def test_an_attempt_without_a_timeout_may_take_its_time(ward: Ward) -> None:
    """Whoever gave no limit cannot exceed it."""
    ward.running()
    ward.bus.emit(started(at=ward.clock.monotonic(), timeout=None))
    ward.clock.sleep(100_000)
    ward.beat()
    assert ward.health.live().status == "pass"


def test_ready_means_started_and_not_draining(ward: Ward) -> None:
    """While it drains it takes nothing new; that is no illness, so the full report only warns."""
    ward.bus.emit(QueueDeclared(queue="orders"))
    ward.worker("starting")
    ward.store()
    assert (ward.health.ready().status, ward.health.startup().status) == ("fail", "fail")
    ward.worker("running")
    assert (ward.health.ready().status, ward.health.startup().status) == ("pass", "pass")
    ward.worker("draining")
    assert ward.statuses() == ("pass", "fail", "pass", "warn")
    assert ward.health.full().ok
    ward.worker("stopped")
    assert ward.statuses()[:2] == ("pass", "fail")


def test_startup_waits_for_the_store_and_for_a_queue(ward: Ward) -> None:
    """A worker that never reached its store, or has nothing to serve, has not started."""
    ward.worker("running")
    assert ward.health.startup().status == "fail"
    ward.store()
    assert ward.health.startup().status == "fail"
    ward.bus.emit(QueueDeclared(queue="orders"))
    assert ward.health.startup().status == "pass"


def test_a_lease_about_to_end_is_a_warning(ward: Ward) -> None:
    """Two seconds are what the next hiccup takes."""
    ward.running()
    ward.beat(orders=9.0)
    assert ward.health.full().status == "pass"
    ward.beat(orders=1.5)
    assert ward.health.full().status == "warn"
    assert ward.health.live().status == "pass"


WAITING = [QueueStats(queue="orders", ready=5, lanes={"ready": 2})]


def test_an_idle_worker_while_work_waits_is_a_failure(ward: Ward) -> None:
    """Reconnected and looking healthy, yet taking nothing: only the full report can see it."""
    ward.running()
    ward.health.told(WAITING)
    assert ward.health.full().status == "pass"
    ward.clock.sleep(29)
    ward.store()
    ward.beat()
    ward.health.told(WAITING)
    assert ward.health.full().status == "pass"
    ward.clock.sleep(2)
    assert ward.health.full().checks["worker:consuming"][0]["status"] == "fail"
    assert ward.statuses() == ("pass", "pass", "pass", "fail")
    ward.bus.emit(LaneClaimed(worker="w", lease=LEASE, cause=ClaimCause.READY))
    assert ward.health.full().status == "pass"


def test_an_old_look_says_nothing_about_now(ward: Ward) -> None:
    """What waited minutes ago may have been taken by others since; the report asks for a new look."""
    looks: list[str] = []
    ward.running()
    ward.health.look = lambda: looks.append("look")
    ward.health.told(WAITING)
    ward.clock.sleep(600)
    ward.store()
    ward.beat()
    assert ward.health.full().status == "pass"
    assert looks == ["look"]
    ward.health.told(WAITING)
    assert ward.health.full().status == "pass"
    ward.clock.sleep(31)
    ward.health.told(WAITING)
    assert ward.health.full().checks["worker:consuming"][0]["status"] == "fail"


@pytest.mark.parametrize("probe", ["live", "ready", "startup"])
def test_probes_that_restart_or_unplug_never_look_at_the_store(ward: Ward, probe: str) -> None:
    """An outage must not make them slow, or a store busy."""
    looks: list[str] = []
    ward.health.look = lambda: looks.append("look")
    getattr(ward.health, probe)()
    assert looks == []


@pytest.mark.parametrize(
    "stats",
    [
        [],
        [QueueStats(queue="orders", ready=5, lanes={"leased": 1})],
        [QueueStats(queue="mails", ready=5, lanes={"ready": 5})],
    ],
)
def test_work_that_is_not_this_workers_to_take_does_not_count(ward: Ward, stats: list[QueueStats]) -> None:
    """Jobs behind a running head, and queues this worker does not serve."""
    ward.running()
    ward.health.told(WAITING)
    ward.health.told(stats)
    ward.clock.sleep(60)
    assert ward.health.full().checks["worker:consuming"][0]["status"] == "pass"


def test_a_busy_worker_may_leave_lanes_waiting(ward: Ward) -> None:
    """All its threads are at work: that is a matter of capacity."""
    ward.running()
    ward.bus.emit(started(at=ward.clock.monotonic()))
    ward.health.told(WAITING)
    ward.clock.sleep(60)
    assert ward.health.full().checks["worker:consuming"][0]["status"] == "pass"


def test_a_second_worker_after_a_stopped_one_counts(ward: Ward) -> None:
    """An application may stop one worker and start the next."""
    ward.running()
    ward.worker("stopped")
    ward.worker("running", "w2")
    assert ward.health.ready().status == "pass"


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_does_not_answer_for_its_parents_worker(ward: Ward) -> None:
    """Its loop turns in the parent: a child that serves probes of its own is no dead worker for that."""
    ward.running()
    ward.bus.emit(started(at=ward.clock.monotonic(), timeout=1.0))
    child = os.fork()
    if child == 0:
        ward.clock.sleep(3600)
        os._exit(0 if ward.statuses() == ("pass", "pass", "pass", "pass") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert "worker:w1:loop" in ward.health.live().checks


def test_where_several_workers_are_expected_all_of_them_are_needed(ward: Ward) -> None:
    """A process of several workers has started and is ready once the last of them runs; when one of them ends
    it is ready no more, although the others work."""
    ward.health.expect(2)
    ward.bus.emit(QueueDeclared(queue="orders"))
    ward.store()
    assert ward.statuses()[1:3] == ("fail", "fail")
    for name in ("w1", "w2"):
        ward.worker("starting", name)
        assert ward.statuses()[1:3] == ("fail", "fail")
        ward.worker("running", name)
    assert ward.statuses() == ("pass", "pass", "pass", "pass")
    ward.worker("stopped", "w1")
    assert ward.statuses()[:3] == ("pass", "fail", "pass")
    assert ward.health.ready().checks["worker:state"][0]["output"] == "1 of 2 workers run"


def test_an_expected_worker_that_has_not_begun_is_missed(ward: Ward) -> None:
    """A probe between the store's first answer and the worker's start is not told that all is well."""
    ward.health.expect(1)
    ward.store()
    assert ward.statuses()[1:3] == ("fail", "fail")
    ward.running()
    assert ward.statuses()[1:3] == ("pass", "pass")
