"""Workers with keys of their own: each runs its own first, and helps out without ever breaking the order."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.client.task import Task


class Crew:
    """Two instances of an application, and which of them ran what."""

    def __init__(self, store_url: str, stack: ExitStack, lease_seconds: float) -> None:
        self.runs: list[tuple[int, str, int]] = []
        self.registries = [CollectorRegistry() for _ in range(2)]
        self.apps = [
            stack.enter_context(Glassq(store_url, registry=registry, lease_seconds=lease_seconds))
            for registry in self.registries
        ]
        self.tasks = [self._task(index, app) for index, app in enumerate(self.apps)]
        self.numbers: Counter[str] = Counter()

    def _task(self, index: int, app: Glassq) -> Task[[str, int, float], None]:
        @app.fifo("q", key="key", name="work")
        def work(key: str, number: int, seconds: float) -> None:
            self.runs.append((index, key, number))
            time.sleep(seconds)

        return work

    def put(self, *keys: str, jobs: int = 1, seconds: float = 0.0) -> None:
        """So many jobs of each key, in turn."""
        calls = []
        for key in keys * jobs:
            calls.append(self.tasks[0].s(key, self.numbers[key], seconds))
            self.numbers[key] += 1
        self.apps[0].enqueue_many(calls)

    def ran(self, key: str) -> Counter[int]:
        """How many jobs of a key each has run."""
        return Counter(index for index, each, _ in self.runs if each == key)

    def stolen(self, index: int) -> float:
        """Lanes that an instance has taken by `steal_from`."""
        return self.registries[index].get_sample_value("glassq_lanes_stolen_total", {"queue": "q"}) or 0

    def assert_in_order(self) -> None:
        """Every job once, by key in the order of its calls."""
        for key, number in self.numbers.items():
            assert [each for _, name, each in self.runs if name == key] == list(range(number))


@pytest.fixture
def crew(request: pytest.FixtureRequest, store_url: str) -> Iterator[Crew]:
    """Two instances on an empty store of each kind, with leases of so many seconds."""
    with ExitStack() as stack:
        yield Crew(store_url, stack, getattr(request, "param", 2.0))


def test_a_worker_leaves_its_targets_to_whoever_has_time_for_them(crew: Crew) -> None:
    """It was not the order in which keys were looked through that decided, nor who asked first: the worker of
    a key runs all of it as long as it keeps up, and the other one runs none."""
    keys = [f"{name}-{number}" for name in "ab" for number in range(5)]
    with (
        crew.apps[0].worker(assigned=["a-*"], steal_from=["b-*"]),
        crew.apps[1].worker(assigned=["b-*"], steal_from=["a-*"]),
    ):
        for _ in range(20):
            crew.put(*keys)
            time.sleep(0.02)
        _wait(lambda: len(crew.runs) == 200)
    for key in keys:
        assert crew.ran(key) == {"ab".index(key[0]): 20}
    assert crew.stolen(0) == crew.stolen(1) == 0
    crew.assert_in_order()


def test_an_idle_worker_helps_out(crew: Crew) -> None:
    """Lanes that wait for a busy worker are stolen, whole and in order."""
    # So many that each waits for twice as long as may be stolen: with three it was 0.2 s and a moment.
    crew.put("a-1", "a-2", "a-3", "a-4", "a-5", jobs=4, seconds=0.1)
    with (
        crew.apps[0].worker(assigned=["a-*"], concurrency=1),
        crew.apps[1].worker(assigned=["b-*"], steal_from=["a-*"], concurrency=1),
    ):
        _wait(lambda: len(crew.runs) == 20)
    assert crew.stolen(1) >= 1
    assert crew.stolen(0) == 0
    crew.assert_in_order()


def test_ones_own_comes_before_what_may_be_stolen(crew: Crew) -> None:
    """Whatever waited longer."""
    crew.put(*(f"a-{number}" for number in range(5)), jobs=2)
    crew.put(*(f"b-{number}" for number in range(5)), jobs=2, seconds=0.01)
    time.sleep(0.3)
    worker = crew.apps[1].worker(assigned=["b-*"], steal_from=["a-*"], concurrency=1)
    assert worker.run_until_idle(30)
    assert [key[0] for _, key, _ in crew.runs[:5]] == ["b"] * 5
    first_stolen = [key[0] for _, key, _ in crew.runs].index("a")
    assert first_stolen >= 5
    crew.assert_in_order()


def test_an_exclusive_worker_runs_nothing_else(crew: Crew) -> None:
    """Even if nobody else is there; and its own at once, behind however many lanes of others."""
    crew.put(*(f"x-{number}" for number in range(350)))
    with crew.apps[0].worker(assigned=["a-*", "b"], exclusive=True):
        crew.put("a-1", "b")
        _wait(lambda: len(crew.runs) == 2)
        time.sleep(0.3)
        assert {key for _, key, _ in crew.runs} == {"a-1", "b"}
    assert crew.apps[1].worker().run_until_idle(30)
    crew.assert_in_order()


def test_the_keys_of_a_worker_that_stops_go_to_others(crew: Crew) -> None:
    """At once: nobody has to be waited for."""
    with crew.apps[1].worker(assigned=["b"]):
        with crew.apps[0].worker(assigned=["a"]):
            crew.put("a", jobs=5)
            _wait(lambda: len(crew.runs) == 5)
        crew.put("a", jobs=5)
        _wait(lambda: len(crew.runs) == 10)
    assert crew.ran("a")[1] >= 4
    crew.assert_in_order()


@pytest.mark.parametrize("crew", [1.0], indirect=True)
def test_a_stolen_lane_stays_for_two_leases(crew: Crew) -> None:
    """A lane changes its owner at most once in two leases, measured over many turns and steals, while now one
    worker is slow and now the other."""
    owners: dict[str, list[tuple[float, int]]] = {}
    began = time.monotonic()

    def watched_by(index: int, app: Glassq) -> Task[[str], None]:
        @app.fifo("q", key="key", name="watched")
        def watched(key: str) -> None:
            now, times = time.monotonic(), owners.setdefault(key, [])
            if not times or times[-1][1] != index:
                times.append((now, index))
            time.sleep(0.15 if int((now - began) / 2.5) % 2 == index else 0.01)

        return watched

    task, _ = (watched_by(index, app) for index, app in enumerate(crew.apps))
    lanes = [f"a-{number}" for number in range(8)]
    crew.apps[0].enqueue_many([task.s(lane) for _ in range(200) for lane in lanes])
    with (
        crew.apps[0].worker(assigned=["a-*"], concurrency=1),
        crew.apps[1].worker(assigned=["b-*"], steal_from=["a-*"], concurrency=1),
    ):
        _wait(lambda: time.monotonic() > began + 11 or sum(len(times) - 2 for times in owners.values()) >= 8)
        # Before either leaves: the lanes of one that has left are anybody's at once.
        changes = [list(times) for times in owners.values()]
    gaps = [later[0] - earlier[0] for times in changes for earlier, later in pairwise(times[1:])]
    assert len(gaps) >= 3, "too little was stolen, or had back"
    assert min(gaps) >= 2 * 1.0 - 0.1, gaps


def test_more_keys_than_are_asked_for_at_once_are_all_served(crew: Crew) -> None:
    """A hundred with each claim."""
    keys = [f"k{number}" for number in range(250)]
    crew.put(*keys, jobs=2)
    assert crew.apps[0].worker(assigned=keys, exclusive=True).run_until_idle(30)
    crew.assert_in_order()


def _wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        threading.Event().wait(0.005)
