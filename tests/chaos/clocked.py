"""The program under test, under a clock that others set."""

from __future__ import annotations

import os
import time
from pathlib import Path

from glassq.model.events import StorageCalled
from tests.chaos import program
from tests.chaos.clocks import follow
from tests.chaos.notes import note
from tests.chaos.program import QUEUE, app, plain


@app.fifo(QUEUE, key="key", name="lasting")
def lasting(key: str) -> None:
    """Run until the test has seen enough."""
    while not Path(os.environ["CHAOS_ENOUGH"]).exists():
        time.sleep(0.01)


def last() -> int:
    """A job that lasts, and one behind it."""
    lasting("long")
    plain("long", 1, 0.0)
    return 0


def ring() -> int:
    """A job in another lane: whoever is free claims, and so looks at the clock."""
    plain("other", 0, 0.0)
    return 0


def _kept(event: StorageCalled) -> None:
    """Each turn of the upkeep ends with a report, after the renewals."""
    if event.operation == "report" and event.error is None:
        note("kept")


def main(arguments: list[str]) -> int:
    """Carry out a role, by the clock of `CHAOS_CLOCK`."""
    follow(Path(os.environ["CHAOS_CLOCK"]))
    role, *rest = arguments
    if role == "work":
        app.bus.subscribe(_kept, StorageCalled)
    return {**program.ROLES, "last": last, "ring": ring}[role](*rest)
