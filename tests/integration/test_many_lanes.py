"""More lanes than threads: taken in turns, in order, and given back as they were."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.model.events import AttemptStarted, Event, LaneClaimed, LaneLeft, LaneLost, WriteFenced
from glassq.worker.granted import GrantedLane
from glassq.worker.pool import LanePool

LANES = 60


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


@contextmanager
def attempts(app: Glassq) -> Iterator[list[int]]:
    """The numbers of the attempts that begin meanwhile."""
    seen: list[int] = []

    def note(event: AttemptStarted) -> None:
        seen.append(event.attempt)

    app.bus.subscribe(note, AttemptStarted)
    yield seen
    app.bus.unsubscribe(note)


def test_turns_of_one_job_are_even(app: Glassq) -> None:
    """However many lanes wait in the worker, none gets two turns while another waits for its own. A lane that
    became ready while the turn was on may be heard of one job late."""
    runs: list[tuple[str, int]] = []

    @app.fifo("q", key="key")
    def work(key: str, number: int) -> None:
        runs.append((key, number))

    for number in range(5):
        for first in range(0, LANES, 20):
            app.enqueue_many([work.s(f"k{lane}", number) for lane in range(first, first + 20)])
    with attempts(app) as seen:
        assert app.worker(concurrency=1).run_until_idle(30)
    served: Counter[str] = Counter({f"k{lane}": 0 for lane in range(LANES)})
    for key, number in runs:
        assert number == served[key], "in order, each job once"
        served[key] += 1
        assert max(served.values()) - min(served.values()) <= 2
    assert len(runs) == 5 * LANES
    assert seen == [1] * len(runs)


def test_longer_turns_keep_the_order(app: Glassq) -> None:
    """Several threads, turns of several jobs, windows that end within a turn."""
    runs: list[tuple[str, int]] = []

    @app.fifo("q", key="key")
    def work(key: str, number: int) -> None:
        runs.append((key, number))

    for number in range(11):
        for first in range(0, LANES, 20):
            app.enqueue_many([work.s(f"k{lane}", number) for lane in range(first, first + 20)])
    app.queue("q", turn=4)
    assert app.worker(concurrency=3, window=3).run_until_idle(30)
    for lane in range(LANES):
        assert [number for key, number in runs if key == f"k{lane}"] == list(range(11))
    (stats,) = app.storage.stats(["q"])
    assert (stats.settled["succeeded"], stats.leased, stats.ready) == (11 * LANES, 0, 0)


def test_a_turn_that_ran_ahead_ends_with_its_last_job(app: Glassq) -> None:
    """What is heard late of the jobs before keeps no lane: nothing begins in one that was given up."""
    runs: list[tuple[str, int]] = []
    refused: list[Event] = []
    app.bus.subscribe(refused.append, WriteFenced, LaneLost)

    @app.fifo("q", key="key")
    def work(key: str, number: int) -> None:
        runs.append((key, number))

    for first in range(0, 200, 20):
        app.enqueue_many(
            [work.s(f"k{lane}", number) for number in range(first, first + 20) for lane in range(5)]
        )
    with attempts(app) as seen:
        app.queue("q", turn=20)
        assert app.worker(concurrency=1).run_until_idle(30)
    for lane in range(5):
        assert [number for key, number in runs if key == f"k{lane}"] == list(range(200))
    assert seen == [1] * 1000
    assert refused == []


def test_a_worker_that_stops_gives_back_what_it_has_not_begun(app: Glassq) -> None:
    """In its order, with no attempt counted; the next worker takes it at once."""
    runs: list[str] = []
    goes_on = threading.Event()

    @app.fifo("q", key="key")
    def work(key: str) -> None:
        runs.append(key)
        if len(runs) == LANES // 2:
            goes_on.set()
            time.sleep(0.01)

    app.enqueue_many([work.s(f"k{lane:02}") for lane in range(LANES)])
    with attempts(app) as seen:
        worker = app.worker(concurrency=1).start()
        assert goes_on.wait(20)
        assert worker.stop()
        (stats,) = app.storage.stats(["q"])
        assert stats.leased == 0
        assert stats.ready == LANES - len(runs)
        assert app.worker(concurrency=1).run_until_idle(20)
    assert runs == [f"k{lane:02}" for lane in range(LANES)]
    assert seen == [1] * LANES


def test_a_task_that_pauses_its_own_queue_is_the_last_to_run(app: Glassq) -> None:
    """Lanes that wait in the worker have not begun: they are given back, and served after the pause."""
    runs: list[str] = []

    @app.fifo("q", key="key")
    def work(key: str) -> None:
        runs.append(key)
        if len(runs) == LANES // 2:
            app.queue("q").pause()

    app.enqueue_many([work.s(f"k{lane:02}") for lane in range(LANES)])
    with attempts(app) as seen, app.worker(concurrency=1):
        _wait(lambda: app.storage.stats(["q"])[0].leased == 0 and len(runs) >= LANES // 2)
        assert len(runs) == LANES // 2
        app.queue("q").resume()
        _wait(lambda: len(runs) == LANES)
    assert runs == [f"k{lane:02}" for lane in range(LANES)]
    assert seen == [1] * LANES


def test_a_pause_finds_lanes_in_hand_that_do_not_wait_for_a_thread_yet(app: Glassq) -> None:
    """The thread that runs jobs hears of it while the one that claims has some in hand: they are given back
    with those that wait, as they were."""
    runs: list[str] = []
    paused, left = threading.Event(), threading.Event()
    pauses = 0

    def pause(event: LaneClaimed) -> None:
        """In the thread that claims; not for each of the lanes that come together."""
        nonlocal pauses
        if len(runs) > 50 * (pauses + 1) and not paused.is_set():
            pauses += 1
            left.clear()
            paused.set()
            app.queue("q").pause()
            left.wait(0.1)  # nobody leaves a lane meanwhile, but whoever would gives them back apart

    @app.fifo("q", key="key")
    def work(key: str) -> None:
        runs.append(key)

    app.bus.subscribe(pause, LaneClaimed)
    app.bus.subscribe(lambda _: left.set() if paused.is_set() else None, LaneLeft)
    names = [f"k{lane:03}" for lane in range(10 * LANES)]
    app.enqueue_many([work.s(name) for name in names])
    with attempts(app) as seen, app.worker(concurrency=1):
        while len(runs) < len(names):
            _wait(lambda: paused.is_set() or len(runs) == len(names))
            _wait(lambda: app.storage.stats(["q"])[0].leased == 0)
            paused.clear()
            app.queue("q").resume()
    assert runs == names
    assert pauses
    assert seen == [1] * len(names)


def test_a_lane_that_comes_back_at_once_keeps_its_place(app: Glassq, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread had taken it when the queue was paused, and gave it back with the others. Granted again before
    the thread takes another one, it is no longer what that thread is at."""
    runs: list[str] = []
    resumed, back = threading.Event(), threading.Event()
    take, put = LanePool.take, LanePool.put

    def take_later(pool: LanePool[GrantedLane]) -> GrantedLane | None:
        if resumed.is_set() and not back.is_set():
            back.wait(1)  # no longer: nothing comes back if nothing else had waited
            back.set()
        return take(pool)

    def note(pool: LanePool[GrantedLane], lanes: Sequence[GrantedLane]) -> list[GrantedLane]:
        earlier = put(pool, lanes)
        if resumed.is_set():
            back.set()
        return earlier

    def resume(event: LaneLeft) -> None:
        if event.lease.lane not in runs and not resumed.is_set():
            app.queue("q").resume()
            resumed.set()

    @app.fifo("q", key="key")
    def work(key: str) -> None:
        runs.append(key)
        if len(runs) == LANES // 2:
            app.queue("q").pause()

    monkeypatch.setattr(LanePool, "take", take_later)
    monkeypatch.setattr(LanePool, "put", note)
    app.bus.subscribe(resume, LaneLeft)
    app.enqueue_many([work.s(f"k{lane:02}") for lane in range(LANES)])
    with app.worker(concurrency=1):
        _wait(lambda: len(runs) == LANES // 2 or resumed.is_set())
        _wait(lambda: resumed.is_set() or app.storage.stats(["q"])[0].leased == 0)
        app.queue("q").resume()  # if nothing had to be given back
        _wait(lambda: len(runs) == LANES)
    assert runs == [f"k{lane:02}" for lane in range(LANES)]


def test_lanes_that_wait_behind_slow_jobs_are_left_to_others(store_url: str) -> None:
    """A worker that was quick until now takes many lanes; where they turn out slow, others get theirs."""
    ran_by: Counter[int] = Counter()
    both = threading.Barrier(2)
    with ExitStack() as stack:
        apps = [stack.enter_context(Glassq(store_url, registry=CollectorRegistry())) for _ in range(2)]
        tasks = []
        for index, app in enumerate(apps):

            @app.fifo("q", key="key", name="work")
            def work(key: str, slow: bool, index: int = index) -> None:
                ran_by[index] += 1
                if slow:
                    both.wait(20)  # until the other worker runs a slow one, too

            tasks.append(work)
        apps[0].enqueue_many([tasks[0].s(f"quick{lane}", slow=False) for lane in range(LANES)])
        apps[0].enqueue_many([tasks[0].s(f"slow{lane}", slow=True) for lane in range(6)])
        stack.enter_context(apps[0].worker(concurrency=1))
        stack.enter_context(apps[1].worker(concurrency=1))
        _wait(lambda: sum(ran_by.values()) == LANES + 6)
    assert not both.broken
    assert min(ran_by.values()) >= 3


def _wait(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.005)
