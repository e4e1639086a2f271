"""What fairque promises of fairness, and was seen to break, as programs that keep it here.

Q1 to Q21 number the defects; each test is the program that showed one, with the outcome that was promised.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from glassq import From, Glassq, Priority
from glassq.context import current_job
from tests.integration.processes import Stage


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind."""
    with Glassq(store_url, registry=CollectorRegistry(), lease_seconds=2) as app:
        yield app


def test_q1_a_user_with_many_jobs_does_not_starve_one_with_few(app: Glassq) -> None:
    """It served the first user of its list until nothing was left of that one. Here they take turns."""
    ran: list[str] = []

    @app.fifo("q", key="user")
    def work(user: str) -> None:
        ran.append(user)

    app.enqueue_many([work.s("u1") for _ in range(20)] + [work.s("u2") for _ in range(2)])
    assert app.worker(concurrency=1).run_until_idle(20)
    assert [place for place, user in enumerate(ran) if user == "u2"][1] <= 4


def test_q2_jobs_of_a_user_run_first_in_first_out(app: Glassq) -> None:
    """It served the newest first."""
    ran: list[int] = []

    @app.fifo("q", key="user")
    def work(user: str, number: int) -> None:
        ran.append(number)

    for number in range(6):
        work("u1", number)
    assert app.worker().run_until_idle(20)
    assert ran == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("levels", [range(6), range(5, -1, -1)])
def test_q3_a_higher_priority_is_served_first(app: Glassq, levels: range) -> None:
    """It had no effect, or the opposite one: what was pushed last came first."""
    ran: list[int] = []

    @app.fifo("q", key="user")
    def work(user: str, level: int) -> None:
        ran.append(level)

    priorities = sorted(Priority)
    for level in levels:
        work.options(priority=priorities[level])("u1", level)
    assert app.worker().run_until_idle(20)
    assert ran == [5, 4, 3, 2, 1, 0]


def test_q4_the_highest_priority_is_first_in_first_out_too(app: Glassq) -> None:
    """It was a list of its own, and a stack."""
    ran: list[int] = []

    @app.fifo("q", key="user", priority=max(Priority))
    def work(user: str, number: int) -> None:
        ran.append(number)

    for number in range(6):
        work("u1", number)
    assert app.worker().run_until_idle(20)
    assert ran == [0, 1, 2, 3, 4, 5]


_WORKER = """
import sys
from glassq import Glassq
app = Glassq(sys.argv[1])
ran = []
@app.fifo("q", key="user", name="work")
def work(user): ran.append(user)
worker = app.worker(assigned=["u1", "u2"], steal_from=["u3", "u4"], concurrency=1)
assert worker.run_until_idle(20)
print(*ran)
app.close()
"""


def test_q5_assigned_users_come_before_those_to_steal_from(app: Glassq) -> None:
    """Which user came first was a matter of how texts are hashed, so another one in each process; in half of
    them it was one to steal from, while the assigned ones had work."""

    @app.fifo("q", key="user", name="work")
    def work(user: str) -> None: ...

    for seed in ("0", "1", "2"):
        app.enqueue_many([work.s(user) for user in ("u4", "u3", "u2", "u1")])
        time.sleep(0.3)  # what is not assigned has waited long enough to be stolen at once
        ran = subprocess.run(
            [sys.executable, "-c", _WORKER, app.address],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert ran.stdout.split() == ["u2", "u1", "u3", "u4"]


@pytest.mark.parametrize("user", ["a,b", "a:b", "{a}", "a'b\"c", "a b", "a/b#1", "ü\n", "*"])
def test_q13_any_text_is_a_user(app: Glassq, user: str) -> None:
    """A comma in a user's id made its jobs unreachable."""
    ran: list[str] = []

    @app.fifo("q", key="user")
    def work(user: str) -> None:
        ran.append(user)

    work(user)
    assert app.worker(assigned=[user], exclusive=True).run_until_idle(20)
    work(user)
    assert app.worker().run_until_idle(20)
    assert ran == [user, user]
    assert app.storage.stats(["q"])[0].depth == 0


def test_q18_a_worker_settles_what_it_has_run(app: Glassq) -> None:
    """Its worker never told that a job was done: jobs stayed started for ever, and piled up."""

    @app.fifo("q", key="user")
    def work(user: str) -> None: ...

    app.enqueue_many([work.s(f"u{number}") for number in range(204)])
    assert app.worker().run_until_idle(30)
    (stats,) = app.storage.stats(["q"])
    assert (stats.depth, stats.leased, stats.settled["succeeded"]) == (0, 0, 204)


def test_q19_work_that_fails_is_tried_again_and_never_vanishes(app: Glassq) -> None:
    """Its worker tried once, whatever `max_retries` said, and deleted what had failed."""
    attempts: list[int] = []

    @app.fifo("q", key="user", max_retries=3, retry_wait=0.01)
    def work(user: str) -> None:
        job = current_job()
        attempts.append(job.attempt)
        raise RuntimeError("no")

    receipt = work("u1")
    assert app.worker().run_until_idle(20)
    assert attempts == [1, 2, 3, 4]
    (dead,) = app.queue("q").dead_letters()
    assert (dead.id, dead.key, dead.attempts) == (receipt.id, "u1", 4)


def test_q20_the_jobs_of_a_killed_worker_run_again(stage: Stage) -> None:
    """They stayed started for ever, as nobody took them back."""
    stage.start("produce", "p", "3", "0.3", "0").wait(timeout=30)
    first = stage.worker()
    stage.wait_for(lambda: bool(stage.entries("start")), "the first job")
    first.kill()
    stage.worker()
    stage.wait_for(lambda: len(stage.entries("end")) == 3, "all jobs")
    assert [entry["n"] for entry in stage.entries("start")] == [0, 0, 1, 2]


def test_q21_a_timeout_is_noticed_while_the_job_runs(app: Glassq) -> None:
    """It was told of when the job had ended by itself, six times as late. A job that asks ends at once."""
    ended = threading.Event()
    took: list[float] = []

    @app.fifo("q", key="user", timeout=0.2, max_retries=0)
    def work(user: str) -> None:
        began, job = time.monotonic(), current_job()
        try:
            while time.monotonic() - began < 10:
                job.check()
                time.sleep(0.01)
        finally:
            took.append(time.monotonic() - began)
            ended.set()

    work("u1")
    assert app.worker(concurrency=1).run_until_idle(20)
    assert ended.is_set()
    assert took[0] < 8
    assert app.queue("q").dead_letters()[0].reason == "timeout"


def test_q6_the_function_of_a_step_runs(app: Glassq) -> None:
    """It was lost on its way, and the worker reported success."""
    ran: list[str] = []

    @app.fifo("q")
    def step(name: str) -> None:
        ran.append(name)

    app.submit(step.s("a") >> step.s("b"))
    assert app.worker().run_until_idle(20)
    assert ran == ["a", "b"]


def test_q7_a_pipeline_can_be_enqueued_and_keeps_its_edges(app: Glassq) -> None:
    """Enqueuing one was an AttributeError; in `(extract >> transform) | load` the edge was lost."""
    ran: list[str] = []

    @app.fifo("q")
    def step(name: str) -> None:
        ran.append(name)

    extract, transform, load = (step.s(name).named(name) for name in ("extract", "transform", "load"))
    workflow = app.submit((extract >> transform) | load)
    assert [(edge.parent, edge.child) for edge in workflow.graph().edges] == [(0, 1)]
    assert app.worker().run_until_idle(20)
    assert sorted(ran) == ["extract", "load", "transform"]
    assert ran.index("extract") < ran.index("transform")


@pytest.mark.parametrize("end", ["succeeded", "cancelled", "failed", "scheduled"])
def test_q10_nobody_waits_for_ever(app: Glassq, end: str) -> None:
    """A dependency that had ended, failed or was cancelled left its child waiting; one that was put off was
    ignored."""
    ran: list[str] = []

    @app.fifo("q", max_retries=0)
    def parent(name: str) -> None:
        ran.append(name)
        if end == "failed":
            raise ValueError(name)

    @app.fifo("r")
    def child(name: str) -> None:
        ran.append(name)

    first = parent.options(delay=0.3)("a") if end == "scheduled" else parent("a")
    if end in ("succeeded", "failed"):
        assert app.worker().run_until_idle(20)
    child.options(depends_on=[first])("b")
    if end == "cancelled":
        app.cancel(first)
    with app.worker() as worker:
        time.sleep(0.5 if end == "scheduled" else 0)
        assert worker.run_until_idle(20)
        deadline = time.monotonic() + 10
        while app.storage.stats(["r"])[0].deferred and time.monotonic() < deadline:
            time.sleep(0.02)
        assert worker.run_until_idle(20)
    assert app.storage.stats(["r"])[0].depth == 0
    assert ran == {"succeeded": ["a", "b"], "cancelled": [], "failed": ["a"], "scheduled": ["a", "b"]}[end]


def test_q16_results_reach_later_steps(app: Glassq) -> None:
    """Pushing and pulling failed for want of a manager that nobody set."""
    seen: list[object] = []

    @app.fifo("q", key="user")
    def extract(user: str) -> dict[str, int]:
        job = current_job()
        job.xcom_push("rows", 3)
        return {"total": 7}

    @app.fifo("q", key="user")
    def load(user: str, data: dict[str, int]) -> None:
        job = current_job()
        seen.extend([data, job.upstream["extract"], job.xcom_pull("rows")])

    app.submit(extract.s("u:1") >> load.s("u:1", From("extract")))
    assert app.worker().run_until_idle(20)
    assert seen == [{"total": 7}, {"total": 7}, 3]


def test_q18_a_step_lets_go_what_depends_on_it(app: Glassq) -> None:
    """The worker never said that it had finished, so the rest waited for ever."""
    ran: list[str] = []

    @app.fifo("q")
    def step(name: str) -> None:
        ran.append(name)

    first = step("a")
    step.options(depends_on=[first])("b")
    assert app.worker().run_until_idle(20)
    assert ran == ["a", "b"]
    assert app.storage.stats(["q"])[0].depth == 0
