"""The program with workflows: chains and fans over keys, and so over the shards of the queue."""

from __future__ import annotations

import time
from collections.abc import Callable

from glassq import Composable, chain
from glassq.errors import EnqueueError, StorageError, WorkflowError
from tests.chaos import program
from tests.chaos.notes import note, take_notes
from tests.chaos.program import Caller, Ending, app, plain


def produce(name: str, keys: str) -> int:
    """Submit workflows until SIGTERM."""
    ending, caller = Ending(), Caller(name, int(keys))
    note("up")
    while not ending.asked:
        try:
            app.submit(_shape(caller), name="weaving", keep=60)
        except (EnqueueError, StorageError, WorkflowError) as error:
            note("refused", error=type(error).__name__)
            time.sleep(0.05)
    return 0


def _shape(caller: Caller) -> Composable:
    """By chance: a chain, or one that many wait for, and one that waits for all of them."""
    steps = [plain.s(caller.key(), caller.next(), 0.0) for _ in range(caller.random.randint(3, 8))]
    if caller.random.random() < 0.5:
        return chain(*steps)
    first, last, *between = steps
    fan: Composable = between[0]
    for step in between[1:]:
        fan = fan | step
    return first >> fan >> last


ROLES: dict[str, Callable[..., int]] = {"produce": produce, "work": lambda: program.serve(app.worker())}


def main(arguments: list[str]) -> int:
    """Run a role."""
    take_notes()
    role, *rest = arguments
    status = ROLES[role](*rest)
    note("done")
    return status
