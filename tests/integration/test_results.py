"""What jobs return, how far they are, and what happened to them: kept where that is asked for."""

from __future__ import annotations

import asyncio
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq, current_job
from glassq.errors import (
    BadOption,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    ResultNotKept,
    ResultTimeout,
)
from glassq.model.jobs import Cancellation, JobState, Receipt
from tests.integration.processes import Stage
from tests.processes import wait_until


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


def work(app: Glassq) -> None:
    """Run all there is."""
    assert app.worker().run_until_idle(20)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what other threads or processes do."""
    wait_until(condition, what, lambda: "see above", 30)


# -- results -------------------------------------------------------------------------------------------


def test_a_result_comes_back_to_whoever_waits(app: Glassq) -> None:
    """Waited for while the job waits and runs; by the receipt, and by its id; as JSON has it."""

    @app.fifo("q", result_ttl=60)
    def add(a: int, b: int) -> dict[str, Any]:
        return {"sum": (a + b,)}

    @app.fifo("q", result_ttl=60)
    async def nothing() -> None:
        await asyncio.sleep(0)

    receipt, none = add(1, 2), nothing.enqueue()
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(receipt.result(20)))
    waiter.start()
    work(app)
    waiter.join(20)
    assert found == [{"sum": [3]}]
    assert (receipt.result(0), app.job(receipt.id).result(), none.result()) == ({"sum": [3]},) * 2 + (None,)
    view = receipt.status()
    assert (view.state, view.has_result, view.attempts, view.seq) == (
        JobState.SUCCEEDED,
        True,
        1,
        receipt.seq,
    )
    assert view.ended_at is not None
    assert view == app.job(receipt.id)


class Money(msgspec.Struct):
    """Something with a type of its own."""

    cents: int
    due: date


@dataclass
class Bill:
    """What contains it, and itself."""

    parts: tuple[Money, ...]
    inner: Bill | None = None


def test_a_result_is_what_its_task_says_it_returns(app: Glassq) -> None:
    """Restored by the annotation, at any depth and of an `async def` as well; by the receipt and by the id.
    What JSON cannot be turned back into, or is not annotated, comes as JSON has it; so does everything where
    the task is not known, as in a process that has only the id."""
    money = Money(5, date(2026, 3, 1))

    @app.fifo("q", result_ttl=60)
    def bill() -> Bill:
        return Bill((money,), Bill(()))

    @app.fifo("q", result_ttl=60)
    async def by_day() -> dict[int, set[Decimal]]:
        return {1: {Decimal("0.10")}}

    @app.fifo("q", result_ttl=60)
    def plain():  # type: ignore[no-untyped-def]  # noqa: ANN202
        return money

    @app.fifo("q", result_ttl=60)
    def odd() -> tuple[threading.Lock, ...]:
        return ()

    first = bill()
    receipts: list[Receipt[Any]] = [first, by_day.enqueue(), plain(), odd()]
    work(app)
    found = [Bill((money,), Bill(())), {1: {Decimal("0.10")}}, {"cents": 5, "due": "2026-03-01"}, []]
    assert [receipt.result(0) for receipt in receipts] == found
    assert app.job(first.id).result(0) == found[0]
    assert asyncio.run(first.aresult(0)) == found[0]
    with Glassq(app._store.place.target, registry=CollectorRegistry()) as stranger:
        assert stranger.job(first.id).result(0) == {
            "parts": [{"cents": 5, "due": "2026-03-01"}],
            "inner": {"parts": [], "inner": None},
        }


def test_a_result_that_is_not_what_its_task_declares(app: Glassq) -> None:
    """Is not handed out as something else: the error says what is declared and what was found. The job has
    succeeded."""

    @app.fifo("q", result_ttl=60, name="count")
    def count() -> int:
        return "three"  # type: ignore[return-value]

    receipt = count()
    work(app)
    with pytest.raises(
        ResultNotKept, match=r"succeeded, but the result of count is declared as int, .*got `str`"
    ):
        receipt.result(0)
    assert receipt.status().state is JobState.SUCCEEDED


def test_many_are_awaited_without_threads(app: Glassq) -> None:
    """Each waiter is a task; the answers come as the jobs end."""

    @app.fifo("q", key="n", result_ttl=60)
    def square(n: int) -> int:
        return n * n

    async def all_of_them() -> list[int]:
        receipts = await app.aenqueue_many([square.s(n) for n in range(100)])
        before = threading.active_count()
        waiting = asyncio.gather(*(receipt.aresult(20) for receipt in receipts))
        await asyncio.sleep(0.1)
        assert threading.active_count() <= before + 4
        async with app.async_worker():
            return await waiting

    assert asyncio.run(all_of_them()) == [n * n for n in range(100)]


def test_a_job_that_fails_says_how(app: Glassq) -> None:
    """The remote type, message and traceback, once it is given up and not before."""

    @app.fifo("q", max_retries=1, retry_wait=0.01, result_ttl=60)
    def fail(job: str) -> None:
        raise LookupError(f"no {job}")

    receipt = fail("money")
    work(app)
    with pytest.raises(JobFailed, match="no money") as failure:
        receipt.result(5)
    assert failure.value.remote_type == "LookupError"
    assert 'raise LookupError(f"no {job}")' in failure.value.traceback
    assert (app.job(receipt.id).state, app.job(receipt.id).has_result) == (JobState.BURIED, False)


def test_a_job_that_waits_for_a_retry_has_not_ended(app: Glassq) -> None:
    """Whoever waits goes on waiting, until its time is over; the job does not mind."""

    @app.fifo("q", retry_wait=60, result_ttl=60)
    def fail() -> None:
        raise LookupError

    receipt = fail()
    work_for_a_while = app.worker().start()
    until(lambda: app.job(receipt.id).attempts == 1, "the first attempt")
    with pytest.raises(ResultTimeout, match=r"within 0\.1 s"):
        receipt.result(0.1)
    assert work_for_a_while.stop()
    assert app.job(receipt.id).state is JobState.READY


def test_taken_out_is_not_waited_for(app: Glassq) -> None:
    """Cancelled by id or receipt, scheduled, skipped, past its expiry: each says so at once."""

    @app.fifo("q", key="k", on_exhausted="halt", max_retries=0, result_ttl=60)
    def fail(k: str) -> None:
        raise LookupError

    by_receipt, by_id, late = fail("a"), fail("b"), fail.options(ttl=0.01)("c")
    later = fail.options(delay=60)("d")
    halts = fail("e")
    assert app.cancel(by_receipt) is Cancellation.REMOVED
    assert app.cancel(by_id.id) is Cancellation.REMOVED
    assert app.cancel(later) is Cancellation.REMOVED
    time.sleep(0.02)
    work(app)
    app.queue("q").skip("e")
    for receipt in (by_receipt, by_id, later, halts):
        with pytest.raises(JobCancelled):
            receipt.result(5)
        assert (app.job(receipt.id).state, app.job(receipt.id).task) == (
            JobState.CANCELLED,
            fail.definition.name,
        )
    assert app.job(halts.id).reason == "skipped"
    with pytest.raises(JobExpired):
        late.result(5)


def test_one_that_is_cancelled_while_it_runs(app: Glassq) -> None:
    """It ends as cancelled when it heeds that, and whoever waits is told."""
    began = threading.Event()

    @app.fifo("q", result_ttl=60)
    async def sleep() -> None:
        began.set()
        await asyncio.sleep(60)

    receipt = sleep.enqueue()
    app.use(lease_seconds=1)
    with app.worker():
        assert began.wait(10)
        assert app.cancel(receipt) is Cancellation.ASKED
        with pytest.raises(JobCancelled):
            receipt.result(20)


def test_what_cannot_be_kept_does_not_run_again(app: Glassq) -> None:
    """The job's work is done: it has succeeded, and whoever wants the result is told why there is none."""
    runs: list[str] = []

    @app.fifo("q", result_ttl=60)
    def odd(what: str) -> object:
        runs.append(what)
        return {"object": object(), "large": "x" * (1 << 20), "nan": float("nan")}[what]

    receipts = [odd(what) for what in ("object", "large", "nan")]
    work(app)
    assert runs == ["object", "large", "nan"]
    for receipt, why in zip(receipts, ("unsupported", "1048578 bytes", "NaN"), strict=True):
        with pytest.raises(ResultNotKept, match=why):
            receipt.result(5)
        view = receipt.status()
        assert (view.state, view.has_result) == (JobState.SUCCEEDED, False)


def test_nothing_is_kept_unasked(app: Glassq) -> None:
    """The receipt says which option is missing; the job itself is as ever, and gone when it has ended."""

    @app.fifo("q")
    def plain() -> int:
        return 1

    receipt = plain()
    for ask in (receipt.result, receipt.status):
        with pytest.raises(ResultNotKept, match="result_ttl="):
            ask()
    with pytest.raises(ResultNotKept, match="result_ttl="):
        app.job(receipt.id).history()
    work(app)
    with pytest.raises(JobNotFound):
        app.job(receipt.id)
    kept = plain.options(result_ttl=60)()
    work(app)
    assert kept.result(5) == 1


def test_results_end_with_their_time(app: Glassq) -> None:
    """And are then as if they had never been kept; `result_ttl` is a time."""

    @app.fifo("q", result_ttl=0.3)
    def one() -> int:
        return 1

    receipt = one()
    work(app)
    assert receipt.result(5) == 1
    until(lambda: not app.storage.notes(receipt.id), "the end of the result")
    with pytest.raises(ResultTimeout):
        receipt.result(0.05)
    with pytest.raises(JobNotFound):
        receipt.status()
    with pytest.raises(BadOption, match="result_ttl"):
        app.fifo("q", result_ttl=-1)
    app.defaults(result_ttl=60)
    kept, not_kept = one.options(result_ttl=60)(), one.options(result_ttl=0)()
    other = app.fifo("q", name="other")(lambda: 2)()
    work(app)
    assert (kept.result(5), other.result(5)) == (1, 2)
    with pytest.raises(ResultNotKept):
        not_kept.result()


def test_receipts_stay_values(app: Glassq) -> None:
    """Equal to others that say the same, shown, hashed, pickled and encoded as ever; who was pickled says
    what to do instead."""

    @app.fifo("q", key="k", result_ttl=60)
    def one(k: str) -> str:
        return k

    receipt = one("c-7")
    plain = Receipt(receipt.id, "q", "c-7", 1)
    assert receipt == plain
    assert plain == receipt
    assert (repr(receipt), hash(receipt)) == (repr(plain), hash(receipt))
    assert msgspec.json.encode(receipt) == msgspec.json.encode(plain)
    copied = pickle.loads(pickle.dumps(receipt))
    assert copied == receipt
    with pytest.raises(ResultNotKept, match=r"app\.job"):
        copied.result()


# -- progress and history ------------------------------------------------------------------------------


def test_progress_is_seen_while_it_runs_and_after(app: Glassq) -> None:
    """The last one is always written, however fast they come, and not every one of them; without a result to
    be kept, too."""
    goes_on = threading.Event()

    @app.fifo("q")
    def many() -> None:
        job = current_job()
        for number in range(1000):
            job.progress(number / 1000)
        job.progress(0.5, "half")
        goes_on.wait(20)
        job.progress(note="done")

    receipt = many()
    with app.worker():

        def is_half() -> bool:
            told = app.job(receipt.id).progress
            return told is not None and told.note == "half"

        until(is_half, "half")
        told = app.job(receipt.id).progress
        assert told is not None
        assert (told.done, told.attempt, app.job(receipt.id).state) == (0.5, 1, JobState.LEASED)
        goes_on.set()
    value = app.storage.value("q", f"progress/{receipt.id}")
    assert value is not None
    assert b"done" in value.body


def test_progress_is_a_share_or_a_text(app: Glassq) -> None:
    """Anything else is refused where it is said."""
    refused: list[str] = []

    @app.fifo("q")
    def say() -> None:
        job = current_job()
        for done, note in ((2, ""), (-0.1, ""), ("x", ""), (None, "x" * 501), (None, 5), (float("nan"), "")):
            with pytest.raises(BadOption) as error:
                job.progress(done, note)  # type: ignore[arg-type]
            refused.append(error.value.option)

    say()
    work(app)
    assert refused == ["done", "done", "done", "note", "note", "done"]


def test_a_history_tells_each_attempt(app: Glassq) -> None:
    """Enqueued, two that failed, the one that did not, and the end; in order, by whom, without messages."""
    left = [2]

    @app.fifo("q", retry_wait=0.01, result_ttl=60)
    def thrice() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise LookupError("a secret")

    receipt = thrice()
    assert [each.event for each in app.job(receipt.id).history()] == ["enqueued"]
    work(app)
    told = app.job(receipt.id).history()
    assert [(each.event, each.attempt, each.outcome, each.error) for each in told] == [
        ("enqueued", 0, "", ""),
        ("attempt", 1, "exception", "LookupError"),
        ("attempt", 2, "exception", "LookupError"),
        ("attempt", 3, "succeeded", ""),
        ("settled", 0, "succeeded", ""),
    ]
    times = [time for each in told for time in (each.began_at, each.at) if time is not None]
    assert times == sorted(times)
    assert all(each.worker for each in told if each.event == "attempt")
    assert "secret" not in repr(told)


@pytest.mark.slow
def test_a_killed_worker_loses_no_result_and_keeps_no_wrong_one(stage: Stage) -> None:
    """Killed again and again at any moment: each job that is settled has its one result, of the attempt that
    settled it, and what did not settle keeps none."""
    assert stage.start("produce", "p", "300", "0.002", "0", KEEP="600").wait(timeout=60) == 0
    children = [stage.worker("4") for _ in range(2)]
    for kill in range(1, 4):
        stage.wait_for(lambda kill=kill: len(stage.entries("end")) >= kill * 50, f"kill {kill}")  # type: ignore[misc]
        children.pop(0).send_signal(signal.SIGKILL)
        children.append(stage.worker("4"))
    ids = {entry["id"] for entry in stage.entries("enqueued")}
    stage.wait_for(lambda: {entry["id"] for entry in stage.entries("end")} == ids, "all jobs")
    with Glassq(stage.url, registry=CollectorRegistry()) as app:
        for job in sorted(ids):
            until(lambda job=job: bool(app.storage.notes(job)), f"the end of {job}")  # type: ignore[misc]
            returned = app.job(job).result(0)
            ends = [entry for entry in stage.entries("end") if entry["id"] == job]
            # The one who settled it is the last who ran it: nobody runs it after that.
            assert returned == [ends[-1]["pid"], ends[-1]["attempt"]]
            history = app.job(job).history()
            assert [each.attempt for each in history if each.event in ("attempt", "lost")] == [
                *range(1, ends[-1]["attempt"] + 1)
            ]
