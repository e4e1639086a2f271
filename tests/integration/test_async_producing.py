"""Calls that are awaited: stored as others are, without holding up the loop, and never in the dark."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Disposition, Glassq, Receipt
from glassq.errors import EnqueueError, EnqueueUncertain, PayloadTooLarge, QueueFull, StorageUnavailable
from glassq.model.events import EnqueueFailed, JobEnqueued
from glassq.stores.instrumented import InstrumentedStorage
from glassq.telemetry import Attempting, Sending, Subject


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


def note(number: int, key: str = "k") -> None:
    """The function behind most tasks here."""


def waiting(app: Glassq, queue: str = "q") -> list[Any]:
    """The ids of what waits, in order."""
    return [job.id for job in app.queue(queue).peek(20_000)]


class Gate:
    """Holds up appends on their way, as a slow store would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        append = InstrumentedStorage.append

        def held_up(*args: Any, **options: Any) -> Any:
            self.begun.set()
            assert self.go_on.wait(20)
            return append(*args, **options)

        monkeypatch.setattr(InstrumentedStorage, "append", held_up)

    async def taken(self) -> None:
        """Until an append is on its way."""
        assert await asyncio.to_thread(self.begun.wait, 20)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Every append waits for it."""
    return Gate(monkeypatch)


def test_an_awaited_call_is_stored_as_any_other(app: Glassq) -> None:
    """Sync and async tasks are enqueued from a loop by `aenqueue`, with a call's options; the receipt and the
    events are the same, and jobs run in the order in which the calls were awaited."""
    told: list[JobEnqueued] = []
    app.bus.subscribe(told.append, JobEnqueued)
    runs: list[int] = []

    @app.fifo("q", key="key")
    def plain(number: int, key: str = "k") -> None:
        runs.append(number)

    @app.fifo("q", key="key")
    async def coroutine(number: int, key: str = "k") -> None:
        runs.append(number)

    async def main() -> list[Receipt]:
        return [
            await plain.aenqueue(1),
            await coroutine(2),
            await coroutine.aenqueue(3),
            await plain.options(dedup_id="x").aenqueue(4),
            await coroutine.options(dedup_id="x")(5),
        ]

    receipts = asyncio.run(main())
    assert [receipt.seq for receipt in receipts] == [1, 2, 3, 4, 4]
    assert [receipt.key for receipt in receipts] == ["k"] * 5
    assert receipts[4].disposition is Disposition.DUPLICATE
    assert [event.job_id for event in told] == [receipt.id for receipt in receipts[:4]] == waiting(app)
    assert app.worker().run_until_idle()
    assert runs == [1, 2, 3, 4]


def test_ten_thousand_calls_at_once_keep_the_order_of_each_key(app: Glassq) -> None:
    """Tasks of a loop that each await their calls one after the other, many tasks at a time: per key the
    jobs are stored in the order of the calls."""
    task = app.fifo("q", key="key")(note)

    async def customer(key: str) -> list[str]:
        return [(await task.aenqueue(number, key)).id for number in range(10)]

    async def main() -> list[list[str]]:
        return await asyncio.gather(*[customer(f"k{number}") for number in range(1000)])

    ids = asyncio.run(main())
    place = {job: number for number, job in enumerate(waiting(app))}
    assert len(place) == 10_000
    for of_key in ids:
        places = [place[job] for job in of_key]
        assert places == sorted(places)


def test_batches_are_awaited_too(app: Glassq) -> None:
    """`aenqueue_many` stores calls of several queues in their order; what fails on the way carries the
    receipts of what was stored before."""
    first, second = app.fifo("q")(note), app.fifo("p", name="second")(note)
    app.queue("q", max_length=100)

    async def main() -> None:
        receipts = await app.aenqueue_many(
            [each.s(number) for number in range(50) for each in (first, second)]
        )
        assert [receipt.queue for receipt in receipts] == ["q", "p"] * 50
        assert [receipt.seq for receipt in receipts] == [seq for seq in range(1, 51) for _ in range(2)]
        assert await app.aenqueue_many([]) == []
        with pytest.raises(QueueFull) as caught:
            await app.aenqueue_many([second.s(51), *[first.s(number) for number in range(60)]])
        assert [receipt.queue for receipt in caught.value.receipts] == ["p"]

    asyncio.run(main())


def test_what_is_refused_is_refused_as_ever(app: Glassq) -> None:
    """Errors of one call are raised where it is awaited, counted once, and nobody else's business."""
    failures: list[EnqueueFailed] = []
    app.bus.subscribe(failures.append, EnqueueFailed)
    app.queue("q", max_length=2, max_payload=100)
    task = app.fifo("q")(note)

    async def main() -> None:
        with pytest.raises(TypeError):
            await task.aenqueue()  # type: ignore[call-arg]
        with pytest.raises(PayloadTooLarge):
            await task.aenqueue(1, "x" * 200)
        answers = await asyncio.gather(
            *[task.aenqueue(number) for number in range(5)], return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["QueueFull"] * 3 + ["Receipt"] * 2

    asyncio.run(main())
    assert [event.reason for event in failures] == ["payload_too_large", *["queue_full"] * 3]


def test_room_in_a_full_queue_is_awaited(app: Glassq) -> None:
    """`full_wait` holds for awaited calls, and holds up nobody else's."""
    app.queue("q", max_length=1, full_wait=10)
    task, other = app.fifo("q")(note), app.fifo("p", name="other")(note)

    async def main() -> None:
        await task.aenqueue(1)
        second = asyncio.create_task(task.aenqueue(2))
        await asyncio.sleep(0.1)
        await asyncio.wait_for(other.aenqueue(1), 5)
        assert not second.done()
        await asyncio.to_thread(app.queue("q").purge)
        assert (await second).seq == 2

    asyncio.run(main())


variable: ContextVar[str] = ContextVar("variable", default="none")


def test_arounds_wrap_the_call_in_its_own_context(app: Glassq) -> None:
    """Calls that are awaited at the same time each have their headers from their own task's context."""

    @contextmanager
    def around(subject: Subject) -> Iterator[None]:
        if isinstance(subject, Sending):
            for job in subject.jobs:
                job.headers["variable"] = variable.get()
        elif isinstance(subject, Attempting):
            seen[subject.job.id] = subject.headers["variable"]
        yield

    seen: dict[str, str] = {}
    app.bus.wrap(around)
    task = app.fifo("q", key="key")(note)

    async def call(text: str) -> tuple[str, str]:
        variable.set(text)
        return (await task.aenqueue(1, text)).id, text

    async def main() -> dict[str, str]:
        return dict(await asyncio.gather(*[call(f"v{number}") for number in range(20)]))

    expected = asyncio.run(main())
    assert app.worker().run_until_idle()
    assert seen == expected


# -- cancelled -----------------------------------------------------------------------------------------


def test_a_call_cancelled_before_it_is_on_its_way_stores_nothing(app: Glassq, gate: Gate) -> None:
    """Whatever is still waiting its turn is taken back, and the cancellation takes effect at once."""
    task = app.fifo("q")(note)

    async def main() -> str:
        first = asyncio.create_task(task.aenqueue(1))
        await gate.taken()
        second = asyncio.create_task(task.aenqueue(2))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await second
        assert caught.value.__cause__ is None
        gate.go_on.set()
        return (await first).id

    first = asyncio.run(main())
    assert waiting(app) == [first]


def test_a_call_cancelled_on_its_way_is_told_what_became_of_it(app: Glassq, gate: Gate) -> None:
    """Once it may be stored, the cancellation waits for the answer: observers hear of the job, and the
    caller's `CancelledError` or `TimeoutError` names it."""
    told: list[JobEnqueued] = []
    app.bus.subscribe(told.append, JobEnqueued)
    task = app.fifo("q")(note)

    async def hurried() -> None:
        async with asyncio.timeout(0.2):
            await task.aenqueue(1)

    async def main() -> BaseException | None:
        asyncio.get_running_loop().call_later(0.4, gate.go_on.set)
        with pytest.raises(TimeoutError) as caught:
            await hurried()
        cancelled = caught.value.__cause__
        assert isinstance(cancelled, asyncio.CancelledError)
        return cancelled.__cause__

    cause = asyncio.run(main())
    assert isinstance(cause, EnqueueUncertain)
    assert [cause.job_id] == waiting(app) == [event.job_id for event in told]
    assert [receipt.id for receipt in cause.receipts] == waiting(app)


def test_a_batch_cancelled_on_its_way_has_its_receipts(app: Glassq, gate: Gate) -> None:
    """All that is stored is known: the chunks before, and the one on its way; later ones are not begun."""
    task = app.fifo("q")(note)

    async def main() -> BaseException | None:
        batch = asyncio.create_task(app.aenqueue_many([task.s(number) for number in range(250)]))
        await gate.taken()
        batch.cancel()
        gate.go_on.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await batch
        return caught.value.__cause__

    cause = asyncio.run(main())
    assert isinstance(cause, EnqueueError)
    assert [receipt.id for receipt in cause.receipts] == waiting(app)
    assert len(waiting(app)) == 100


def test_a_closed_application_says_so(app: Glassq) -> None:
    """Calls after the end are refused, also where the store had been open."""
    task = app.fifo("q")(note)

    async def main() -> None:
        await task.aenqueue(1)
        await asyncio.to_thread(app.close)
        with pytest.raises(StorageUnavailable, match="closed"):
            await task.aenqueue(2)

    asyncio.run(main())


# -- an async task's call --------------------------------------------------------------------------------


def test_a_call_that_is_never_awaited_warns_at_its_line(app: Glassq) -> None:
    """`charge(...)` of an async task does nothing until it is awaited; whoever forgets that is told where,
    and what to write."""

    @app.fifo("q")
    async def charge(number: int) -> None: ...

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        charge(1)  # type: ignore[unused-coroutine]
        charge.options(delay=5)(2)  # type: ignore[unused-coroutine]
        gc.collect()
    assert [warning.category for warning in caught] == [RuntimeWarning, RuntimeWarning]
    assert [warning.filename for warning in caught] == [__file__, __file__]
    assert "a call of charge was never awaited, so nothing was enqueued" in str(caught[0].message)
    assert "charge.enqueue(...)" in str(caught[0].message)
    assert waiting(app) == []


def test_a_call_is_a_coroutine_as_others(app: Glassq) -> None:
    """It may be awaited, gathered, made a task or closed, and awaited once; `enqueue` does without a loop."""

    @app.fifo("q")
    async def charge(number: int) -> int:
        return 2 * number

    async def main() -> None:
        await asyncio.gather(charge(1), charge(2))
        async with asyncio.TaskGroup() as group:
            third = group.create_task(charge(3))
        assert third.result().seq == 3
        call = charge(4)
        await call
        with pytest.raises(RuntimeError, match="already awaited"):
            await call
        charge(5).close()
        assert await charge.call(21) == 42

    asyncio.run(main())
    assert charge.enqueue(6).seq == 5
    assert len(waiting(app)) == 5
