"""Tasks that misbehave inside their own process: they raise whatever can be raised, hold the GIL, or die."""

from __future__ import annotations

import resource
from collections.abc import Callable

from glassq import current_job
from tests.chaos import program
from tests.chaos.gate import between_calls, install_gate
from tests.chaos.harms import DEATHS, HOLDS, KINDS
from tests.chaos.notes import note
from tests.chaos.program import app

RAISED = "raised"
HELD = "held"
DEADLY = "deadly"

# -- exceptions ----------------------------------------------------------------------------------------------


@app.fifo(RAISED, name="raise", max_retries=1, retry_wait=0.01)
def raise_(kind: str) -> None:
    """Raise something of this kind."""
    KINDS[kind]()


@app.fifo(RAISED, name="after")
def after(kind: str) -> str:
    """What must run all the same, in its turn."""
    return kind


# -- the GIL -------------------------------------------------------------------------------------------------


@app.fifo(HELD, key="key", name="hold")
def hold(key: str, how: str, until: str) -> None:
    """At the first attempt, keep every other thread of this process from running."""
    job = current_job()
    if job.attempt > 1:
        return
    # A thread that was caught in the middle of a write to a SQLite file would keep it locked, for all others.
    with between_calls():
        note("holding", key=key)
        HOLDS[how](until)


@app.fifo(HELD, key="key", name="follow")
def follow(key: str, number: int) -> None:
    """What comes next in the lane."""


# -- poison --------------------------------------------------------------------------------------------------


@app.fifo(DEADLY, key="key", name="die")
def die(key: str) -> None:
    """Take the whole process down."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    DEATHS[key]()


@app.fifo(DEADLY, key="key", name="survive")
def survive(key: str) -> None:
    """What is queued behind the poison."""


# -- roles ---------------------------------------------------------------------------------------------------


def call_all() -> int:
    """Every kind of exception, each followed by an innocent job."""
    for kind in KINDS:
        raise_(kind)
        after(kind)
    return 0


def call_holding(key: str, how: str, until: str) -> int:
    """A job that holds the GIL, and three behind it."""
    hold(key, how, until)
    for number in range(3):
        follow(key, number)
    return 0


def call_deadly() -> int:
    """Every kind of death, each with two innocent jobs behind it in its lane."""
    for kind in DEATHS:
        die(kind)
        survive(kind)
        survive(kind)
    return 0


def work(concurrency: str, max_crashes: str = "5") -> int:
    """A worker process, until a signal."""
    return program.serve(app.worker(concurrency=int(concurrency), max_crashes=int(max_crashes)))


ROLES: dict[str, Callable[..., int]] = {
    "work": work,
    "drain": program.drain,
    "raise": call_all,
    "hold": call_holding,
    "die": call_deadly,
}


def main(arguments: list[str]) -> int:
    """Run a role."""
    install_gate()
    role, *rest = arguments
    return ROLES[role](*rest)
