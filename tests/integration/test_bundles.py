"""Very many short lanes, whose ends are sent together: the same comes of them as of those sent one by one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.model.events import AttemptFailed, AttemptSettled, AttemptStarted, LaneLeft, LaneLost
from glassq.worker.bundles import Bundle
from glassq.worker.granted import GrantedLane
from glassq.worker.turns import Turns
from tests.integration import shortlanes
from tests.integration.test_courses import COUNTED

LANES = 40
KILLS = 3
KINDS = ("quick",) * 12 + ("slow", "fails_once", "fails", "told", "expires")


class Play(NamedTuple):
    """What came of a program: what each lane told, what is left in the store, and how much was counted."""

    lanes: dict[str, list[tuple[object, ...]]]
    dead: list[int]
    settled: dict[str, int]
    counted: dict[str, float]


@pytest.fixture
def bundled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the bundles that are sent."""
    sizes: list[int] = []
    send = Bundle._send

    def sending(self: Bundle, begins: Any) -> None:
        sizes.append(len(self.ends.stays))
        send(self, begins)

    monkeypatch.setattr(Bundle, "_send", sending)
    return sizes


@pytest.mark.parametrize("seed", range(2))
def test_a_bundle_comes_to_what_single_settlements_come_to(
    store_url: str, seed: int, bundled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random programs, run both ways: the same attempts in each lane, with the same ends, and the same in the
    store and in the metrics."""
    together = play(store_url, "qa", Random(seed))
    assert sum(bundled) > LANES
    assert max(bundled) > 4
    bundled.clear()
    monkeypatch.setattr(GrantedLane, "is_crowded", lambda _: False)
    monkeypatch.setattr(Turns, "_sweep", Turns._serve)
    singly = play(store_url, "qb", Random(seed))
    assert bundled == []
    counts = together.counted | singly.counted
    different = {key for key in counts if together.counted.get(key) != singly.counted.get(key)}
    assert different == set()
    assert together == singly


def play(url: str, queue: str, chance: Random) -> Play:
    """Run a program that chance makes, to its end."""
    with Glassq(url, registry=CollectorRegistry()) as app:
        numbers: dict[str, int] = {}
        lanes: dict[str, list[tuple[object, ...]]] = {f"k{lane}": [] for lane in range(LANES)}
        tasks = declare(app, queue)
        calls = []
        for number in range(8 * LANES):
            kind = chance.choice(KINDS)
            options: dict[str, Any] = {"key": f"k{chance.randrange(LANES)}"}
            if kind == "expires":
                kind, options["ttl"] = "quick", 0.001
            calls.append(tasks[kind].options(**options).s(number))
        for first in range(0, len(calls), 50):
            receipts = app.enqueue_many(calls[first : first + 50])
            numbers |= {receipt.id: first + place for place, receipt in enumerate(receipts)}
        time.sleep(0.002)

        def note(event: Any) -> None:
            about: tuple[object, ...] = (numbers[event.job_id], event.attempt)
            if isinstance(event, AttemptSettled):
                about = (*about, event.seq, event.outcome, event.verdict, event.ran, event.ordinal > 0)
            lanes[event.lease.lane].append((type(event).__name__, *about))

        left: list[LaneLeft] = []
        lost: list[LaneLost] = []
        app.bus.subscribe(note, AttemptStarted, AttemptSettled, AttemptFailed)
        app.bus.subscribe(left.append, LaneLeft)
        app.bus.subscribe(lost.append, LaneLost)
        assert app.worker(concurrency=1).run_until_idle(30)
        assert len(left) >= LANES
        assert lost == []
        dead = [numbers[each.id] for each in app.queue(queue).dead_letters()]
        stats = app.storage.stats([queue])[0]
        # When an end is told does not matter (a lane may be back before it was heard of), the order among
        # its like does.
        told = {lane: sorted(events, key=lambda each: str(each[0])) for lane, events in lanes.items()}
        return Play(told, dead, dict(stats.settled), counted(app, queue))


def counted(app: Glassq, queue: str) -> dict[str, float]:
    """What metrics count of jobs, whatever their queue is called."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}".replace(queue, "q"): sample.value
        for metric in app.metrics_registry.collect()
        for sample in metric.samples
        if sample.name.startswith(COUNTED)
        and sample.name.endswith(("_total", "_count"))
        and sample.labels.get("queue") == queue
    }


def declare(app: Glassq, queue: str) -> dict[str, Any]:
    """One task of each kind."""
    failed: set[int] = set()

    @app.fifo(queue, name=f"{queue}.quick")
    def quick(number: int) -> None:
        assert number >= 0

    @app.fifo(queue, name=f"{queue}.slow")
    def slow(number: int) -> None:
        time.sleep(0.003 + 0 * number)

    @app.fifo(queue, name=f"{queue}.fails_once", retry_wait=0.0)
    def fails_once(number: int) -> None:
        if number not in failed:
            failed.add(number)
            raise ValueError(number)

    @app.fifo(queue, name=f"{queue}.fails", max_retries=0)
    def fails(number: int) -> None:
        raise ValueError(number)

    @app.fifo(queue, name=f"{queue}.told", on_success=lambda *_: None)
    def told(number: int) -> None:
        assert number >= 0

    return {"quick": quick, "slow": slow, "fails_once": fails_once, "fails": fails, "told": told}


def test_a_long_job_holds_back_no_lane_before_it(store_url: str, bundled: list[int]) -> None:
    """While it runs, the ends of quick jobs before it are sent by another thread."""
    ran: list[str] = []
    seen: list[tuple[int, int]] = []

    with Glassq(store_url, registry=CollectorRegistry()) as app:

        def settled() -> int:
            return app.storage.stats(["q"])[0].settled["succeeded"]

        @app.fifo("q", key="key")
        def work(key: str) -> None:
            ran.append(key)
            if key in {"k50", "k75"}:
                before = len(ran) - 1
                _wait(lambda: settled() >= before)
                seen.append((before, settled()))

        for first in (0, 50):
            app.enqueue_many([work.s(f"k{lane}") for lane in range(first, first + 50)])
        assert app.worker(concurrency=1).run_until_idle(30)
    assert sorted(ran) == sorted(f"k{lane}" for lane in range(100))
    assert seen == [(before, before) for before, _ in seen]
    assert len(seen) == 2
    assert max(bundled) > 1


def test_the_ends_of_short_lanes_are_bundled_whatever_their_turns(redis_url: str, bundled: list[int]) -> None:
    """A lane's few jobs run in their order, of each it is told that it began before it is told that it was
    settled, and more than one lane's end is in a message."""
    told: dict[str, list[tuple[str, int]]] = {}
    left: list[LaneLeft] = []
    with Glassq(redis_url, registry=CollectorRegistry()) as app:
        app.queue("short", turn=32)

        @app.fifo("short", key="key")
        def work(key: str, number: int) -> None:
            assert key
            assert number >= 0

        for number in range(4):
            for first in range(0, 400, 50):
                app.enqueue_many([work.s(f"k{lane}", number) for lane in range(first, first + 50)])

        def note(event: Any) -> None:
            told.setdefault(event.lease.lane, []).append((type(event).__name__, event.seq))

        app.bus.subscribe(note, AttemptStarted, AttemptSettled)
        app.bus.subscribe(left.append, LaneLeft)
        assert app.worker(concurrency=1).run_until_idle(30)
    assert len(told) == 400
    assert len(left) >= 400  # on a busy machine some are given back and claimed again
    for events in told.values():
        for kind in ("AttemptStarted", "AttemptSettled"):
            numbers = [seq for name, seq in events if name == kind]
            assert numbers == sorted(set(numbers))
            assert len(numbers) == 4
        assert all(
            events.index(("AttemptStarted", seq)) < events.index((kind, seq))
            for kind, seq in events
            if kind == "AttemptSettled"
        )
    assert sum(bundled) > LANES
    assert max(bundled) > 1


@pytest.mark.parametrize("turn", [1, 32])
def test_a_job_that_kills_its_workers_takes_no_other_with_it(
    store_url: str, tmp_path: Path, turn: int
) -> None:
    """It is given up after as many deaths as are allowed; the first one is blamed on all that ran in a row
    with it, and none of these is given up."""
    log = tmp_path / "log"
    run(store_url, log, "fill", 100, 2, turn)
    deaths = 0
    while (ended := run(store_url, log, "work", 100, 2, turn)) != 0:
        assert ended == -9
        deaths += 1
        assert deaths <= shortlanes.CRASHES
    assert deaths == shortlanes.CRASHES
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        app.queue("q")
        [dead] = app.queue("q").dead_letters()
        stats = app.storage.stats(["q"])[0]
    assert (dead.key, dead.reason) == (shortlanes.POISON, "crashed")
    assert stats.settled["succeeded"] == 2 * 100 - 1
    judge(log, 100, 2, kills=deaths)


@pytest.mark.parametrize(("turn", "jobs"), [(1, 40), (32, 12)])
def test_workers_that_are_killed_run_at_most_one_job_of_each_lane_again(
    store_url: str, tmp_path: Path, turn: int, jobs: int
) -> None:
    """O4, and order in each lane, whatever was on its way."""
    log, chance = tmp_path / "log", Random(7)
    lanes = [lane for lane in range(100) if shortlanes.name(lane) != shortlanes.POISON][:50]
    run(store_url, log, "fill", len(lanes), jobs, turn)
    for _ in range(KILLS):
        runs = len(lanes) * jobs // (KILLS + 1) - chance.randrange(100)
        assert run(store_url, log, "work", len(lanes), jobs, turn, runs) == -9
    assert run(store_url, log, "work", len(lanes), jobs, turn) == 0
    judge(log, len(lanes), jobs, KILLS)


def run(url: str, log: Path, role: str, *numbers: int) -> int:
    """The program in a process of its own, for so many lanes, jobs of each, jobs of a turn, and runs before a
    kill."""
    program = [sys.executable, shortlanes.__file__, url, str(log), role, *map(str, numbers)]
    return subprocess.run(program, check=False, timeout=90).returncode


def lines(log: Path) -> list[list[str]]:
    """What was run: key, number, attempt."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def judge(log: Path, lanes: int, jobs: int, kills: int) -> None:
    """Nothing lost, everything in order, and at most one job of each lane again for each kill."""
    runs: dict[str, list[int]] = {shortlanes.name(lane): [] for lane in range(lanes)}
    for key, number, _ in lines(log):
        runs[key].append(int(number))
    for key, numbers in runs.items():
        assert numbers == sorted(numbers), f"{key} out of order"
        assert set(numbers) == set(range(jobs)), f"{key} lost a job"
        again = sum(Counter(numbers).values()) - jobs
        assert again <= kills, f"{key} ran {again} jobs again"


def _wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.002)


def test_turns_that_go_on_do_not_wait_behind_a_long_job(redis_url: str, bundled: list[int]) -> None:
    """Jobs of several lanes take turns in one thread. Where one of them takes long, the others' lanes are
    given back, and served elsewhere, each in its order."""
    ran: dict[str, list[int]] = {f"k{lane}": [] for lane in range(60)}
    waited: list[bool] = []
    with Glassq(redis_url, registry=CollectorRegistry()) as app:
        app.queue("short", turn=32)

        @app.fifo("short", key="key")
        def work(key: str, number: int) -> None:
            ran[key].append(number)
            if (key, number) == ("k9", 1):
                others = [lane for lane in ran if lane != key]
                _wait(lambda: all(len(ran[lane]) == 4 for lane in others))
                waited.append(True)

        for number in range(4):
            app.enqueue_many([work.s(lane, number) for lane in ran])
        assert app.worker(concurrency=2).run_until_idle(30)
    assert waited == [True]
    assert set(map(tuple, ran.values())) == {(0, 1, 2, 3)}
    assert max(bundled) > 1
