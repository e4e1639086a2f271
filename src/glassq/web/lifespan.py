"""The lifespan of an ASGI application: what begins before its first request and ends after its last one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
"""As Starlette, and what is built on it, takes it: is given the application and may tell it a state."""
Begun = Callable[[], AbstractAsyncContextManager[object]]


def lifespan_with(begun: Begun, own: Lifespan | None) -> Lifespan:
    """A lifespan in whose midst `begun()` is entered, anew each time it begins.

    The application's `own` is around it: what that sets up is there for the first job and for the last.
    """

    @asynccontextmanager
    async def lifespan(web: Any) -> AsyncIterator[Any]:
        async with own(web) if own is not None else nullcontext() as state, begun():
            yield state

    return lifespan


@asynccontextmanager
async def opened(store: Callable[[], object]) -> AsyncIterator[None]:
    """The store is open, so that the first request does not wait for it. Raises what opening it raises."""
    await asyncio.to_thread(store)
    yield
