"""A worker on a program's own event loop: where its jobs run, and what stopping it does to them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq, Worker
from glassq.errors import BadOption
from glassq.model.events import AttemptAbandoned, AttemptSettled
from glassq.model.verdicts import Outcome
from tests.processes import wait_until


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens beside this task."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - threads cause it, too
            await asyncio.sleep(0.005)


def endless(app: Glassq, seen: list[str], **options: Any) -> Any:
    """A task that never ends by itself."""

    @app.fifo("q", name="endless", **options)
    async def wait() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    return wait


request_id: ContextVar[str] = ContextVar("request_id", default="none")


def test_jobs_run_on_the_loop_of_the_program(app: Glassq) -> None:
    """Async jobs are tasks of the caller's loop and see what was set where the worker was begun; sync jobs
    run elsewhere. Leaving the block lets what runs end."""
    seen: list[object] = []

    @app.fifo("q")
    async def coroutine() -> None:
        seen.append((asyncio.get_running_loop(), threading.get_ident(), request_id.get()))
        await asyncio.sleep(0.1)
        seen.append("ended")

    @app.fifo("q")
    def plain() -> None:
        seen.append(threading.get_ident())

    async def main() -> None:
        request_id.set("main")
        app.enqueue_many([plain.s(), coroutine.s()])
        async with app.async_worker() as worker:
            await until(lambda: len(seen) == 2)
        assert worker.finished
        here = threading.get_ident()
        assert seen[0] != here
        assert seen[1:] == [(asyncio.get_running_loop(), here, "main"), "ended"]

    asyncio.run(main())
    assert app.queue("q").stats().depth == 0


def test_what_outlasts_the_drain_is_cancelled_and_runs_again(app: Glassq) -> None:
    """After `drain` seconds async jobs are cancelled; they go back with their lanes at once, not counted as
    failures, and the next worker runs them first."""
    seen: list[str] = []
    ends: list[AttemptSettled | AttemptAbandoned] = []
    app.bus.subscribe(ends.append, AttemptSettled, AttemptAbandoned)
    wait = endless(app, seen, max_retries=0)

    async def main() -> None:
        app.enqueue_many([wait.s()])
        async with app.async_worker(drain=0.1):
            await until(lambda: seen)

    asyncio.run(main())
    assert seen == ["begun", "cancelled"]
    assert [(type(event), event.outcome) for event in ends] == [(AttemptAbandoned, Outcome.INTERRUPTED)]
    stats = app.queue("q").stats()
    assert (stats.ready, stats.leased, stats.waiting_retry) == (1, 0, 0)
    with app.worker():
        wait_until(lambda: len(seen) == 3, "the next attempt", lambda: seen, 10)
        app.cancel(app.queue("q").peek(1)[0].id)


@pytest.mark.parametrize("how", ["await", "task", "teardown"])
def test_a_cancelled_worker_drains_and_gives_its_lanes_back(app: Glassq, how: str) -> None:
    """`run_worker_async` that is cancelled, by its task or because the program's main ends, gives everything
    back before the loop is closed; the cancellation goes on."""
    seen: list[str] = []
    wait = endless(app, seen, max_retries=0)
    app.enqueue_many([wait.s()])
    cancelled: list[bool] = []

    async def run() -> None:
        try:
            await app.run_worker_async(drain=0.1)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        if how == "await":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await run()
            return
        task = asyncio.create_task(run())
        await until(lambda: seen)
        if how == "task":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert cancelled == [True]
    assert seen == ["begun", "cancelled"]
    stats = app.queue("q").stats()
    assert (stats.ready, stats.leased, stats.waiting_retry) == (1, 0, 0)
    assert app.queue("q").dead_letters() == []


def test_a_worker_that_is_cancelled_while_it_starts_is_stopped(
    app: Glassq, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is cancelled: a thread that begins to work for nobody would go on for ever."""
    begun, go_on = threading.Event(), threading.Event()
    start = Worker.start

    def slowly(worker: Worker) -> Worker:
        begun.set()
        assert go_on.wait(20)
        return start(worker)

    monkeypatch.setattr(Worker, "start", slowly)
    hosted = app.async_worker(["q"])

    async def main() -> None:
        entering = asyncio.create_task(hosted.__aenter__())
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(2):
            entering.cancel()
            await asyncio.sleep(0.01)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await entering

    asyncio.run(main())
    assert hosted._worker.finished


def test_it_ends_when_somebody_stops_the_worker(app: Glassq) -> None:
    """`app.close()` from a thread, as any stop, ends `run_worker_async`: True after a clean drain."""
    seen: list[int] = []

    @app.fifo("q")
    async def work() -> None:
        seen.append(1)

    app.enqueue_many([work.s()])

    async def main() -> bool:
        running = asyncio.create_task(app.run_worker_async())
        await until(lambda: seen)
        await asyncio.to_thread(app.close)
        return await running

    assert asyncio.run(main()) is True


def test_options_are_checked_before_the_loop_is_there(app: Glassq) -> None:
    """A wrong option is refused where it is written."""
    with pytest.raises(BadOption, match="did you mean 'window'"):
        app.async_worker(windows=3)  # type: ignore[call-arg]


def test_other_loops_work_as_well(app: Glassq) -> None:
    """A program that chose uvloop has its jobs, timeouts and stop on it."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    loops: list[str] = []
    outcomes: list[Outcome] = []
    app.bus.subscribe(lambda event: outcomes.append(event.outcome), AttemptSettled)

    @app.fifo("q", timeout=0.2, max_retries=0)
    async def work(seconds: float) -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)
        await asyncio.sleep(seconds)

    async def main() -> None:
        app.enqueue_many([work.s(0), work.s(30)])
        async with app.async_worker():
            await until(lambda: len(outcomes) == 2)

    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run
    run(main())
    assert loops == ["uvloop", "uvloop"]
    assert outcomes == [Outcome.SUCCEEDED, Outcome.TIMEOUT]


PROGRAM = """
import asyncio, sys
from glassq import Glassq

app = Glassq(sys.argv[1])

@app.fifo("q")
async def work() -> None:
    print("begun", flush=True)
    await asyncio.sleep(0.5)
    print("ended", flush=True)

app.enqueue_many([work.s()])
print(asyncio.run(app.run_worker_async()), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_program_cleanly(store_url: str, tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT let what runs end, where the program handles neither itself; asyncio's own runner
    handles SIGINT: it cancels, which drains as well."""
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, store_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"
    os.kill(program.pid, number)
    began = time.monotonic()
    out, errors = program.communicate(timeout=30)
    assert out.startswith("ended\n"), errors
    assert time.monotonic() - began < 9
    if number == signal.SIGTERM:
        assert (out, program.returncode) == ("ended\nTrue\n", 0), errors


ENDLESS = """
import asyncio, sys
from glassq import Glassq

app = Glassq(sys.argv[1])

@app.fifo("q", max_retries=0)
async def work() -> None:
    print("begun", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("cleaned up", flush=True)

work.enqueue()
print(app.worker().run(drain=0.2), flush=True)
"""


def test_a_process_that_ends_gives_async_jobs_back(app: Glassq, store_url: str, tmp_path: Path) -> None:
    """A worker process whose drain is over cancels its async jobs: they clean up, are no failures, and the
    next worker need not wait for a lease."""
    ended = _signalled(ENDLESS, store_url, tmp_path)
    assert ended == ("cleaned up\nFalse\n", 0)
    stats = app.queue("q").stats()
    assert (stats.ready, stats.leased, stats.waiting_retry) == (1, 0, 0)
    assert app.queue("q").dead_letters() == []


def _signalled(program: str, store_url: str, folder: Path) -> tuple[str, int]:
    """What a program said after SIGTERM, which came once its job had begun, and how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, store_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors, errors
    return out, process.returncode
