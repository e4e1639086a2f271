"""`glassq.testing` with jobs that wait for others, keep what they return, and say how far they are."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from glassq import From, Glassq, WorkflowStatus, current_job
from glassq.errors import JobFailed, JobNotFound
from glassq.model.events import WorkflowEnded
from glassq.model.jobs import JobState
from glassq.testing import testing


class Kitchen:
    """An application of two queues, and what its jobs did."""

    def __init__(self) -> None:
        self.app = app = Glassq("redis://nowhere.invalid/0")
        self.done: list[str] = []
        self.before: Callable[[str], object] = lambda _: None

        @app.fifo("left", name="step", max_retries=0)
        def step(name: str, first: str = "", second: str = "") -> str:
            return self._run(name, first, second)

        @app.fifo("right", name="other", max_retries=0)
        def other(name: str, first: str = "", second: str = "") -> str:
            return self._run(name, first, second)

        self.step, self.other = step, other

    def _run(self, name: str, *parts: str) -> str:
        self.before(name)
        self.done.append(name)
        return "".join((name, *parts))


@pytest.fixture
def kitchen() -> Kitchen:
    """An application whose own store cannot be reached."""
    return Kitchen()


# -- workflows -----------------------------------------------------------------------------------------------


def test_a_diamond_runs_through(kitchen: Kitchen) -> None:
    """Over two queues: what one tells the other is told in the calling thread, and no time has to pass."""
    a = kitchen.step.s("a").named("a")
    b, c = kitchen.other.s("b", From("a")).named("b"), kitchen.step.s("c", From("a")).named("c")
    d = kitchen.other.options(result_ttl=60).s("d", From("b"), From("c")).named("d")
    with testing(kitchen.app) as kit:
        threads, began = set(threading.enumerate()), kit.clock.wall()
        workflow = kitchen.app.submit(a >> (b | c) >> d, name="diamond")
        assert (kit.run_until_idle(), kit.clock.wall()) == (4, began)
        assert workflow.status() is WorkflowStatus.SUCCEEDED
        [last] = workflow.jobs("d")
        assert kitchen.app.job(last).result(0) == "dbaca"
        assert (kitchen.done[0], sorted(kitchen.done[1:3]), kitchen.done[3]) == ("a", ["b", "c"], "d")
        assert [event.name for event in kit.events.of(WorkflowEnded)] == ["diamond"]
        assert {thread.name for thread in set(threading.enumerate()) - threads} <= {"glassq-telling"}


def test_step_by_step_each_lets_the_next_go(kitchen: Kitchen) -> None:
    """After the attempt that a test asked for, all is told that it has to tell."""
    with testing(kitchen.app) as kit:
        kitchen.app.submit(kitchen.step.s("a") >> kitchen.other.s("b") >> kitchen.step.s("c"))
        for done, ready in (("a", (0, 1)), ("b", (1, 0)), ("c", (0, 0))):
            assert kit.run_next()
            left, right = kitchen.app.storage.stats(["left", "right"])
            assert (kitchen.done[-1], (left.ready, right.ready)) == (done, ready)
        assert not kit.run_next()


def test_a_worker_that_dies_before_it_tells_others_has_a_successor_that_does(kitchen: Kitchen) -> None:
    """The parent is settled and has let go as many as one settlement does: the next worker tells the rest."""

    def die_once(name: str) -> None:
        if name == "behind" and "died" not in kitchen.done:
            kitchen.done.append("died")
            kit.crash_worker()

    kitchen.before = die_once
    with testing(kitchen.app) as kit:
        parent = kitchen.step.options(result_ttl=60)("parent")
        kitchen.step("behind")
        children = [kitchen.other.options(depends_on=[parent])(f"child {number}") for number in range(230)]
        assert kit.run() == 2
        assert kitchen.app.job(parent.id).state is JobState.SUCCEEDED
        assert kitchen.app.job(children[0].id).state is JobState.READY
        assert kitchen.app.job(children[-1].id).state is JobState.DEFERRED
        assert kit.run() == 230  # the lane of the job that the worker died of waits for the lease to end
        assert kitchen.done == ["parent", "died", *(f"child {number}" for number in range(230))]
        assert kit.run_until_idle() == 1
        assert kitchen.done[-1] == "behind"


def test_a_failed_step_cancels_what_waits_for_it(kitchen: Kitchen) -> None:
    """Also in the other queue, and the workflow has ended when nothing is left to run."""

    def fail(name: str) -> None:
        raise ValueError(name)

    kitchen.before = fail
    with testing(kitchen.app, errors="keep") as kit:
        workflow = kitchen.app.submit(kitchen.step.s("a") >> kitchen.other.s("b"))
        assert kit.run_until_idle() == 1
        assert workflow.status() is WorkflowStatus.FAILED
        assert workflow.progress() == {JobState.BURIED: 1, JobState.CANCELLED: 1}


def test_inline_a_workflow_runs_in_its_submission(kitchen: Kitchen) -> None:
    """Nothing waits when `submit` returns."""
    with testing(kitchen.app, "inline"):
        workflow = kitchen.app.submit(kitchen.step.s("a") >> kitchen.other.s("b"))
        assert (kitchen.done, workflow.status()) == (["a", "b"], WorkflowStatus.SUCCEEDED)


# -- results and progress ----------------------------------------------------------------------------------


def test_results_are_there_once_the_jobs_ran(kitchen: Kitchen) -> None:
    """In manual mode after a `run`, inline after the call; kept for so long by the kit's clock."""
    with testing(kitchen.app) as kit:
        receipt = kitchen.step.options(result_ttl=60)("a", "b")
        kit.run()
        assert receipt.result(0) == "ab"
        kit.advance(61)
        with pytest.raises(JobNotFound):
            receipt.status()
    with testing(kitchen.app, "inline"):
        assert kitchen.other.options(result_ttl=60)("c").result(0) == "c"


def test_the_error_of_a_kept_job_is_its_result(kitchen: Kitchen) -> None:
    """As in production."""

    def fail(name: str) -> None:
        raise ValueError(name)

    kitchen.before = fail
    with testing(kitchen.app, errors="keep") as kit:
        receipt = kitchen.step.options(result_ttl=60)("a")
        kit.run()
        with pytest.raises(JobFailed, match="a"):
            receipt.result(0)


def test_progress_is_written_by_the_step(kitchen: Kitchen) -> None:
    """The last that a job said, once its attempt is over; meanwhile, as time passes. No thread writes it."""
    seen: list[float | None] = []

    def look() -> None:
        told = receipt.status().progress
        assert told is not None
        seen.append(told.done)

    def say(_: str) -> None:
        job = current_job()
        job.progress(0.25)
        kit.advance(1)
        look()
        job.progress(0.75)
        assert "glassq-progress" not in {thread.name for thread in threading.enumerate()}

    kitchen.before = say
    with testing(kitchen.app) as kit:
        receipt = kitchen.step.options(result_ttl=60)("a")
        kit.run()
        look()
    assert seen == [0.25, 0.75]
