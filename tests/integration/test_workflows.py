"""Workflows as whole programs, on each store: what runs when, what reaches whom, how it ends, what is not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from glassq import From, Glassq, WorkflowStatus, chain, current_job, parallel
from glassq.errors import (
    BadOption,
    JobNotFound,
    QueueFull,
    ResultTimeout,
    SerializationFailed,
    StorageUnavailable,
    SubmitFailed,
    WorkflowCycle,
    WorkflowError,
    WorkflowNotFound,
)
from glassq.model.jobs import Cancellation, JobState
from glassq.model.leases import Settlement
from glassq.model.names import nth_id
from glassq.storage import Storage


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry(), lease_seconds=2) as app:
        yield app


class Steps:
    """Tasks that note what ran, in two queues, and fail when they are told to."""

    def __init__(self, app: Glassq) -> None:
        self.ran: list[str] = []
        self.failing: set[str] = set()

        @app.fifo("left", max_retries=0, name="step")
        def step(name: str) -> str:
            return self._run(name)

        @app.fifo("right", max_retries=0, name="other")
        def other(name: str) -> str:
            return self._run(name)

        self.step, self.other = step, other

    def _run(self, name: str) -> str:
        self.ran.append(name)
        if name in self.failing:
            raise ValueError(name)
        return name.upper()

    def __call__(self, name: str, **options: Any) -> Any:
        """A step of this name."""
        return self.step.options(**options).s(name).named(name)

    def elsewhere(self, name: str, **options: Any) -> Any:
        """A step of this name in the other queue."""
        return self.other.options(**options).s(name).named(name)


@pytest.fixture
def steps(app: Glassq) -> Steps:
    """Tasks of two queues."""
    return Steps(app)


def drain(app: Glassq) -> None:
    """Run what can run."""
    assert app.worker().run_until_idle(20)


# -- what runs when ------------------------------------------------------------------------------------


def test_a_step_runs_after_all_before_it(app: Glassq, steps: Steps) -> None:
    """Fan-out and fan-in over two queues: whatever else, never before what it waits for."""
    whole = steps("a") >> (steps("b") | steps.elsewhere("c") | steps("d")) >> steps.elsewhere("e")
    workflow = app.submit(whole, name="fan")
    assert (workflow.status(), workflow.name) == (WorkflowStatus.RUNNING, "fan")
    with app.worker():
        assert workflow.wait(20) is WorkflowStatus.SUCCEEDED
    assert (steps.ran[0], steps.ran[-1], sorted(steps.ran)) == ("a", "e", list("abcde"))
    assert workflow.progress() == {JobState.SUCCEEDED: 5}


def test_nothing_of_it_waits_as_ready_before_its_turn(app: Glassq, steps: Steps) -> None:
    """Steps behind others are deferred, have no place in the lane yet, and are let past by other jobs."""
    workflow = app.submit(steps("a") >> steps("b"))
    receipt = steps.step("between")
    (stats,) = app.storage.stats(["left"])
    assert (stats.ready, stats.deferred, stats.depth) == (2, 1, 3)
    (second,) = workflow.jobs("b")
    assert app.job(second).state is JobState.DEFERRED
    assert receipt.seq == 2  # the deferred step takes its place when it is released
    drain(app)
    assert steps.ran == ["a", "between", "b"]


def test_written_the_other_way_round(app: Glassq, steps: Steps) -> None:
    """`<<` is `>>` read from the right."""
    with app.worker():
        assert app.submit(steps("c") << steps("b") << steps("a")).wait(20) is WorkflowStatus.SUCCEEDED
    assert steps.ran == ["a", "b", "c"]


def test_a_long_chain_over_two_queues(app: Glassq, steps: Steps) -> None:
    """Step by step, each released by the one before it, in this queue or in the other."""
    names = [f"n{number}" for number in range(60)]
    whole = chain(*(steps.elsewhere(name) if at % 3 else steps(name) for at, name in enumerate(names)))
    with app.worker():
        assert app.submit(whole).wait(30) is WorkflowStatus.SUCCEEDED
    assert steps.ran == names


def test_many_first_steps_and_one_that_waits_for_all(app: Glassq, steps: Steps) -> None:
    """More than one step of the store lets go: the rest is relayed."""
    whole = parallel(*(steps(f"n{number}") for number in range(230))) >> steps.elsewhere("last")
    workflow = app.submit(whole)
    with app.worker():
        assert workflow.wait(30) is WorkflowStatus.SUCCEEDED
    assert steps.ran == [*(f"n{number}" for number in range(230)), "last"]


def test_one_that_many_wait_for(app: Glassq, steps: Steps) -> None:
    """More children than one settlement lets go, in their order."""
    whole = steps("first") >> parallel(*(steps(f"n{number}") for number in range(230)))
    with app.worker():
        assert app.submit(whole).wait(30) is WorkflowStatus.SUCCEEDED
    assert steps.ran == ["first", *(f"n{number}" for number in range(230))]


def test_steps_of_a_queue_that_is_cut_into_shards(app: Glassq) -> None:
    """Edges between shards are relayed like those between queues."""
    app.queue("cut", shards=3)
    ran: list[str] = []

    @app.fifo("cut", key="name")
    def step(name: str) -> None:
        ran.append(name)

    whole = step.s("a") >> parallel(*(step.s(f"k{number}") for number in range(8))) >> step.s("z")
    with app.worker():
        assert app.submit(whole).wait(20) is WorkflowStatus.SUCCEEDED
    assert (ran[0], ran[-1], len(ran)) == ("a", "z", 10)


# -- what reaches whom -----------------------------------------------------------------------------------


class Row(msgspec.Struct):
    """Something with a type of its own."""

    name: str
    amount: int


def test_results_reach_the_steps_behind(app: Glassq) -> None:
    """By the step's name, several of one name as a list in the order they were written, and as arguments by
    the type that the parameter declares."""
    seen: dict[str, Any] = {}

    @app.fifo("q")
    def extract(part: int) -> list[Row]:
        return [Row("r", part)]

    @app.fifo("q")
    def total(parts: list[list[Row]], start: int = 100) -> int:
        job = current_job()
        seen["upstream"] = dict(job.upstream)
        seen["parts"] = parts
        return start + sum(row.amount for part in parts for row in part)

    @app.fifo("q")
    def show(first: int, second: int, *, label: str) -> None:
        seen["show"] = (first, second, label)

    whole = (extract.s(1) | extract.s(2) | extract.s(3)) >> total.s(From("extract"))
    whole = whole >> show.s(From("total"), 2, label="sum")
    with app.worker():
        assert app.submit(whole).wait(20) is WorkflowStatus.SUCCEEDED
    assert seen["parts"] == [[Row("r", 1)], [Row("r", 2)], [Row("r", 3)]]
    assert seen["upstream"] == {"extract": [[{"name": "r", "amount": part}] for part in (1, 2, 3)]}
    assert seen["show"] == (106, 2, "sum")


def test_a_retried_step_has_the_results_still(app: Glassq) -> None:
    """They are kept until it is settled for good."""
    seen: list[Any] = []

    @app.fifo("q")
    def give() -> int:
        return 7

    @app.fifo("q", max_retries=3, retry_wait=0.01)
    def take(value: int) -> None:
        seen.append(value)
        if len(seen) < 3:
            raise ValueError

    with app.worker():
        assert app.submit(give.s() >> take.s(From("give"))).wait(20) is WorkflowStatus.SUCCEEDED
    assert seen == [7, 7, 7]


def test_async_steps(app: Glassq) -> None:
    """The same on an event loop, which does not wait for what was left."""
    seen: list[Any] = []

    @app.fifo("q")
    async def give() -> int:
        await asyncio.sleep(0)
        return 7

    @app.fifo("q")
    async def take(value: int) -> None:
        job = current_job()
        seen.append((value, job.upstream["give"]))

    with app.worker():
        assert app.submit(give.s() >> take.s(From("give"))).wait(20) is WorkflowStatus.SUCCEEDED
    assert seen == [(7, 7)]


def test_what_a_step_left_that_failed_is_told(app: Glassq, steps: Steps) -> None:
    """Nothing is made up for it: the names say how it ended, and why there is no result."""
    seen: dict[str, Any] = {}

    @app.fifo("q", max_retries=0)
    def after(given: str = "nothing") -> None:
        job = current_job()
        seen.update(
            outcomes=job.upstream.outcomes, given=given, got=job.upstream.get("a"), all=dict(job.upstream)
        )
        with pytest.raises(KeyError, match=r"step 'a' left no result: left/.* ended as buried"):
            job.upstream["a"]
        with pytest.raises(KeyError, match="after no step 'x'; it comes after a, b"):
            job.upstream["x"]

    steps.failing.add("a")
    app.submit((steps("a") | steps("b")) >> after.s(From("a")), on_failure="run")
    drain(app)
    assert seen == {
        "outcomes": {"a": (JobState.BURIED,), "b": (JobState.SUCCEEDED,)},
        "given": "nothing",
        "got": None,
        "all": {"b": "B"},
    }


def test_an_argument_without_a_default_that_nobody_left_fails_the_attempt(app: Glassq, steps: Steps) -> None:
    """With what is missing and what to do, as the dead letter's error."""

    @app.fifo("q", max_retries=0)
    def after(given: str) -> None:
        raise AssertionError(given)

    steps.failing.add("a")
    app.submit(steps("a") >> after.s(From("a")), on_failure="run")
    drain(app)
    (letter,) = app.queue("q").dead_letters()
    assert "'given' is what step 'a' left, and that left no result" in letter.error
    assert "give the parameter a default" in letter.error


def test_shared_values(app: Glassq) -> None:
    """Under names, for a time, among the jobs of one workflow alone."""
    seen: list[Any] = []

    @app.fifo("q")
    def push(value: int) -> None:
        job = current_job()
        job.xcom_push("value", {"is": value}, ttl=60)

    @app.fifo("r")
    def pull() -> None:
        job = current_job()
        seen.append((job.xcom_pull("value"), job.xcom_pull("other", "none")))

    one = app.submit(push.s(1) >> pull.s())
    with app.worker():
        assert one.wait(20) is WorkflowStatus.SUCCEEDED
        two = app.submit(pull.s() >> push.s(2))
        assert two.wait(20) is WorkflowStatus.SUCCEEDED
    assert seen == [({"is": 1}, "none"), (None, "none")]
    assert one.xcom_pull("value") == {"is": 1}
    assert app.workflow(two.id).xcom_pull("value") == {"is": 2}


def test_a_job_of_no_workflow_shares_nothing(app: Glassq) -> None:
    """It is told so; and it comes after nothing."""
    seen: list[Any] = []

    @app.fifo("q", max_retries=0)
    def alone() -> None:
        job = current_job()
        seen.append((job.workflow, dict(job.upstream)))
        job.xcom_push("a", 1)

    alone()
    drain(app)
    assert seen == [(None, {})]
    assert "belongs to no workflow" in app.queue("q").dead_letters()[0].error


def test_a_result_that_cannot_be_kept_is_told_to_whoever_wants_it(app: Glassq) -> None:
    """The step that returned it has succeeded and does not run again."""
    runs: list[int] = []

    @app.fifo("q")
    def give() -> object:
        runs.append(1)
        return object()

    @app.fifo("q", max_retries=0)
    def take(value: Any) -> None:
        raise AssertionError(value)

    workflow = app.submit(give.s() >> take.s(From("give")))
    drain(app)
    assert (runs, workflow.status()) == ([1], WorkflowStatus.FAILED)
    assert "the result of" in app.queue("q").dead_letters()[0].error


# -- how it ends -----------------------------------------------------------------------------------------


def test_cancel_is_what_a_failure_means_unless_said_otherwise(app: Glassq, steps: Steps) -> None:
    """What is behind the failed step is cancelled, in both queues; the rest runs."""
    steps.failing.add("b")
    workflow = app.submit(steps("a") >> (steps("b") | steps("c")) >> steps.elsewhere("d") >> steps("e"))
    with app.worker():
        assert workflow.wait(20) is WorkflowStatus.FAILED
    assert steps.ran == ["a", "b", "c"]
    states = {step.name: step.state for step in workflow.graph().steps}
    assert states == {"a": "succeeded", "b": "buried", "c": "succeeded", "d": "cancelled", "e": "cancelled"}


def test_a_replay_brings_back_what_the_failure_cancelled(app: Glassq, steps: Steps) -> None:
    """And it runs once the dead letter has succeeded; the workflow ends anew."""
    steps.failing.add("a")
    workflow = app.submit(steps("a") >> steps.elsewhere("b") >> steps("c"))
    with app.worker() as worker:
        assert workflow.wait(20) is WorkflowStatus.FAILED
        steps.failing.clear()
        app.queue("left").replay()
        assert worker.run_until_idle(20)
        assert workflow.wait(20) is WorkflowStatus.SUCCEEDED
    assert steps.ran == ["a", "a", "b", "c"]


def test_a_policy_belongs_to_the_edge_the_step_or_the_whole(app: Glassq, steps: Steps) -> None:
    """In this order: `then`, the options of the step behind, `submit`."""
    steps.failing.add("a")
    first = steps("a")
    whole = (
        first.then(steps("edge"), on_failure="run")
        | (first >> steps("step", on_failure="wait"))
        | (first >> steps("whole"))
    )
    workflow = app.submit(whole, on_failure="cancel")
    drain(app)
    states = {step.name: step.state for step in workflow.graph().steps}
    assert states == {"a": "buried", "edge": "succeeded", "step": "open", "whole": "cancelled"}
    assert workflow.status() is WorkflowStatus.RUNNING
    assert "s0 -. run .-> s1" in workflow.graph().mermaid()


def test_waiting_for_the_replay(app: Glassq, steps: Steps) -> None:
    """With "wait" a step stays deferred until the dead letter has been replayed and succeeded."""
    steps.failing.add("a")
    workflow = app.submit(steps("a") >> steps("b"), on_failure="wait")
    drain(app)
    assert app.storage.stats(["left"])[0].deferred == 1
    steps.failing.clear()
    app.queue("left").replay()
    drain(app)
    assert (steps.ran, workflow.status()) == (["a", "a", "b"], WorkflowStatus.SUCCEEDED)


def test_cancelling_the_whole(app: Glassq, steps: Steps) -> None:
    """Nothing more of it runs, whatever its steps say of failures; it has ended as cancelled."""
    workflow = app.submit(steps("a") >> (steps("b") | steps.elsewhere("c")) >> steps("d"), on_failure="run")
    assert workflow.cancel() == 4
    drain(app)
    assert steps.ran == []
    assert workflow.wait(5) is WorkflowStatus.CANCELLED
    assert workflow.cancel() == 0


def test_cancelling_one_step_cancels_what_is_behind_it(app: Glassq, steps: Steps) -> None:
    """Before it was let go, too."""
    workflow = app.submit(steps("a") >> steps("b") >> steps.elsewhere("c"))
    assert app.cancel(workflow.jobs("b")[0]) is Cancellation.REMOVED
    with app.worker():
        assert workflow.wait(20) is WorkflowStatus.CANCELLED
    assert steps.ran == ["a"]


def test_waiting_in_vain(app: Glassq, steps: Steps) -> None:
    """Says how far it has come."""
    workflow = app.submit(steps("a") >> steps("b"))
    with pytest.raises(ResultTimeout, match="0 of 2 jobs"):
        workflow.wait(0.02)


def test_another_program_finds_it_by_its_id(app: Glassq, steps: Steps) -> None:
    """With its graph; and is told when there is none."""
    workflow = app.workflow(app.submit(steps("a") >> steps("b"), name="nightly").id)
    assert (workflow.name, workflow.status()) == ("nightly", WorkflowStatus.RUNNING)
    graph = json.loads(workflow.graph().json())
    assert [(step["name"], step["queue"], step["state"]) for step in graph["steps"]] == [
        ("a", "left", "open"),
        ("b", "left", "open"),
    ]
    assert graph["edges"] == [{"parent": 0, "child": 1, "on_failure": "cancel"}]
    assert workflow.graph().mermaid().startswith('flowchart LR\n  s0["a"]\n  s1["b"]\n  s0 --> s1\n')
    with pytest.raises(WorkflowNotFound, match="no workflow has the id"):
        app.workflow("~left/0123456789abcdef").status()
    with pytest.raises(BadOption, match="is no workflow's id"):
        app.workflow("left/p:1")


def test_awaited(app: Glassq, steps: Steps) -> None:
    """`asubmit` from an event loop."""
    workflow = asyncio.run(app.asubmit(steps("a") >> steps("b")))
    drain(app)
    assert (steps.ran, workflow.status()) == (["a", "b"], WorkflowStatus.SUCCEEDED)


def test_a_job_that_never_was_is_not_waited_for(app: Glassq, steps: Steps) -> None:
    """A call, a batch or a workflow behind an id of a queue that the store never had, or of a shard that the
    queue never had, is refused whole, with the queue that was meant; one that is gone counts as before."""
    app.queue("cut", shards=2)
    gone, cut = steps.step("a"), app.fifo("cut", key="key", name="cut")(lambda key: key)("k")
    drain(app)
    shard, _, name = cut.id.partition("/")
    for unknown, said in (
        ("lefft/abcdabcdabcd:1", "has no queue 'lefft'; did you mean 'left'?"),
        (f"cut#7/{name}", "queue 'cut' never had so many shards"),
    ):
        child = steps.other.options(depends_on=[gone, unknown])
        with pytest.raises(JobNotFound, match=re.escape(f"{unknown!r}: ")) as refused:
            child("b")
        assert said in str(refused.value)
        with pytest.raises(JobNotFound):
            app.enqueue_many([child.s("b")])
        with pytest.raises(JobNotFound):
            asyncio.run(child.aenqueue("b"))
        with pytest.raises(JobNotFound):
            app.submit(steps("first") >> steps.elsewhere("second", depends_on=[unknown]))
    assert [stats.depth for stats in app.storage.stats(["left", "right"])] == [0, 0]
    steps.other.options(depends_on=[gone, cut, f"{'cut#1' if shard == 'cut#0' else 'cut#0'}/{name}"])("b")
    drain(app)
    assert steps.ran == ["a", "b"]


def test_a_queue_that_was_cut_anew_meanwhile(app: Glassq, steps: Steps, store_url: str) -> None:
    """Its new shards give out ids that a program knows nothing of which looked before."""
    app.queue("cut", shards=2)
    app.fifo("cut", name="cut")(lambda: None)()
    drain(app)
    with Glassq(store_url, registry=CollectorRegistry()) as other:
        other.queue("cut", shards=3)
        receipt = other.fifo("cut", name="cut")(lambda: None)()
        assert other.worker().run_until_idle(20)
    steps.step.options(depends_on=[receipt])("a")
    assert app.worker(["left"]).run_until_idle(20)
    assert steps.ran == ["a"]


def test_a_job_that_is_yet_to_come_is_not_waited_for(app: Glassq, steps: Steps) -> None:
    """An id that its producer has not given out, of this queue or of another: refused, and of calls that are
    sent together no other one. Of a workflow nothing runs."""
    later = nth_id(steps.step("a").id, 1_000_000)
    for task in (steps.step, steps.other):
        child = task.options(depends_on=[later])
        with pytest.raises(JobNotFound, match="its producer has not come so far"):
            child("b")

        async def many(task: Any = task, child: Any = child) -> list[Any]:
            calls = [task.aenqueue("c"), child.aenqueue("b"), task.aenqueue("c")]
            return await asyncio.gather(*calls, return_exceptions=True)

        first, refused, last = asyncio.run(many())
        assert (first.queue, last.queue, type(refused)) == (task.definition.queue,) * 2 + (JobNotFound,)
        with pytest.raises(SubmitFailed, match="its producer has not come so far"):
            app.submit(steps("b") >> task.options(depends_on=[later]).s("b"))
    drain(app)
    assert steps.ran == ["a", *("c" * 4)]
    assert [stats.depth for stats in app.storage.stats(["left", "right"])] == [0, 0]


def test_its_end_awaited(app: Glassq, steps: Steps) -> None:
    """By many at once. As `wait` it says how far it is when the time is over, and raises what that does."""

    async def main() -> list[WorkflowStatus]:
        workflow = await app.asubmit(steps("a") >> steps.elsewhere("b"))
        with pytest.raises(ResultTimeout, match="0 of 2 jobs"):
            await workflow.wait_async(0.02)
        waiting = asyncio.gather(*(workflow.wait_async(20) for _ in range(100)))
        async with app.async_worker():
            return await waiting

    assert asyncio.run(main()) == [WorkflowStatus.SUCCEEDED] * 100
    with pytest.raises(WorkflowNotFound, match="no workflow has the id"):
        asyncio.run(app.workflow("~left/0123456789abcdef").wait_async())


def test_a_single_step_is_a_workflow(app: Glassq, steps: Steps) -> None:
    """Of one."""
    workflow = app.submit(steps("a"))
    drain(app)
    assert workflow.status() is WorkflowStatus.SUCCEEDED


# -- after jobs that are no steps --------------------------------------------------------------------------


def test_a_call_that_depends_on_others(app: Glassq, steps: Steps) -> None:
    """By receipt or id, of this queue and of another one; also awaited, and in a batch."""
    first, second = steps.step("a"), steps.other("b")
    receipt = steps.step.options(depends_on=[first, second.id])("c")
    assert receipt.seq is None
    (other,) = app.enqueue_many([steps.other.options(depends_on=[receipt]).s("d")])
    asyncio.run(steps.step.options(depends_on={"d": other}).aenqueue("e"))
    with app.worker() as worker:
        assert worker.run_until_idle(20)
        last = other
    assert last.seq is None
    drain(app)
    assert (sorted(steps.ran[:2]), steps.ran[2:]) == (["a", "b"], ["c", "d", "e"])


def test_a_dependency_that_has_ended_already(app: Glassq, steps: Steps) -> None:
    """It was seen to leave such a job waiting for ever."""
    done = [steps.step("a"), steps.other("b")]
    drain(app)
    steps.step.options(depends_on=done)("c")
    drain(app)
    assert steps.ran in (["a", "b", "c"], ["b", "a", "c"])


def test_one_dependency_of_two_has_ended_already(app: Glassq, steps: Steps) -> None:
    """The other one is waited for."""
    done = steps.step("a")
    drain(app)
    app.queue("right").pause()
    waiting = steps.other("b")
    receipt = steps.step.options(depends_on=[done, waiting])("c")
    drain(app)
    assert app.job(receipt.id).state is JobState.DEFERRED
    app.queue("right").resume()
    drain(app)
    assert steps.ran == ["a", "b", "c"]


def test_a_dependency_that_was_cancelled(app: Glassq, steps: Steps) -> None:
    """It was seen to leave such a job waiting for ever. Here it is cancelled, or runs if it was told to."""
    parent = steps.step("a")
    child = steps.other.options(depends_on=[parent])("b")
    steps.other.options(depends_on=[parent], on_failure="run")("c")
    app.cancel(parent)
    drain(app)
    assert steps.ran == ["c"]
    assert app.storage.get(child.id) is None


def test_a_step_that_comes_after_a_job_outside(app: Glassq, steps: Steps) -> None:
    """It is shown in the graph, too."""
    outside = steps.other("outside")
    workflow = app.submit(steps("a") >> steps("b", depends_on=[outside]))
    drain(app)
    assert set(steps.ran[:2]) == {"outside", "a"}
    assert (steps.ran[2], workflow.status()) == ("b", WorkflowStatus.SUCCEEDED)
    assert workflow.graph().outside == {1: (outside.id,)}


# -- what is refused -----------------------------------------------------------------------------------------


def nothing_stored(app: Glassq) -> bool:
    """Whether none of the queues has anything."""
    return all(stats.depth == 0 for stats in app.storage.stats(["left", "right"]))


def test_a_cycle_is_refused_whole_and_named(app: Glassq, steps: Steps) -> None:
    """One object is one step."""
    first, second, third = steps("a"), steps("b"), steps("c")
    with pytest.raises(WorkflowCycle, match=r"a >> b >> c >> a") as refused:
        app.submit(first >> second >> third >> first)
    assert refused.value.steps == ("a", "b", "c")
    with pytest.raises(WorkflowCycle, match="a >> a"):
        app.submit(first >> first)
    assert nothing_stored(app)


def test_bounds_are_refused_whole(app: Glassq, steps: Steps) -> None:
    """With the bound."""
    many = [parallel(*(steps(str(number)) for number in range(700))) for _ in range(2)]
    with pytest.raises(WorkflowError, match="at most 400,000 edges"):
        app.submit(many[0] >> many[1])
    assert nothing_stored(app)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": 5}, "waits for other steps, and not for a moment"),
        ({"dedup_id": "x"}, "is a job of its own, and cannot be a duplicate"),
        ({"unique": True}, "is a job of its own, and cannot be a duplicate"),
    ],
)
def test_what_no_step_can_be(app: Glassq, steps: Steps, options: dict[str, Any], message: str) -> None:
    """Options that contradict a workflow."""
    with pytest.raises(BadOption, match=message):
        app.submit(steps("a") >> steps("b", **options))
    assert nothing_stored(app)


def test_what_is_checked_before_anything_is_stored(app: Glassq, steps: Steps) -> None:
    """Arguments, names of steps, what is no signature, policies, names."""
    with pytest.raises(SerializationFailed):
        app.submit(steps("a") >> steps.step.s(object()))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing"):
        app.submit(steps("a") >> steps.step.s())  # type: ignore[call-arg]
    with pytest.raises(BadOption, match="'name' comes from step 'b', which this call does not come after"):
        app.submit(steps("a") >> steps.step.s(From("b")))
    with pytest.raises(BadOption, match="is made of signatures"):
        app.submit([steps("a")])  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="on_failure: is one of cancel, run, wait"):
        app.submit(steps("a"), on_failure="ignore")
    with pytest.raises(BadOption, match="name"):
        app.submit(steps("a"), name="two words")
    with pytest.raises(BadOption, match="no job's id"):
        steps.step.options(depends_on=["nonsense"])
    with pytest.raises(BadOption, match="depends_on: has left/p:1 twice"):
        steps.step.options(depends_on={"a": "left/p:1", "b": "left/p:1"})
    with pytest.raises(BadOption, match="delay: and depends_on exclude each other"):
        steps.step.options(depends_on=["left/p:1"], delay=3)
    assert nothing_stored(app)


def test_a_submit_that_fails_takes_everything_back(app: Glassq, steps: Steps) -> None:
    """The second queue is full: what is in the first is cancelled, and nothing runs."""
    app.queue("right", max_length=1)
    with pytest.raises(SubmitFailed, match="QueueFull") as failed:
        app.submit(steps("a") >> (steps.elsewhere("b") | steps.elsewhere("c")) >> steps("d"))
    assert isinstance(failed.value.__cause__, QueueFull)
    assert failed.value.left == ()
    drain(app)
    assert steps.ran == []
    assert nothing_stored(app)


@pytest.mark.parametrize("verb", ["append", "follow", "open_flow", "deliver"])
def test_a_store_that_fails_in_the_midst_of_a_submit(
    app: Glassq, steps: Steps, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Wherever that is: nothing of it is left, or runs."""
    whole = steps("a") >> steps.elsewhere("b") >> steps("c")
    app.storage.stats(["left"])
    real = getattr(app.storage, verb)
    calls = {"append": 3, "follow": 2, "open_flow": 1, "deliver": 1}[verb]

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls -= 1
        if not calls:
            raise StorageUnavailable("away", "connection")
        return real(*args, **kwargs)

    monkeypatch.setattr(app.storage, verb, failing)
    with pytest.raises(SubmitFailed, match="away"):
        app.submit(whole)
    monkeypatch.undo()
    drain(app)
    assert steps.ran == []
    assert nothing_stored(app)


# -- being seen --------------------------------------------------------------------------------------


def test_the_duration_is_counted_by_name(app: Glassq, steps: Steps) -> None:
    """Once for each workflow, whether it ended here or in another queue's shard."""
    steps.failing.add("bad")
    with app.worker():
        app.submit(steps("a") >> steps.elsewhere("b"), name="nightly").wait(20)
        app.submit(steps.elsewhere("c") >> steps("bad"), name="nightly").wait(20)
    counts = {
        status: app.metrics_registry.get_sample_value(
            "glassq_workflow_duration_seconds_count", {"workflow": "nightly", "status": status}
        )
        for status in ("succeeded", "failed", "cancelled")
    }
    assert counts == {"succeeded": 1, "failed": 1, "cancelled": 0}


def test_a_settlement_carries_a_result_only_where_somebody_may_want_it(
    app: Glassq, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of no workflow pay nothing for it."""
    told: list[Settlement] = []
    storage: Storage = app.storage
    settle = storage.settle

    def spy(owner: Any, settlements: Any) -> Any:
        told.extend(settlements)
        return settle(owner, settlements)

    monkeypatch.setattr(app.storage, "settle", spy)
    steps.step("alone")
    drain(app)
    assert [each.result for each in told] == [None]


def test_a_kept_result_reaches_whoever_comes_after_it(app: Glassq) -> None:
    """By the name it is depended on, whether it has ended by then or not, in this queue and in another."""
    seen: list[Any] = []

    @app.fifo("left", result_ttl=60)
    def give(value: int) -> int:
        return value

    @app.fifo("right")
    def far(first: int, second: int) -> None:
        seen.append((first, second))

    @app.fifo("left")
    def near(first: int) -> None:
        seen.append(first)

    done = give(1)
    drain(app)
    later = give(2)
    far.options(depends_on={"done": done, "later": later})(From("done"), From("later"))
    near.options(depends_on={"done": done})(From("done"))
    drain(app)
    assert sorted(seen, key=str) == [(1, 2), 1]
    with pytest.raises(BadOption, match="directly; did you mean 'done'"):
        near.options(depends_on={"done": done})(From("don"))


def test_a_submit_that_died_before_it_opened_the_gate(
    app: Glassq, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs, until somebody lets it begin; doing that twice, or later, changes nothing."""
    flows: list[str] = []

    def die(_storage: Any, gate: str, _shards: Any) -> None:
        flows.append(gate.removeprefix("!"))
        raise KeyboardInterrupt

    monkeypatch.setattr("glassq.workflows.submitting.open_gate", die)
    with pytest.raises(KeyboardInterrupt):
        app.submit((steps("a") | steps.elsewhere("b")) >> steps("c"))
    monkeypatch.undo()
    drain(app)
    assert steps.ran == []
    workflow = app.workflow(flows[0])
    for _ in range(2):
        workflow.begin()
    with app.worker():
        assert workflow.wait(20) is WorkflowStatus.SUCCEEDED
    workflow.begin()
    drain(app)
    assert (sorted(steps.ran[:2]), steps.ran[2:]) == (["a", "b"], ["c"])
