"""Jobs that take the shortest way through a worker, which those of the other rows cannot: their histories are
told of each attempt at once. Here jobs write down themselves when their code begins and ends.

Workers are killed, stand still past their leases and lose their connections; lanes are paused, cancelled in,
overtaken and replayed into while they are run ahead. One lane of quick jobs, and many lanes whose turns are
one job long, or some, which workers serve in rounds.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from random import Random

import pytest

from glassq.testing.history import Report, check
from tests.chaos.bounds import STALLED_IN_FLIGHT, assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.processes import Process
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.servers import AOF_EVERYSEC, serving
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.test_kills import fresh, stalled
from tests.chaos.test_planted import invariants
from tests.chaos.test_running_ahead import holder
from tests.chaos.test_stops import stays_of, wait_for_end, wait_for_takeover
from tests.chaos.tracing import starts_while_paused

PLAINLY = "tests.chaos.plainly"
LANES = 40
ROUNDS = 8
"""The length of turns that are served in rounds."""
HARMS_A_ROUND = 20
"""Quick jobs make long histories: each round has a store of its own."""
FAULTS = (Fault.DROP, Fault.CUT_BEFORE_REPLY, Fault.CUT_IN_REPLY, Fault.RESET)


@pytest.mark.parametrize(("lanes", "turn"), [(1, 1), (LANES, 1), (LANES, ROUNDS)])
def test_plain_jobs_of_workers_that_die_and_sleep(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures, lanes: int, turn: int
) -> None:
    """Whoever has begun the last job is killed, or stands still past its lease, while others stand by."""
    left, number = sizes.pick(4, 300), 0
    ends = time.monotonic() + sizes.budget
    while left > 0 and time.monotonic() < ends:
        stage = begin(plain_stage(stages, fresh(store_url, number), turn=turn), lanes)
        harms, number = min(left, HARMS_A_ROUND), number + 1
        for harm in range(harms):
            stage.wait_for_more("start", chance.randint(20, 200))
            time.sleep(chance.uniform(0, 0.01))  # not for order: harm may come at any point of a job's life
            do_harm(stage, holder(stage), sleeps=harm % 4 == 2)
            stage.worker(1)
        left -= harms
        figures.count(plain_harms=harms)
        judge(stage, lanes)
        assert_reruns(stage)


@pytest.mark.parametrize(("lanes", "turn"), [(1, 1), (LANES, 1), (LANES, ROUNDS)])
def test_plain_jobs_while_the_store_stalls(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures, lanes: int, turn: int
) -> None:
    """Whoever runs jobs is killed while its store answers nobody: at most what was on its way runs again."""
    stage = begin(plain_stage(stages, store_url, turn=turn), lanes)
    ends = time.monotonic() + sizes.budget
    for _ in range(sizes.pick(2, 60)):
        stage.wait_for_more("start", chance.randint(20, 200))
        with stalled(store_url):
            time.sleep(chance.uniform(0, 0.05))  # the length of the stall
            holder(stage).kill()
        stage.worker(1)
        figures.count(kills=1, stalls=1)
        if time.monotonic() > ends:
            break
    judge(stage, lanes)
    assert_reruns(stage, STALLED_IN_FLIGHT)


@pytest.mark.parametrize(("lanes", "turn"), [(1, 1), (LANES, 1), (LANES, ROUNDS)])
def test_plain_jobs_on_a_bad_network(
    tmp_path: Path, stages: Stages, sizes: Sizes, figures: Figures, lanes: int, turn: int
) -> None:
    """Connections end with settlements on their way, done or not. Each is repeated, none runs again."""
    with (
        serving(tmp_path / "server", *AOF_EVERYSEC) as server,
        Proxy(server.port, seed=f"{sizes.seed}:worker", calm=(20, 400)) as proxy,
    ):
        stage = plain_stage(stages, server.url, turn=turn)
        stage.start("feed", "f", str(lanes))
        stage.worker(1, GLASSQ_URL=proxy.url)
        stage.wait_for_more("settle.ok", 20)
        ends = time.monotonic() + sizes.budget
        for fault in FAULTS:
            proxy.fault = fault
            strike(stage, proxy, proxy.faults_done + sizes.pick(3, 300), ends)
        figures.count(network_faults=proxy.faults_done)
        proxy.fault = Fault.NONE
        judge(stage, lanes)
        assert_reruns(stage, 0)


@pytest.mark.parametrize(("lanes", "turn"), [(1, 1), (5, 1), (5, ROUNDS)])
def test_plain_jobs_of_lanes_that_are_steered(
    store_url: str, stages: Stages, sizes: Sizes, figures: Figures, lanes: int, turn: int
) -> None:
    """Lanes that are run ahead are paused, cancelled in, overtaken by a higher level, and dead letters come
    back to their front and tail; now and then somebody dies. What was taken out never runs, and of what is
    paused no more begins than may be on its way."""
    stage = begin(plain_stage(stages, store_url, turn=turn), lanes)
    stage.start("steer", "s", str(lanes))
    ends = time.monotonic() + sizes.budget
    for _ in range(sizes.pick(2, 60)):
        stage.wait_for_more("steered", 8)
        holder(stage).kill()
        stage.worker(1)
        figures.count(kills=1)
        if time.monotonic() > ends:
            break
    stage.wait_for_more("steered", 8)
    judge(stage, lanes)
    assert_reruns(stage)
    assert_steered(stage)


def assert_steered(stage: Stage) -> None:
    """What was taken out did not run, and pauses were heard of in time."""
    removed = {each["id"]: each["m"] for each in stage.events("cancel.ok") if each["result"] == "removed"}
    ran = [each for each in stage.events("start") if each["id"] in removed]
    assert not ran, f"ran although they were removed: {ran}"
    began = starts_while_paused(stage.events("start", "pause.ok", "resume.invoked"))
    stage.figures.add({"max_starts_while_paused": max(began), "pauses": len(began), "removed": len(removed)})
    assert max(began) <= STALLED_IN_FLIGHT, began
    assert removed
    assert stage.events("replay.ok")


# -- what finds nothing proves nothing -------------------------------------------------------------------


@pytest.mark.parametrize(("plant", "invariant"), [("late", "I2"), ("early", "I5")])
def test_plain_jobs_that_are_settled_too_late_or_early_are_seen(
    store_url: str, stages: Stages, plant: str, invariant: str
) -> None:
    """A job that begins before the settlement of the one before it was sent is found (I2), and so is one that
    is said to have succeeded before it has run (I5)."""
    stage = plain_stage(stages, store_url, plant)
    stage.start("enqueue", "60").wait()
    worker = stage.worker(1)
    stage.wait_for(lambda: len({each["id"] for each in stage.events("settle.invoked")}) == 60, "all jobs")
    worker.signal(signal.SIGTERM)
    worker.wait()
    report = stage.judge()
    assert invariant in invariants(report), report
    assert_plain(stage, report)


@pytest.mark.parametrize("plant", ["", "fence+deadline"])
def test_a_course_past_its_lease_is_refused(store_url: str, stages: Stages, plant: str) -> None:
    """A worker stands still right before it sends a settlement on a course, until another one has run the
    same job and is about to settle it. What it then sends is refused; without the fence, and with a worker
    that waits for the answer although its lease is over, it counts (I4)."""
    stage = plain_stage(stages, store_url)
    stage.start("enqueue", "60").wait()
    sleeper, until = held_up(stage, 20, plant)
    sleeper.stop()
    [job] = [each["id"] for each in stage.events("start")][-1:]
    other, again = held_up(stage, 1)
    until.touch()
    sleeper.go_on()
    stage.wait_for(lambda: endings(stage, sleeper, job), "the sleeper to hear of it")
    again.touch()
    if plant:  # nobody knows what such a store still has to run
        for worker in (sleeper, other):
            worker.kill()
        stage.dump()
        assert "I4" in invariants(check(stage.read()))
    else:
        stage.check_history()
        assert "settle.ok" not in endings(stage, sleeper, job)
        assert_reruns(stage)
    assert {each["pid"] for each in stage.events("held_up")} == {sleeper.pid, other.pid}


def endings(stage: Stage, worker: Process, job: str) -> set[str]:
    """What a worker has heard of the end of a job, or of its lane's."""
    return {
        each["e"]
        for each in stage.events("settle.ok", "settle.fenced", "lease.lost")
        if each["pid"] == worker.pid and each.get("id", job) == job
    }


def held_up(stage: Stage, number: int, plant: str = "") -> tuple[Process, Path]:
    """A worker that waits before so manieth settlement, and the file it waits for; once it does."""
    until = stage.folder / f"until-{number}"
    worker = stage.worker(1, CHAOS_HOLD_SETTLING=f"{number}:{until}", CHAOS_PLANT=plant)
    stage.wait_for(lambda: worker.pid in {each["pid"] for each in stage.events("held_up")}, f"{number} jobs")
    return worker, until


# -- the stage -------------------------------------------------------------------------------------------


def plain_stage(stages: Stages, url: str, plant: str = "", turn: int = 1) -> Stage:
    """A stage for the program whose jobs are plain, with a defect or none, and turns of so many."""
    stage = stages(url, CHAOS_PLANT=plant, CHAOS_TURN=str(turn))
    stage.program = PLAINLY
    return stage


def begin(stage: Stage, lanes: int) -> Stage:
    """Full lanes, one worker of a thread and another that stands by."""
    stage.start("feed", "f", str(lanes))
    for _ in range(2):
        stage.worker(1)
    stage.wait_for_more("start")
    return stage


def strike(stage: Stage, proxy: Proxy, wanted: int, ends: float) -> None:
    """Until the proxy has done so many faults in all."""
    stage.wait_for(
        lambda: proxy.faults_done >= wanted or time.monotonic() > ends,
        f"{wanted} faults",
        timeout=stage.sizes.budget + 30,
    )


def do_harm(stage: Stage, victim: Process, *, sleeps: bool) -> None:
    """Kill it, or let it stand still until others have its lanes."""
    if not sleeps:
        victim.kill()
        return
    victim.stop()
    held = stays_of(stage, victim)
    wait_for_takeover(stage, held)
    victim.go_on()
    wait_for_end(stage, held)
    victim.signal(signal.SIGTERM)
    assert victim.wait() == 0


def judge(stage: Stage, lanes: int) -> None:
    """The contract was kept, and the shortest way was taken where there is one."""
    report = stage.check_history()
    if lanes == 1:
        assert_plain(stage, report)
    else:
        count_plain(stage)


def assert_plain(stage: Stage, report: Report) -> None:
    """Most jobs were plain. The first of a stay or of a window are not, nor are those beside a slow one."""
    plain = count_plain(stage)
    assert plain > report.figures["starts"] / 3, (
        f"{plain} of {report.figures['starts']}: what is tested here?"
    )


def count_plain(stage: Stage) -> int:
    """How many jobs took the plain path."""
    plain = sum(bool(each.get("plain")) for each in stage.events("start"))
    stage.figures.count(plain_starts=plain)
    return plain
