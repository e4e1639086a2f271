"""The program with workflows: chains and fans over keys, and so over the shards of the queue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from glassq import Composable, chain, parallel
from glassq.errors import EnqueueError, ResultTimeout, StorageError, WorkflowError
from tests.chaos import crashpoints, program
from tests.chaos.notes import note, take_notes
from tests.chaos.program import Caller, Ending, app, plain


def produce(name: str, keys: str, branches: str = "0") -> int:
    """Submit workflows until SIGTERM: one after the other by chance, or with so many branches, when the one
    before has ended."""
    ending, caller = Ending(), Caller(name, int(keys))
    note("up")
    while not ending.asked:
        try:
            if int(branches):
                _see_through(ending, caller, int(branches))
            else:
                app.submit(_shape(caller), name="weaving", keep=60)
        except (EnqueueError, StorageError, WorkflowError) as error:
            note("refused", error=type(error).__name__)
            time.sleep(0.05)
    return 0


def _see_through(ending: Ending, caller: Caller, branches: int) -> None:
    """A wide diamond, until it has ended."""
    first, last, *between = [plain.s(caller.key(), caller.next(), 0.0) for _ in range(branches + 2)]
    diamond = app.submit(first >> parallel(*between) >> last, name="diamond", keep=60)
    while not ending.asked:
        with suppress(ResultTimeout):
            note("woven", status=diamond.wait(0.5))
            return


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
