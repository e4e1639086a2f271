"""A FastAPI application that enqueues: one call a request, or many at once. It watches its own event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from glassq import Glassq

app = Glassq()

_PULSE = 0.001
_worst = [0.0]


@app.fifo("orders", key="customer", name="pack")
def pack(customer: str, number: int) -> None:
    """Runs elsewhere."""


@asynccontextmanager
async def watched(_: FastAPI) -> AsyncIterator[None]:
    """Know the longest time for which the loop did nothing else."""

    async def feel() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_PULSE)
            _worst[0] = max(_worst[0], time.perf_counter() - before - _PULSE)

    pulse = asyncio.create_task(feel())
    yield
    pulse.cancel()


web = FastAPI(lifespan=app.lifespan(watched, worker=False))


@web.post("/orders/{customer}/{number}")
async def order(customer: str, number: int) -> int | None:
    """What most applications do."""
    return (await pack.aenqueue(customer, number)).seq


@web.post("/burst/{calls}/{keys}")
async def burst(calls: int, keys: int) -> list[int | None]:
    """So many calls that are all awaited at the same time, of so many keys in turn; their places."""
    receipts = await asyncio.gather(*[pack.aenqueue(f"k{each % keys}", each) for each in range(calls)])
    return [receipt.seq for receipt in receipts]


@web.post("/nothing/{calls}")
async def nothing(calls: int) -> None:
    """As many coroutines at once that do nothing: what asyncio itself takes for it."""
    await asyncio.gather(*[asyncio.sleep(0) for _ in range(calls)])


@web.post("/stall")
async def stall() -> float:
    """The longest stall since this was asked last, in seconds."""
    await asyncio.sleep(2 * _PULSE)  # the pulse has felt what was just now
    worst, _worst[0] = _worst[0], 0.0
    return worst
