"""What pyfiq promises in its README and was seen to break, as programs that keep it here.

P1 to P14 number the defects; each test is the program that showed one, with the outcome that was promised.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.errors import BadOption, ConfigurationError, DuplicateTask, StorageError
from glassq.model.jobs import NewJob
from tests.conformance.redisservers import free_port, running, system_server
from tests.integration.processes import Stage


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind."""
    with Glassq(store_url, registry=CollectorRegistry(), lease_seconds=1) as app:
        yield app


def wait(condition: Callable[[], Any], timeout: float = 20) -> None:
    """Wait for what another thread causes."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_p1_nothing_enqueued_before_the_first_worker_is_lost(app: Glassq) -> None:
    """Five calls before any worker, one after: six run, in order."""
    ran: list[int] = []

    @app.fifo("q", name="task")
    def task(number: int) -> None:
        ran.append(number)

    for number in range(5):
        task(number)
    with app.worker():
        task(100)
        wait(lambda: len(ran) == 6)
    assert ran == [0, 1, 2, 3, 4, 100]


def test_p2_two_instances_keep_one_consumer_per_queue(stage: Stage) -> None:
    """Two processes on one queue never overlap and never change the order."""
    stage.start("produce", "p", "100", "0.005", "0").wait(timeout=30)
    stage.worker()
    stage.worker()
    stage.wait_for(lambda: len(stage.entries("end")) == 100, "all jobs")
    events = [(entry["event"], entry["n"]) for entry in stage.entries("start", "end")]
    assert events == [(event, number) for number in range(100) for event in ("start", "end")]


def test_p3_a_job_whose_worker_was_killed_runs_again_at_its_place(stage: Stage) -> None:
    """The next job does not overtake it."""
    stage.start("produce", "p", "2", "0.5", "0").wait(timeout=30)
    first = stage.worker()
    stage.wait_for(lambda: bool(stage.entries("start")), "the first job")
    first.kill()
    stage.worker()
    stage.wait_for(lambda: len(stage.entries("end")) == 2, "both jobs")
    assert [entry["n"] for entry in stage.entries("start")] == [0, 0, 1]


def test_p4_p6_p7_retries_happen_in_place_and_are_counted_per_job(app: Glassq) -> None:
    """Three failing jobs with three retries are four attempts each, one after the other, each given up once,
    also when they wait longer between attempts than anything is remembered in between."""
    runs: list[Any] = []

    @app.fifo(
        "q", name="fail", retry_wait=0.05, on_error=lambda exc, job, _: runs.append(("gave up", *job.args))
    )
    def fail(number: int) -> None:
        runs.append(number)
        raise ValueError

    for number in (1, 2, 3):
        fail(number)
    assert app.worker().run_until_idle(timeout=30)
    assert runs == [entry for n in (1, 2, 3) for entry in (n, n, n, n, ("gave up", n))]


def test_p5_for_ever_blocks_the_queue(app: Glassq) -> None:
    """`max_retries=-1`: the same job again and again, nothing behind it."""
    runs: list[int] = []

    @app.fifo("q", name="fail", max_retries=-1, retry_wait=0.02)
    def fail(number: int) -> None:
        runs.append(number)
        if len(runs) < 6:
            raise ValueError

    fail(1)
    fail(2)
    assert app.worker().run_until_idle(timeout=30)
    assert runs == [1, 1, 1, 1, 1, 1, 2]


def test_p8_p9_callbacks_and_damage_kill_nothing(app: Glassq) -> None:
    """Raising callbacks run no job again and stop nothing; a malformed entry is kept, not swallowed."""
    runs: list[int] = []

    def boom(*_: Any) -> None:
        raise RuntimeError("callback")

    @app.fifo("q", on_success=boom, on_error=boom, max_retries=0, name="task")
    def task(number: int) -> None:
        runs.append(number)
        if number == 1:
            raise ValueError

    with app.worker():
        task(0)
        task(1)
        wait(lambda: len(runs) == 2)
        app.storage.append("q", [NewJob(body=b'{"not": "a job"}')])
        wait(lambda: app.queue("q").halted())
        app.queue("q").skip(None)
        task(2)
        wait(lambda: len(runs) == 3)
    assert runs == [0, 1, 2]


def test_p10_stopping_during_a_retry_wait_keeps_the_job(app: Glassq) -> None:
    """The stop returns at once, and the job is tried again by the next worker."""
    runs: list[float] = []

    @app.fifo("q", name="fail", max_retries=-1, retry_wait=0.5)
    def fail() -> None:
        runs.append(time.monotonic())
        if len(runs) == 1:
            raise ValueError

    fail()
    worker = app.worker().start()
    wait(lambda: runs)
    assert worker.stop(drain=10)
    assert app.worker().run_until_idle(timeout=20)
    assert len(runs) == 2
    assert runs[1] - runs[0] >= 0.45


def test_p11_nothing_is_dropped_in_silence(app: Glassq, store_url: str) -> None:
    """`async def` is refused when decorated, a late queue is served, a second binding is refused, and a task
    that this deployment does not know halts its queue instead of vanishing."""
    with pytest.raises(BadOption, match="not built yet"):

        @app.fifo("q")
        async def coroutine() -> None: ...

    done = threading.Event()
    with app.worker():
        app.fifo("late", name="late")(done.set)()
        assert done.wait(20)
    app.fifo("one", name="same")(lambda: 1)
    with pytest.raises(DuplicateTask):
        app.fifo("two", name="same")(lambda: 2)
    with Glassq(store_url, registry=CollectorRegistry()) as newer:
        newer.fifo("one", name="only_in_the_new_version")(lambda: None)()
    assert app.worker().run_until_idle(timeout=20)
    assert [lane.reason for lane in app.queue("one").halted()] == ["unknown_task"]


def test_p12_calls_do_not_wait_and_datetimes_pass(app: Glassq) -> None:
    """A call before any worker exists returns at once, datetimes arrive as such, and a stop before a start is
    no error."""
    seen: list[Any] = []

    @app.fifo("q", name="task")
    def task(when: datetime) -> None:
        seen.append(when)

    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    started = time.monotonic()
    task(moment)
    assert time.monotonic() - started < 3, "pyfiq slept for ten seconds here"
    assert app.worker().stop() is True
    assert app.worker().run_until_idle(timeout=20)
    assert seen == [moment]


def test_p13_two_functions_on_one_queue_take_turns(app: Glassq) -> None:
    """One job at a time, in the order of the calls, and an exception stops neither."""
    runs: list[str] = []

    def task(letter: str) -> Any:
        @app.fifo("q", name=letter, max_retries=0)
        def run(number: int) -> None:
            runs.append(f"s {letter}{number}")
            time.sleep(0.005)
            runs.append(f"e {letter}{number}")
            if number == 1:
                raise ValueError

        return run

    a, b = task("a"), task("b")
    for number in range(4):
        a(number)
        b(number)
    assert app.worker().run_until_idle(timeout=20)
    assert runs == [f"{edge} {letter}{n}" for n in range(4) for letter in "ab" for edge in "se"]


def test_p14_nothing_of_a_settled_job_is_left(app: Glassq) -> None:
    """After 2,000 jobs the store holds no job, no lane and no dead letter."""

    @app.fifo("q", name="task", key="key")
    def task(key: str, number: int) -> None: ...

    app.enqueue_many([task.s(f"k{number % 20}", number) for number in range(2000)])
    assert app.worker().run_until_idle(timeout=60)
    stats = app.queue("q").stats()
    assert (stats.depth, sum(stats.lanes.values()), stats.dead_letters) == (0, 0, 0)
    assert app.queue("q").peek() == []


PROGRAM = """
import sys, time
from glassq import ThreadedWorker, fifo

done = []

def report(retval, job, binding):
    done.append((retval, job.args, binding.queue))

@fifo("orders", on_success=report, max_retries=2, retry_wait=1)
def add(a, b):
    return a + b

worker = ThreadedWorker(redis_url=sys.argv[1])
add(1, 2)  # before the worker runs
worker.start()
add(3, 4)
while len(done) < 2:
    time.sleep(0.01)
worker.stop()
print(done)
"""


def test_a_pyfiq_program_runs_with_its_import_changed(redis_url: str, tmp_path: Path) -> None:
    """Decorate, make a ThreadedWorker, call before and after it starts, get the callbacks."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    (tmp_path / "program.py").write_text(PROGRAM)
    result = subprocess.run(
        [sys.executable, "-W", "error", "program.py", redis_url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[(3, [1, 2], 'orders'), (7, [3, 4], 'orders')]"
    assert not list(tmp_path.glob("*.db"))


def test_the_default_application_does_not_change_its_store(redis_url: str, tmp_path: Path) -> None:
    """Once it has used one, another is refused with both named; without passwords."""
    program = (
        "import glassq\n"
        "glassq.configure('sqlite:///one.db')\n"
        "glassq.configure('sqlite:///two.db')\n"
        "task = glassq.fifo('q', name='t')(lambda: None)\n"
        "task()\n"
        "glassq.ThreadedWorker('sqlite:///two.db')\n"
        "try:\n"
        "    glassq.ThreadedWorker(redis_url='redis://user:secret@localhost:6379/0')\n"
        "except glassq.errors.ConfigurationError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "sqlite:///two.db" in result.stdout
    assert "redis://localhost:6379/0" in result.stdout
    assert "secret" not in result.stdout
    assert not (tmp_path / "one.db").exists()


def test_a_worker_outlives_an_outage_of_its_store(tmp_path: Path) -> None:
    """P9 on an outage: the server goes away and comes back, and the worker's threads are still there."""
    port = free_port()
    ran: list[int] = []
    with running(system_server(), tmp_path, "--appendonly", "yes", port=port) as url:
        app = Glassq(url, registry=CollectorRegistry(), lease_seconds=1)
        task = app.fifo("q", name="task")(ran.append)
        worker = app.worker().start()
        task(1)
        wait(lambda: ran == [1])
    with pytest.raises((StorageError, ConfigurationError)):
        app.queue("q").stats()
    with running(system_server(), tmp_path, "--appendonly", "yes", port=port):
        task(2)
        wait(lambda: ran == [1, 2], timeout=40)
        assert worker.stop()
        app.close()
