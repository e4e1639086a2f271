"""`app.lifespan()`: an ASGI application works while it serves, within its own lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from glassq import Glassq
from glassq.errors import BadOption, StorageUnavailable


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


def serving(web: Starlette) -> Any:
    """What a server does around its requests."""
    return web.router.lifespan_context(web)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens beside this task."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - threads cause it, too
            await asyncio.sleep(0.005)


def test_jobs_run_within_the_lifespan_of_the_application(app: Glassq) -> None:
    """What the application's own lifespan sets up is there for the first job and for the last; its state is
    handed on; a job that runs at the end is waited for, and what had not begun stays in the queue."""
    seen: list[str] = []

    @app.fifo("q")
    async def job(number: int) -> None:
        seen.append(f"begin {number}")
        await asyncio.sleep(0.05)
        seen.append(f"end {number}")

    @asynccontextmanager
    async def own(web: FastAPI) -> AsyncIterator[dict[str, str]]:
        seen.append(f"up {web.title}")
        yield {"pool": "open"}
        seen.append("down")

    job.enqueue(1)
    web = FastAPI(title="shop", lifespan=app.lifespan(own, concurrency=2))

    async def main() -> None:
        async with serving(web) as state:
            assert state == {"pool": "open"}
            await job(2)
            await until(lambda: "begin 1" in seen)

    asyncio.run(main())
    assert (seen[:3], seen[-1]) == (["up shop", "begin 1", "end 1"], "down")
    stats = app.queue("q").stats()
    assert (stats.depth + sum(stats.settled.values()), stats.leased) == (2, 0)


def test_an_application_may_begin_again(app: Glassq) -> None:
    """As its tests have it do, on another loop each time, and enqueue before and after."""
    ran: list[int] = []

    @app.fifo("q")
    async def job(number: int) -> None:
        ran.append(number)

    web = FastAPI(lifespan=app.lifespan())

    async def main(number: int) -> None:
        job.enqueue(number)
        async with serving(web) as state:
            assert state is None
            await until(lambda: number in ran)
        await job(number + 10)

    for number in (1, 2, 3):
        asyncio.run(main(number))
    assert ran == [1, 11, 2, 12, 3], "what is enqueued afterwards waits for the next time"
    assert app.queue("q").stats().ready == 1


def test_an_application_may_close_its_store_at_its_end(app: Glassq) -> None:
    """In its own lifespan, which ends when the worker has; a job that still ran has ended by then."""
    seen: list[str] = []

    @app.fifo("q")
    async def job() -> None:
        seen.append("begin")
        await asyncio.sleep(0.05)
        seen.append("end")

    @asynccontextmanager
    async def own(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(app.close)
        seen.append("closed")

    async def main() -> None:
        async with serving(FastAPI(lifespan=app.lifespan(own))):
            await job()
            await until(lambda: seen)

    asyncio.run(main())
    assert seen == ["begin", "end", "closed"]
    with pytest.raises(StorageUnavailable, match="this application is closed"):
        job.enqueue()


def test_an_application_that_only_enqueues(app: Glassq, store_url: str) -> None:
    """Nothing runs in it; its store is open before the first request. An option of a worker is refused."""
    ran: list[int] = []
    job = app.fifo("q", name="job")(ran.append)
    web = Starlette(lifespan=app.lifespan(worker=False), routes=[Mount("/glassq", app=app.asgi())])

    async def main() -> None:
        async with serving(web):
            assert app._store._storage is not None
            await job.aenqueue(1)
            await asyncio.sleep(0.1)

    asyncio.run(main())
    assert (ran, app.queue("q").stats().ready) == ([], 1)
    with pytest.raises(BadOption, match="concurrency: is an option of the worker"):
        app.lifespan(worker=False, concurrency=4)


def test_a_worker_that_cannot_be_made_keeps_the_application_from_beginning(app: Glassq) -> None:
    """Its own lifespan is left again."""
    seen: list[str] = []

    @asynccontextmanager
    async def own(_: object) -> AsyncIterator[None]:
        seen.append("up")
        try:
            yield
        finally:
            seen.append("down")

    async def main() -> None:
        with pytest.raises(BadOption, match="did you mean 'window'"):
            async with serving(FastAPI(lifespan=app.lifespan(own, windwo=3))):  # type: ignore[call-arg]
                pass

    asyncio.run(main())
    assert seen == ["up", "down"]
