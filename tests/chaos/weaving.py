"""The program with workflows: chains and fans over keys, and so over the shards of the queue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from glassq import Composable, chain, parallel
from glassq.errors import EnqueueError, ResultTimeout, StorageError, WorkflowError
from tests.chaos import crashpoints, program
from tests.chaos.ending import Ending
from tests.chaos.notes import note, take_notes
from tests.chaos.program import Caller, app, plain, step


def produce(name: str, keys: str, branches: str = "0", steps: str = "0") -> int:
    """Submit workflows until SIGTERM: one after the other by chance, or with so many branches or steps, when
    the one before has ended."""
    ending, caller = Ending(), Caller(name, int(keys))
    note("up")
    while not ending.asked:
        try:
            if int(branches):
                _see_through(ending, _diamond(caller, int(branches)))
            elif int(steps):
                _see_through(ending, chain(*(step.s("one", number) for number in range(int(steps)))))
            else:
                app.submit(_shape(caller), name="weaving", keep=60)
        except (EnqueueError, StorageError, WorkflowError) as error:
            note("refused", error=type(error).__name__)
            time.sleep(0.05)
    return 0


def _see_through(ending: Ending, shape: Composable) -> None:
    """A large one, until it has ended."""
    workflow = app.submit(shape, name="large", keep=60)
    while not ending.asked:
        with suppress(ResultTimeout):
            note("woven", status=workflow.wait(0.5))
            return


def _diamond(caller: Caller, branches: int) -> Composable:
    first, last, *between = [plain.s(caller.key(), caller.next(), 0.0) for _ in range(branches + 2)]
    return first >> parallel(*between) >> last


def _shape(caller: Caller) -> Composable:
    """By chance: a chain, or one that many wait for, and one that waits for all of them."""
    steps = [plain.s(caller.key(), caller.next(), 0.0) for _ in range(caller.random.randint(3, 8))]
    if caller.random.random() < 0.5:
        return chain(*steps)
    first, last, *between = steps
    return first >> parallel(*between) >> last


ROLES: dict[str, Callable[..., int]] = {
    "produce": produce,
    "work": lambda: program.serve(app.worker()),
}


def main(arguments: list[str]) -> int:
    """Run a role."""
    take_notes()
    crashpoints.install(app, os.environ.get("GLASSQ_CRASH_AT"), " ".join(arguments))
    role, *rest = arguments
    status = ROLES[role](*rest)
    note("done")
    return status
