"""The program with an event loop in each of its processes: awaited calls, and workers on their own loop or on
the program's. Its roles stand in for those of the same names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from glassq.errors import EnqueueError, StorageError
from glassq.model.events import WorkerChanged
from tests.chaos import program
from tests.chaos.ending import Ending
from tests.chaos.notes import note, take_notes
from tests.chaos.program import Caller, app, awaited, plain, rude

_AT_ONCE = 8
_BLOCKED = 2.0
"""Seconds for which a job blocks the loop of its worker: longer than a lease, and than it takes to notice."""


def produce(name: str, keys: str) -> int:
    """Await calls in several tasks of one loop, until SIGTERM; first of all one of a job that blocks."""
    ending = Ending()
    callers = [Caller(f"{name}-{number}", int(keys)) for number in range(_AT_ONCE)]
    note("up")

    async def main() -> None:
        await rude(callers[0].key(), callers[0].next(), _BLOCKED)
        await asyncio.gather(*[_call(caller, ending) for caller in callers])

    asyncio.run(main())
    return 0


async def _call(caller: Caller, ending: Ending) -> None:
    while not ending.asked:
        try:
            await _call_once(caller)
        except (EnqueueError, StorageError) as error:
            note("refused", error=type(error).__name__)
            await asyncio.sleep(0.02)


async def _call_once(caller: Caller) -> None:
    """By chance: a sync or an async job, a batch of both, now and then one that blocks, or a call that is
    cancelled on its way."""
    chosen, key, number = caller.random.random(), caller.key(), caller.next()
    seconds = caller.random.choice((0.0, 0.002, 0.02))
    if chosen < 0.003:
        await rude(key, number, _BLOCKED)
    elif chosen < 0.1:
        await app.aenqueue_many([(plain, awaited)[each % 2].s(key, number, 0.0) for each in range(6)])
    elif chosen < 0.15:
        calling = asyncio.create_task(awaited.aenqueue(key, number, 0.0))
        await asyncio.sleep(seconds / 10)
        calling.cancel()
        await asyncio.wait([calling])
    elif chosen < 0.5:
        await plain.aenqueue(key, number, seconds)
    else:
        await awaited(key, number, seconds)


def work(whose: str) -> int:
    """A worker process, until a signal, on a loop of its own or on the program's."""
    if whose == "own":
        return program.serve(app.worker(concurrency=4))
    app.bus.subscribe(_up, WorkerChanged)
    return 0 if asyncio.run(app.run_worker_async(concurrency=4)) else 1


def _up(event: WorkerChanged) -> None:
    if event.state == "running":  # it listens to signals from before
        note("up")


ROLES: dict[str, Callable[..., int]] = {"produce": produce, "work": work}


def main(arguments: list[str]) -> int:
    """Run a role."""
    take_notes()
    role, *rest = arguments
    status = ROLES[role](*rest)
    note("done")
    return status
