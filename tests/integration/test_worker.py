"""What becomes of jobs: retries, ends, callbacks, timeouts, and code that behaves badly."""

from __future__ import annotations

import ast
import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq, current_job
from glassq.errors import (
    AttemptTimeout,
    BadOption,
    ConfigurationError,
    DuplicateTask,
    JobNotFound,
    NoCurrentJob,
    PayloadTooLarge,
    SerializationFailed,
    StorageUnavailable,
)
from glassq.model.events import AttemptSettled, AttemptStarted, CallbackFailed, Event, WorkerChanged
from glassq.model.jobs import NewJob
from glassq.model.verdicts import Outcome
from glassq.policy.retry import Backoff
from glassq.telemetry import Attempting, Subject
from glassq.worker.holdings import HeldLane
from tests.integration.processes import Stage


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


def metric(app: Glassq, name: str, **labels: str) -> float | None:
    """One sample of the application's metrics."""
    return app.metrics_registry.get_sample_value(name, labels)


# -- retries and ends ----------------------------------------------------------------------------------


def test_two_retries_are_three_attempts_then_on_error_once(app: Glassq) -> None:
    """`max_retries=2` runs a failing job three times in its place, then reports once and goes on."""
    runs: list[Any] = []

    @app.fifo("q", max_retries=2, retry_wait=0.01, on_error=lambda exc, job, _: runs.append((exc, job)))
    def fail(number: int) -> None:
        job = current_job()
        runs.append((number, job.attempt))
        raise ValueError("always")

    @app.fifo("q")
    def pass_(number: int) -> None:
        runs.append((number, 0))

    fail(1)
    pass_(2)
    assert app.worker().run_until_idle(timeout=20)
    assert runs[:3] == [(1, 1), (1, 2), (1, 3)]
    error, job = runs[3]
    assert (str(error), job.attempt, job.args, job.kwargs) == ("always", 3, [1], {})
    assert runs[4:] == [(2, 0)]
    dead = app.queue("q").dead_letters()
    assert [(letter.reason, letter.attempts, letter.error) for letter in dead] == [
        ("exception", 3, "ValueError: always")
    ]


def test_for_ever_means_the_same_job_again_while_other_lanes_go_on(app: Glassq) -> None:
    """`max_retries=-1` re-runs one job, its lane waiting behind it, other lanes unimpeded."""
    runs: list[tuple[str, int]] = []
    stuck = [True]

    @app.fifo("q", key="key", max_retries=-1, retry_wait=0.01)
    def work(key: str, number: int) -> None:
        runs.append((key, number))
        if key == "a" and number == 0 and stuck[0]:
            raise RuntimeError("not yet")

    for number in range(3):
        work("a", number)
        work("b", number)
    with app.worker():
        _wait(lambda: runs.count(("a", 0)) >= 5 and runs.count(("b", 2)) == 1)
        assert ("a", 1) not in runs
        stuck[0] = False
        _wait(lambda: ("a", 2) in runs)
    a = [number for key, number in runs if key == "a"]
    assert a == sorted(a)
    assert [number for key, number in runs if key == "b"] == [0, 1, 2]


def test_a_halted_key_holds_its_successors_while_others_go_on(app: Glassq) -> None:
    """`on_exhausted="halt"`: nothing of that key passes until a human retries or skips its head."""
    runs: list[tuple[str, int]] = []
    broken = {"a"}

    @app.fifo("q", key="key", max_retries=0, on_exhausted="halt")
    def work(key: str, number: int) -> None:
        runs.append((key, number))
        if number == 0 and key in broken:
            raise RuntimeError("broken")

    for number in range(3):
        work("a", number)
        work("b", number)
    assert app.worker().run_until_idle(timeout=20)
    assert [run for run in runs if run[0] == "a"] == [("a", 0)]
    assert [run for run in runs if run[0] == "b"] == [("b", 0), ("b", 1), ("b", 2)]
    queue = app.queue("q")
    (halted,) = queue.halted()
    assert (halted.key, halted.reason, halted.error, halted.waiting) == (
        "a",
        "exception",
        "RuntimeError: broken",
        3,
    )
    assert queue.stats().halted == 3

    queue.retry("a")
    assert app.worker().run_until_idle(timeout=20)
    assert [run for run in runs if run[0] == "a"] == [("a", 0), ("a", 0)]
    assert queue.skip("a") == halted.head
    assert app.worker().run_until_idle(timeout=20)
    assert [run for run in runs if run[0] == "a"][2:] == [("a", 1), ("a", 2)]
    assert queue.stats().settled == {"succeeded": 5, "buried": 0, "cancelled": 1, "expired": 0}
    with pytest.raises(JobNotFound, match="not halted"):
        queue.retry("a")


def test_back_off_waits_grow(app: Glassq) -> None:
    """A `Backoff` spaces the attempts by growing waits."""
    times: list[float] = []

    @app.fifo("q", max_retries=3, retry_wait=Backoff(first=0.05, factor=3))
    def fail() -> None:
        times.append(time.monotonic())
        raise ValueError

    fail()
    assert app.worker().run_until_idle(timeout=20)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert [wait >= least for wait, least in zip(waits, (0.05, 0.15, 0.45), strict=True)] == [True] * 3


# -- callbacks -----------------------------------------------------------------------------------------


def test_callbacks_get_what_pyfiq_promised(app: Glassq) -> None:
    """`on_success(retval, job, binding)` after the settlement, with pyfiq's fields."""
    seen: list[Any] = []

    @app.fifo("q", on_success=lambda *given: seen.append(given), name="add", retry_wait=7)
    def add(a: int, b: int = 0) -> int:
        return a + b

    receipt = add(1, b=2)
    assert app.worker().run_until_idle(timeout=20)
    ((value, job, binding),) = seen
    assert value == 3
    assert (job.id, job.fqn, job.args, job.kwargs, job.attempt) == (receipt.id, "add", [1], {"b": 2}, 1)
    assert (binding.fqn, binding.queue, binding.max_retries, binding.retry_wait) == ("add", "q", 3, 7)
    assert binding.func(2, 3) == 5


def test_a_raising_callback_never_re_runs_a_job(app: Glassq) -> None:
    """What a callback raises, of whatever kind, is counted and changes nothing."""
    runs: list[str] = []
    failed: list[Event] = []
    app.bus.subscribe(failed.append, CallbackFailed)

    def boom(*_: Any) -> None:
        raise SystemExit("callback")

    @app.fifo("q", on_success=boom)
    def good() -> None:
        runs.append("good")

    @app.fifo("q", on_error=boom, max_retries=0)
    def bad() -> None:
        runs.append("bad")
        raise ValueError

    good()
    bad()
    good()
    assert app.worker().run_until_idle(timeout=20)
    assert runs == ["good", "bad", "good"]
    assert len(failed) == 3
    assert app.queue("q").stats().settled["succeeded"] == 2


def test_a_callback_ends_before_its_lanes_next_job_begins(app: Glassq) -> None:
    """Even a job that is enqueued while the lane's last callback runs waits for its end, on any worker."""
    order: list[str] = []
    inside = threading.Event()

    def slow(*_: Any) -> None:
        order.append("callback begins")
        inside.set()
        time.sleep(0.2)
        order.append("callback ends")

    @app.fifo("q", on_success=slow)
    def first() -> None:
        order.append("first")

    @app.fifo("q")
    def second() -> None:
        order.append("second")

    first()
    with app.worker(), app.worker():
        assert inside.wait(10)
        second()
        _wait(lambda: "second" in order)
    assert order == ["first", "callback begins", "callback ends", "second"]


# -- jobs nobody can run -------------------------------------------------------------------------------


def test_an_unknown_task_at_the_head_halts_its_lane(app: Glassq, store_url: str) -> None:
    """A job whose task this worker does not know is kept, and its successors wait until it is known."""
    runs: list[str] = []
    with Glassq(store_url, registry=CollectorRegistry()) as newer:
        newer.fifo("q", name="added")(lambda: None)()

    @app.fifo("q", name="known")
    def known() -> None:
        runs.append("known")

    known()
    assert app.worker().run_until_idle(timeout=20)
    assert runs == []
    (halted,) = app.queue("q").halted()
    assert (halted.reason, halted.task, halted.attempts) == ("unknown_task", "added", 0)

    app.fifo("q", name="added")(lambda: runs.append("added"))
    app.queue("q").retry(None)
    assert app.worker().run_until_idle(timeout=20)
    assert runs == ["added", "known"]


def test_an_undecodable_job_halts_or_is_buried_as_the_queue_says(app: Glassq) -> None:
    """Bytes that are no job of ours are never skipped silently."""
    ran: list[int] = []

    @app.fifo("q")
    def work(number: int) -> None:
        ran.append(number)

    app.storage.append("q", [NewJob(body=b"\x80\x04pickled")])
    work(1)
    assert app.worker().run_until_idle(timeout=20)
    assert ran == []
    assert app.queue("q").halted()[0].reason == "undecodable"
    assert app.queue("q").peek()[0].task == "(undecodable)"
    app.queue("q", on_unknown="bury").retry(None)
    assert app.worker().run_until_idle(timeout=20)
    assert ran == [1]
    assert app.queue("q").dead_letters()[0].reason == "undecodable"


# -- code that behaves badly ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        MemoryError(),
        RecursionError(),
        StopIteration(),
        BaseException("bare"),
        type("Odd", (Exception,), {"__str__": lambda self: 1 / 0})(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_exception_of_any_kind_stops_the_worker(app: Glassq, error: BaseException) -> None:
    """Whatever a task raises is a failed attempt, and the next job runs."""
    ran: list[int] = []

    @app.fifo("q", max_retries=0, name="raise")
    def raise_() -> None:
        raise error

    @app.fifo("q", name="after")
    def after() -> None:
        ran.append(1)

    raise_()
    after()
    assert app.worker().run_until_idle(timeout=20)
    assert ran == [1]
    assert app.queue("q").dead_letters()[0].error.startswith(type(error).__name__)


def test_a_timeout_flags_a_thread_and_fails_the_attempt_when_it_ends(app: Glassq) -> None:
    """Past its timeout `check()` raises; code that never asks fails when it ends, and nothing overlaps."""
    seen: list[str] = []

    @app.fifo("q", timeout=0.05, max_retries=0)
    def asks() -> None:
        job = current_job()
        while True:
            time.sleep(0.01)
            job.check()

    @app.fifo("q", timeout=0.05, max_retries=0)
    def never_asks() -> None:
        time.sleep(0.15)
        seen.append("ended")

    @app.fifo("q")
    def next_() -> None:
        seen.append("next")

    asks()
    never_asks()
    next_()
    settled: list[AttemptSettled] = []
    app.bus.subscribe(settled.append, AttemptSettled)
    assert app.worker().run_until_idle(timeout=20)
    assert seen == ["ended", "next"]
    assert [event.outcome for event in settled] == ["timeout", "timeout", "succeeded"]
    assert app.queue("q").dead_letters()[0].error.startswith(AttemptTimeout.__name__)


@pytest.mark.slow
def test_a_job_that_kills_its_worker_is_given_up(stage: Stage, tmp_path: Path) -> None:
    """After five deaths of its worker the poison job is buried as crashed, and the queue goes on."""
    stage.start("poison").wait(timeout=30)
    stage.start("produce", "p", "1", "0", "0").wait(timeout=30)
    for _ in range(5):
        assert stage.start("work").wait(timeout=30) == 66
    stage.worker()
    stage.wait_for(lambda: len(stage.entries("end")) == 1, "the job behind the poison")
    with Glassq(stage.url, registry=CollectorRegistry()) as app:
        (dead,) = app.queue("ledger").dead_letters()
    assert (dead.reason, dead.attempts, dead.task) == ("crashed", 5, "poison")


# -- the application -----------------------------------------------------------------------------------


def test_two_applications_side_by_side(tmp_path: Path) -> None:
    """Two applications in one process, on one Prometheus registry, keep their queues and jobs apart."""
    registry = CollectorRegistry()
    ran: list[str] = []
    with (
        Glassq(f"sqlite:///{tmp_path}/one.db", registry=registry) as one,
        Glassq(f"sqlite:///{tmp_path}/two.db", registry=registry) as two,
    ):
        for name, app in (("one", one), ("two", two)):
            app.fifo("q", name="note")(lambda name=name: ran.append(name))()
        assert one.worker().run_until_idle(timeout=20)
        assert ran == ["one"]
        assert two.worker().run_until_idle(timeout=20)
        assert ran == ["one", "two"]
        labels = {"queue": "q", "task": "note", "outcome": "succeeded"}
        assert registry.get_sample_value("glassq_jobs_processed_total", labels) == 2


def test_queues_declared_after_the_start_are_served(app: Glassq) -> None:
    """A worker of all queues takes on those that are declared while it runs."""
    done = threading.Event()
    with app.worker():
        app.fifo("late", name="late")(done.set)()
        assert done.wait(10)


def test_run_until_idle_says_when_time_is_up(app: Glassq) -> None:
    """False at the timeout; the running job ends and the worker is stopped before it returns."""
    ended: list[int] = []
    begun, stopping = threading.Event(), threading.Event()

    @app.fifo("q")
    def slow() -> None:
        begun.set()
        assert stopping.wait(20)
        ended.append(1)

    def watch(event: WorkerChanged) -> None:
        if event.state == "running":
            assert begun.wait(20)
        elif event.state == "draining":
            stopping.set()

    app.bus.subscribe(watch, WorkerChanged)
    slow()
    worker = app.worker()
    assert worker.run_until_idle(timeout=0.05) is False
    assert ended == [1]
    assert worker.running is False


def test_run_until_idle_waits_for_a_retry_but_not_for_a_halted_lane(app: Glassq) -> None:
    """Back-off is waited for; a lane that needs a human is not."""
    attempts: list[int] = []

    @app.fifo("q", key="key", max_retries=1, retry_wait=0.1, on_exhausted="halt")
    def work(key: str) -> None:
        attempts.append(1)
        raise ValueError

    work("a")
    assert app.worker().run_until_idle(timeout=20)
    assert len(attempts) == 2
    assert app.queue("q").stats().halted == 1


def test_current_job_outside_a_job(app: Glassq) -> None:
    """`call` runs the function here, as no job; inside a job the context is complete. Who asks without a
    default outside of one is told so."""
    seen: list[Any] = []

    @app.fifo("q", key="key")
    def look(key: str) -> str:
        seen.append(current_job(None))
        return key

    assert look.call("k") == "k"
    receipt = look("k")
    assert app.worker().run_until_idle(timeout=20)
    outside, inside = seen
    assert outside is None
    assert (inside.id, inside.queue, inside.key, inside.seq, inside.attempt) == (receipt.id, "q", "k", 1, 1)
    assert inside.token > 2**49
    assert current_job("none") == "none"
    with pytest.raises(NoCurrentJob, match=r"current_job\(None\) is None here"):
        current_job()


def test_what_a_job_puts_into_context_variables_is_gone_for_the_next(app: Glassq) -> None:
    """Jobs of one lane share a thread but not their context."""
    from contextvars import ContextVar

    leak: ContextVar[int] = ContextVar("leak", default=0)
    seen: list[int] = []

    @app.fifo("q")
    def work() -> None:
        seen.append(leak.get())
        leak.set(1)

    app.enqueue_many([work.s(), work.s()])
    assert app.worker().run_until_idle(timeout=20)
    assert seen == [0, 0]


# -- bad input -----------------------------------------------------------------------------------------


def test_bad_calls_store_nothing(app: Glassq) -> None:
    """Missing, surplus, unserializable and oversized arguments raise, and the queue stays empty."""

    @app.fifo("q")
    def charge(order: str, cents: int) -> None: ...

    with pytest.raises(TypeError, match=r"charge\(\) missing a required argument: 'cents'"):
        charge("o-1")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        charge("o-1", 1, 2)  # type: ignore[call-arg]
    with pytest.raises(SerializationFailed, match="'order'"):
        charge(object(), 1)  # type: ignore[arg-type]
    with pytest.raises(PayloadTooLarge, match="262144"):
        charge("x" * 1_000_000, 1)
    with pytest.raises(SerializationFailed):
        app.enqueue_many([charge.s("o-1", 1), charge.s(object(), 1)])  # type: ignore[arg-type]
    assert app.queue("q").stats().enqueued == 0
    assert metric(app, "glassq_enqueue_failures_total", queue="q", reason="payload_too_large") == 1
    assert metric(app, "glassq_enqueue_failures_total", queue="q", reason="serialization") == 2


@pytest.mark.parametrize("name", ["a/b", "a\nb", "", "x" * 129, "å", 7])
def test_names_that_need_escaping_are_refused(app: Glassq, name: Any) -> None:
    """Queue names become labels and keys, so only plain ones are taken."""
    with pytest.raises(BadOption, match="is not a name"):
        app.fifo(name)(lambda: None)
    with pytest.raises(BadOption, match="is not a name"):
        app.queue(name)


def test_unknown_options_name_the_nearest(app: Glassq) -> None:
    """A misspelt option is refused with the word that was meant."""
    with pytest.raises(BadOption, match="did you mean 'max_retries'"):
        app.fifo("q", max_retry=3)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="did you mean 'on_unknown'"):
        app.queue("q", on_unknwon="bury")  # type: ignore[call-arg]
    with pytest.raises(BadOption, match="did you mean 'window'"):
        app.worker(windows=3)  # type: ignore[call-arg]
    with pytest.raises(BadOption, match="is not an option of a call"):
        app.fifo("q", name="t")(lambda: None).options(kee="k")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": -2},
        {"max_retries": 1.5},
        {"retry_wait": -1},
        {"retry_wait": float("nan")},
        {"retry_wait": 1e13},
        {"timeout": 0},
        {"on_exhausted": "drop"},
        {"on_error": "log"},
        {"key": "missing"},
        {"key": 7},
    ],
    ids=str,
)
def test_impossible_values_are_refused_at_decoration(app: Glassq, options: dict[str, Any]) -> None:
    """A value that could never work fails where it is written, naming the option."""
    with pytest.raises(BadOption, match=f"^{next(iter(options))}: "):
        app.fifo("q", **options)(lambda order: None)


def test_one_name_for_two_functions_is_refused(app: Glassq) -> None:
    """Two functions cannot answer to one name; the error says where both are."""
    app.fifo("q", name="same")(lambda: 1)
    with pytest.raises(DuplicateTask, match=r"test_worker\.py"):
        app.fifo("q", name="same")(lambda: 2)


def test_run_ends_when_somebody_else_stops_the_worker(app: Glassq) -> None:
    """Not only signals end it: `stop` and `app.close` do."""
    worker = app.worker()
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(worker.run()))
    thread.start()
    _wait(lambda: worker.running)
    assert worker.stop()
    thread.join(20)
    assert ended == [True]


def test_losing_the_lease_is_no_failure_of_the_job(app: Glassq) -> None:
    """A task that heeds `check()` when its lane went elsewhere is not counted, not buried, and runs again."""
    attempts: list[int] = []

    @app.fifo("q", name="work", max_retries=0)
    def work() -> None:
        job = current_job()
        attempts.append(job.attempt)
        if len(attempts) == 1:
            (lane,) = worker._holdings.all()
            lane.lost = True
            job.check()

    work()
    worker = app.worker()
    with worker:
        _wait(lambda: attempts)
        worker.stop()
    assert app.queue("q").dead_letters() == []
    (left,) = app.storage.stats(["q"])
    assert left.settled.get("buried", 0) == 0


def test_a_job_that_came_too_late_to_begin_is_not_failed(app: Glassq) -> None:
    """The lease was over when the job was about to begin, and a renewal came through before the attempt had
    been left: nothing ran, so nothing failed, and the job has all its attempts."""
    ran: list[int] = []
    settled: list[AttemptSettled] = []

    @app.fifo("q", max_retries=0)
    def task(number: int) -> None:
        ran.append(number)

    def lane() -> HeldLane:
        (held,) = app._workers[-1]._holdings.all()
        return held

    late = [True]

    def pass_the_deadline(_: AttemptStarted) -> None:
        if late[0]:
            lane().deadline = 0.0

    @contextmanager
    def renew_on_the_way_out(subject: Subject) -> Iterator[None]:
        try:
            yield
        finally:
            if isinstance(subject, Attempting) and late.pop():
                late.append(False)
                lane().deadline = time.monotonic() + 1

    app.bus.subscribe(pass_the_deadline, AttemptStarted)
    app.bus.subscribe(settled.append, AttemptSettled)
    app.bus.wrap(renew_on_the_way_out)
    task(1)
    assert app.worker(lease_seconds=1).run_until_idle(timeout=20)
    assert ran == [1]
    assert [(each.outcome, each.ran) for each in settled] == [(Outcome.SUCCEEDED, True)]


def test_a_closed_application_says_so(tmp_path: Path) -> None:
    """After `close` a call raises instead of enqueuing into nowhere; closing again is fine."""
    app = Glassq(f"sqlite:///{tmp_path}/jobs.db", registry=CollectorRegistry())
    task = app.fifo("q", name="t")(lambda: None)
    task()
    app.close()
    app.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        task()


def test_a_worker_is_started_once(app: Glassq) -> None:
    """A second start is a mistake and is told so."""
    worker = app.worker()
    with worker, pytest.raises(ConfigurationError, match="started before"):
        worker.start()
    assert worker.stop() is True


def _wait(condition: Any, timeout: float = 20) -> None:
    """Wait for what another thread causes."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class Reversing:
    """A serializer of the application's own: any bytes will do."""

    name = "reversing"

    def dumps(self, value: Any) -> bytes:
        """Readable by nobody else."""
        return repr(value).encode()[::-1]

    def loads(self, data: bytes) -> Any:
        """What `dumps` was given."""
        return ast.literal_eval(data[::-1].decode())


def test_a_serializer_of_ones_own(store_url: str) -> None:
    """Its bytes travel as they are; a worker that reads another serializer halts instead of guessing."""
    seen: list[Any] = []
    with Glassq(store_url, registry=CollectorRegistry()) as other:
        other.fifo("q", name="task")(seen.append)
        with Glassq(store_url, registry=CollectorRegistry(), serializer=Reversing()) as app:
            task = app.fifo("q", name="task")(seen.append)
            task({"tuple": (1, 2), 3: b"bytes"})
            assert app.worker().run_until_idle(timeout=20)
            assert seen == [{"tuple": (1, 2), 3: b"bytes"}]
            task("again")
            assert other.worker().run_until_idle(timeout=20)
        (halted,) = other.queue("q").halted()
    assert (halted.reason, len(seen)) == ("undecodable", 1)
    assert "'reversing'" in halted.error
