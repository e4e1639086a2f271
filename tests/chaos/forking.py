"""Tasks that start processes in every way Python has, and a parent that forks its workers."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from glassq import current_job
from tests.chaos import program
from tests.chaos.notes import note
from tests.chaos.program import app

QUEUE = "forks"


@app.fifo("born", key="key", name="born")
def born(key: str, number: int) -> None:
    """A job that a child enqueued."""


def enqueue_as_child(key: str) -> None:
    """What the children do: two calls, each with a receipt."""
    for number in range(2):
        born(key, number)


# -- ways to start a process ---------------------------------------------------------------------------------


def _fork_and(end: Callable[[str], Any]) -> Callable[[str], None]:
    def run(key: str) -> None:
        child = os.fork()
        if child == 0:
            end(key)
            return
        _, status = os.waitpid(child, 0)
        note("child_ended", key=key, status=os.waitstatus_to_exitcode(status))

    return run


def _enqueue_and_exit(key: str) -> None:
    enqueue_as_child(key)
    os._exit(0)


def _raise(key: str) -> None:
    raise RuntimeError(key)


def _multiprocessing(method: str) -> Callable[[str], None]:
    def run(key: str) -> None:
        context: Any = multiprocessing.get_context(method)  # each has a Process of its own, their root none
        process = context.Process(target=enqueue_as_child, args=(key,))
        process.start()
        process.join()
        note("child_ended", key=key, status=process.exitcode)

    return run


def _subprocess(key: str) -> None:
    code = f"from tests.chaos.forking import enqueue_as_child as e; e({key!r})"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    note("child_ended", key=key, status=done.returncode)


WAYS: dict[str, Callable[[str], None]] = {
    "fork_returns": _fork_and(lambda _: None),
    "fork_raises": _fork_and(_raise),
    "fork_exits": _fork_and(lambda _: sys.exit(0)),
    "fork_enqueues": _fork_and(_enqueue_and_exit),
    "multiprocessing_fork": _multiprocessing("fork"),
    "multiprocessing_spawn": _multiprocessing("spawn"),
    "multiprocessing_forkserver": _multiprocessing("forkserver"),
    "subprocess": _subprocess,
}


@app.fifo(QUEUE, key="key", name="beget")
def beget(key: str, way: str) -> None:
    """Start a process in this way, and wait for its end."""
    WAYS[way](key)


@app.fifo(QUEUE, key="key", name="follow")
def follow(key: str) -> None:
    """What comes next in the lane."""


@app.fifo(QUEUE, key="key", name="outlived")
def outlived(key: str) -> None:
    """At the first attempt, fork a child that outlives its parent, and wait to be killed."""
    job = current_job()
    if job.attempt > 1:
        return
    child = os.fork()
    if child == 0:
        time.sleep(120)
        os._exit(0)
    note("outliving", child=child)
    time.sleep(120)


# -- roles ---------------------------------------------------------------------------------------------------


def call_all(rounds: str) -> int:
    """Every way, each in a lane of its own, followed by a job; the cheap ways several times."""
    for number in range(int(rounds)):
        for way in WAYS:
            if number == 0 or way.startswith("fork_"):
                beget(way, way)
                follow(way)
    return 0


def call_outlived() -> int:
    """A job with a child that stays, and one behind it."""
    outlived("o")
    follow("o")
    return 0


def work(concurrency: str) -> int:
    """A worker process, until a signal."""
    return program.serve(app.worker(concurrency=int(concurrency)))


def prefork(children: str, count: str) -> int:
    """Enqueue, fork children that enqueue as well and run what there is, and wait for all of them."""
    for number in range(int(count)):
        born("parent", number)
    alive = []
    for index in range(int(children)):
        child = os.fork()
        if child == 0:
            os._exit(_serve(index, int(count)))
        alive.append(child)
        born("parent", int(count) + index)  # the parent's connections are still its own
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in alive]
    note("children_ended", statuses=statuses)
    return max(statuses)


def _serve(index: int, count: int) -> int:
    with app.worker(concurrency=2) as worker:
        for number in range(count):
            born(f"child-{index}", number)
            born("shared", number)
        idle = worker.run_until_idle(60)
    return 0 if idle else 1


ROLES: dict[str, Callable[..., int]] = {
    "work": work,
    "drain": program.drain,
    "beget": call_all,
    "outlived": call_outlived,
    "prefork": prefork,
}


def main(arguments: list[str]) -> int:
    """Run a role."""
    role, *rest = arguments
    return ROLES[role](*rest)
