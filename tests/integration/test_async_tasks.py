"""Tasks that are `async def`: on an event loop of their own, with everything that holds for others."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Cancellation, Glassq, current_job
from glassq.errors import BadOption
from glassq.model.events import AttemptSettled, CallbackFailed, LaneLost, LoopBlocked, LoopFreed
from glassq.model.verdicts import Outcome
from glassq.telemetry import Sending, Subject


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own, and leases of a second."""
    with Glassq(store_url, registry=CollectorRegistry(), lease_seconds=1.5) as app:
        yield app


def ends(app: Glassq) -> list[AttemptSettled]:
    """The attempts that are settled from now on."""
    events: list[AttemptSettled] = []
    app.bus.subscribe(events.append, AttemptSettled)
    return events


def wait_for(condition: Callable[[], object], timeout: float = 20) -> None:
    """Wait for what another thread causes."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


# -- order and place -----------------------------------------------------------------------------------


def test_sync_and_async_tasks_run_in_one_order(app: Glassq) -> None:
    """Jobs of both kinds in one lane run in the order they were enqueued, never two at a time; all async
    ones of the application on one loop, in a thread that no sync one runs in."""
    runs: list[tuple[int, str]] = []
    loops, threads = set(), {"sync": set[int](), "async": set[int]()}
    inside = 0

    @contextmanager
    def alone(kind: str) -> Iterator[None]:
        nonlocal inside
        inside += 1
        threads[kind].add(threading.get_ident())
        assert inside == 1
        yield
        inside -= 1

    @app.fifo("q", key="key", max_retries=0)
    def plain(key: str, number: int) -> None:
        with alone("sync"):
            runs.append((number, "sync"))

    @app.fifo("q", key="key", max_retries=0)
    async def coroutine(key: str, number: int) -> None:
        loops.add(asyncio.get_running_loop())
        with alone("async"):
            await asyncio.sleep(0.001)
            runs.append((number, "async"))

    app.enqueue_many([(coroutine if number % 3 else plain).s("k", number) for number in range(30)])
    assert app.worker(concurrency=3).run_until_idle()
    assert [number for number, _ in runs] == list(range(30))
    assert {kind for _, kind in runs} == {"sync", "async"}
    assert len(loops) == 1
    assert not threads["sync"] & threads["async"]
    assert app.queue("q").dead_letters() == []


def test_async_jobs_of_different_keys_run_at_the_same_time(app: Glassq) -> None:
    """As many lanes as `concurrency` says are awaited side by side on the loop, whoever needs whom."""
    met = asyncio.Barrier(8)

    @app.fifo("q", key="key", max_retries=0)
    async def meet(key: str) -> None:
        await asyncio.wait_for(met.wait(), 10)

    for number in range(8):
        app.enqueue_many([meet.s(f"k{number}")])
    assert app.worker(concurrency=8).run_until_idle()
    assert app.queue("q").dead_letters() == []


def test_two_workers_of_an_application_share_its_loop(app: Glassq) -> None:
    """What is bound to a loop, a client or a lock, can be shared by all async jobs of a program."""
    loops = set()

    async def look() -> None:
        loops.add(asyncio.get_running_loop())

    first, second = app.fifo("a", name="first")(look), app.fifo("b", name="second")(look)
    app.enqueue_many([first.s(), second.s()])
    with app.worker(["a"]), app.worker(["b"]):
        assert app.worker(["a", "b"]).run_until_idle()
    assert len(loops) == 1


# -- failing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raised", [ValueError("no"), asyncio.CancelledError("its own"), SystemExit(3)])
def test_whatever_a_coroutine_raises_is_its_attempt_s_failure(app: Glassq, raised: BaseException) -> None:
    """An exception, also one that would end a task or a loop, is retried and buried; the loop goes on."""
    runs: list[str] = []

    @app.fifo("q", max_retries=1, retry_wait=0.01)
    async def fail() -> None:
        runs.append("fail")
        raise raised

    @app.fifo("q")
    async def after() -> None:
        runs.append("after")

    app.enqueue_many([fail.s(), after.s()])
    assert app.worker().run_until_idle()
    assert runs == ["fail", "fail", "after"]
    (letter,) = app.queue("q").dead_letters()
    assert (letter.reason, letter.attempts) == ("exception", 2)
    assert type(raised).__name__ in letter.error


def test_a_failing_child_of_a_task_group_cancels_its_siblings_and_fails_the_attempt(app: Glassq) -> None:
    """`TaskGroup` behaves as everywhere: the sibling is cancelled, the group's exceptions are the error."""
    seen: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def fail() -> None:
        raise ValueError("child")

    @app.fifo("q", max_retries=0)
    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())

    app.enqueue_many([work.s()])
    assert app.worker().run_until_idle()
    assert seen == ["cancelled"]
    (letter,) = app.queue("q").dead_letters()
    assert letter.error.startswith("ExceptionGroup: ")


def test_an_attempt_is_cancelled_at_its_timeout(app: Glassq) -> None:
    """Past `timeout` the coroutine is cancelled where it waits, cleans up, and the attempt has failed as a
    timeout; a timeout of its own inside is its own."""
    seen: list[str] = []
    settled = ends(app)

    @app.fifo("q", max_retries=0, timeout=0.2)
    async def slow() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(30), 0.01)
        try:
            await asyncio.sleep(30)
        finally:
            seen.append("cleaned up")

    app.enqueue_many([slow.s()])
    began = time.monotonic()
    assert app.worker().run_until_idle()
    assert time.monotonic() - began < 10
    assert seen == ["cleaned up"]
    assert [event.outcome for event in settled] == [Outcome.TIMEOUT]
    (letter,) = app.queue("q").dead_letters()
    assert letter.error.startswith("AttemptTimeout: ")


def test_a_coroutine_that_swallows_its_timeout_keeps_its_lane(app: Glassq) -> None:
    """Attempts never overlap: the lane waits until the code really ends, and then it is a timeout."""
    runs: list[tuple[str, float]] = []
    settled = ends(app)

    @app.fifo("q", max_retries=0, timeout=0.05)
    async def stubborn() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)
        runs.append(("stubborn", time.monotonic()))

    @app.fifo("q")
    async def after() -> None:
        runs.append(("after", time.monotonic()))

    app.enqueue_many([stubborn.s(), after.s()])
    assert app.worker().run_until_idle()
    assert [name for name, _ in runs] == ["stubborn", "after"]
    assert [event.outcome for event in settled] == [Outcome.TIMEOUT, Outcome.SUCCEEDED]


def test_cancelling_a_running_job_cancels_its_coroutine(app: Glassq) -> None:
    """`app.cancel` reaches code that only awaits: it is cancelled at its `await`, ends as cancelled, and its
    lane goes on."""
    seen: list[str] = []
    begun = threading.Event()
    settled = ends(app)

    @app.fifo("q")
    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    @app.fifo("q")
    async def after() -> None:
        seen.append("after")

    receipt, _ = app.enqueue_many([work.s(), after.s()])
    with app.worker() as worker:
        assert begun.wait(20)
        assert app.cancel(receipt) is Cancellation.ASKED
        assert worker.run_until_idle()
    assert seen == ["cancelled", "after"]
    assert [event.outcome for event in settled] == [Outcome.CANCELLED, Outcome.SUCCEEDED]


def test_a_decorator_that_hides_a_coroutine_fails_instead_of_doing_nothing(app: Glassq) -> None:
    """A plain function that returns a coroutine would succeed without having run: it fails and says why."""

    async def work() -> None:
        raise AssertionError("nobody awaits it")

    @app.fifo("q", max_retries=0)
    @functools.wraps(work)
    def wrapped() -> Any:
        return work()

    app.enqueue_many([wrapped.s()])
    assert app.worker().run_until_idle()
    (letter,) = app.queue("q").dead_letters()
    assert "returned a coroutine, which nobody awaits" in letter.error


def test_an_async_generator_is_refused(app: Glassq) -> None:
    """What hands values out on the way cannot be a job."""

    async def values() -> Any:
        yield 1

    with pytest.raises(BadOption, match="async generator"):
        app.fifo("q")(values)


# -- contexts ------------------------------------------------------------------------------------------

variable: ContextVar[str] = ContextVar("variable", default="untouched")


def test_each_job_has_a_context_of_its_own(app: Glassq) -> None:
    """What a job sets is seen by the tasks it begins, and by no other job; `current_job` as well."""
    seen: list[tuple[str, str, int | None]] = []

    async def child() -> None:
        seen.append(("child", variable.get(), current_job().seq))

    @app.fifo("q", max_retries=0)
    async def work(text: str) -> None:
        seen.append(("before", variable.get(), None))
        variable.set(text)
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    app.enqueue_many([work.s("one"), work.s("two")])
    assert app.worker().run_until_idle()
    assert seen == [
        ("before", "untouched", None),
        ("child", "one", 1),
        ("before", "untouched", None),
        ("child", "two", 2),
    ]


def test_arounds_wrap_async_attempts_in_their_context(app: Glassq) -> None:
    """A context manager around attempts is entered and left where the coroutine runs: in its thread and in
    its context; it sees the exception."""
    seen: list[object] = []

    @contextmanager
    def around(subject: Subject) -> Iterator[None]:
        if isinstance(subject, Sending):
            yield
            return
        token = variable.set("around")
        seen.append(threading.get_ident())
        try:
            yield
        except ValueError as error:
            seen.append(str(error))
            raise
        finally:
            variable.reset(token)

    app.bus.wrap(around)

    @app.fifo("q", max_retries=0)
    async def work() -> None:
        seen.append((threading.get_ident(), variable.get()))
        await asyncio.sleep(0)
        raise ValueError("seen")

    app.enqueue_many([work.s()])
    assert app.worker().run_until_idle()
    assert seen == [seen[0], (seen[0], "around"), "seen"]


# -- callbacks -----------------------------------------------------------------------------------------


def test_async_callbacks_run_after_the_commit_and_before_the_next_job(app: Glassq) -> None:
    """`async def` callbacks of sync and async tasks run on the loop; what they raise is counted and changes
    nothing."""
    seen: list[Any] = []
    failures: list[CallbackFailed] = []
    app.bus.subscribe(failures.append, CallbackFailed)

    async def good(value: int, job: Any, _: Any) -> None:
        await asyncio.sleep(0.01)
        seen.append(("on_success", value, job.args))

    async def bad(error: Exception, job: Any, _: Any) -> None:
        seen.append(("on_error", str(error), job.args))
        raise RuntimeError("ignored")

    @app.fifo("q", on_success=good)
    async def double(number: int) -> int:
        seen.append(number)
        return 2 * number

    @app.fifo("q", on_error=bad, max_retries=0)
    def fail(number: int) -> None:
        seen.append(number)
        raise ValueError("no")

    app.enqueue_many([double.s(1), fail.s(2), double.s(3)])
    assert app.worker().run_until_idle()
    assert seen == [1, ("on_success", 2, [1]), 2, ("on_error", "no", [2]), 3, ("on_success", 6, [3])]
    assert [(event.callback, event.error_type) for event in failures] == [("on_error", "RuntimeError")]


# -- a blocked loop ------------------------------------------------------------------------------------


def test_a_blocked_loop_is_reported_and_loses_no_lease(app: Glassq, caplog: pytest.LogCaptureFixture) -> None:
    """Code that blocks the loop for longer than a lease keeps its lane, as renewal does not run there; log,
    event and health name the job, and the place in its code."""
    events: list[LoopBlocked | LoopFreed] = []
    lost: list[LaneLost] = []
    app.bus.subscribe(events.append, LoopBlocked, LoopFreed)
    app.bus.subscribe(lost.append, LaneLost)
    go_on = threading.Event()

    @app.fifo("q")
    async def rude() -> None:
        go_on.wait(30)

    (receipt,) = app.enqueue_many([rude.s()])
    with caplog.at_level(logging.WARNING, "glassq"), app.worker() as worker:
        wait_for(lambda: events)
        time.sleep(2)  # longer than a lease
        check = app.health.full().checks["eventloop:blocked"][0]
        for_seconds = app.metrics_registry.get_sample_value("glassq_event_loop_blocked_seconds")
        go_on.set()
        assert worker.run_until_idle()
        wait_for(lambda: len(events) == 2)
        assert app.metrics_registry.get_sample_value("glassq_event_loop_blocked_seconds") == 0
    assert app.metrics_registry.get_sample_value("glassq_event_loop_blocks_total") == 1
    assert for_seconds is not None
    assert for_seconds > 2
    blocked, freed = events
    assert isinstance(blocked, LoopBlocked)
    assert (blocked.job_id, blocked.by.split()) == (receipt.id, [rude.definition.name, receipt.id])
    assert isinstance(freed, LoopFreed)
    assert freed.seconds > 2
    assert check["status"] == "warn"
    assert receipt.id in check["output"]
    assert "eventloop:blocked" not in app.health.full().checks
    assert "go_on.wait(30)" in caplog.text
    assert lost == []


def test_a_loop_that_waits_is_not_blocked(app: Glassq) -> None:
    """Jobs that await for long are no reason for a report."""
    events: list[LoopBlocked] = []
    app.bus.subscribe(events.append, LoopBlocked)

    @app.fifo("q")
    async def patient() -> None:
        await asyncio.sleep(1.5)

    app.enqueue_many([patient.s()])
    assert app.worker().run_until_idle()
    assert events == []


def test_a_loop_that_ends_under_its_jobs_is_no_failure_of_theirs(app: Glassq) -> None:
    """What a job begins and leaves behind is cancelled with the loop when the application is closed."""
    left: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            left.append("cancelled")

    kept: list[asyncio.Task[None]] = []

    @app.fifo("q")
    async def work() -> None:
        kept.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    app.enqueue_many([work.s()])
    assert app.worker().run_until_idle()
    app.close()
    assert left == ["cancelled"]
