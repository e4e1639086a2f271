"""A worker among observers, Arounds, log handlers, callbacks and exporters that raise or sleep."""

from __future__ import annotations

import inspect
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from glassq.model import events
from glassq.model.events import Event, LaneClaimed, StorageCalled
from glassq.observe.exporting import export_traces_from_environment
from tests.chaos import program
from tests.chaos.notes import note
from tests.chaos.program import app

QUEUE = "watched"

VOCABULARY = [
    kind
    for _, kind in inspect.getmembers(events, inspect.isclass)
    if issubclass(kind, Event) and kind is not Event
]
ERRORS: tuple[Callable[[], BaseException], ...] = (RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit)


# -- what raises ---------------------------------------------------------------------------------------------


class RaisingAround:
    """Raises where it is told to: when it is made, on the way in or on the way out."""

    def __init__(self, where: str, error: Callable[[], BaseException]) -> None:
        self._where = where
        self._error = error

    def __call__(self, subject: object) -> RaisingAround:
        """Wrap it."""
        return self._raise("call")

    def __enter__(self) -> None:
        self._raise("enter")

    def __exit__(self, *failure: object) -> None:
        self._raise("exit")

    def _raise(self, where: str) -> RaisingAround:
        if where == self._where:
            raise _bearable(self._error)
        return self


class RaisingHandler(logging.Handler):
    """A log handler that does not keep its errors to itself."""

    def __init__(self, error: Callable[[], BaseException]) -> None:
        super().__init__()
        self._error = error

    def handle(self, record: logging.LogRecord) -> bool:
        """Never."""
        raise _bearable(self._error)


def surround_with_errors() -> None:
    """Everything that can be hung onto an application, each in every way of raising."""
    for error in ERRORS:
        app.bus.subscribe(_raising(error), *VOCABULARY)
        for where in ("call", "enter", "exit"):
            app.bus.wrap(RaisingAround(where, error))
        logging.getLogger("glassq").addHandler(RaisingHandler(error))
        for name in (
            "worker",
            "telemetry",
            "collector",
        ):  # each stands alone: the first to raise ends the round
            logging.getLogger(f"glassq.{name}").addHandler(RaisingHandler(error))


def _raising(error: Callable[[], BaseException]) -> Callable[[Event], None]:
    def observe(_: Event) -> None:
        raise _bearable(error)

    return observe


def _bearable(error: Callable[[], BaseException]) -> BaseException:
    """An error of this kind, in the main thread an ordinary one: there it cannot be told from the `sys.exit`
    of a signal handler, which is to end the program."""
    return RuntimeError() if threading.current_thread() is threading.main_thread() else error()


# -- what takes its time -------------------------------------------------------------------------------------


class SlowHandler(logging.Handler):
    """A log that blocks whoever writes, and everybody after it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def emit(self, record: logging.LogRecord) -> None:
        """Eventually."""
        note("logged")
        time.sleep(self._seconds)


def surround_with_sleepers(seconds: float) -> None:
    """Observers that sleep: at the first claim, and in every call that renews leases. And such a log."""
    claimed = threading.Event()

    def on_claim(_: LaneClaimed) -> None:
        if not claimed.is_set():
            claimed.set()
            time.sleep(seconds)
            note("slept", observer="claimed")

    def on_call(event: StorageCalled) -> None:
        if event.operation in ("renew", "report"):
            time.sleep(seconds)
            note("slept", observer=event.operation)

    app.bus.subscribe(on_claim, LaneClaimed)
    app.bus.subscribe(on_call, StorageCalled)
    logging.getLogger().addHandler(SlowHandler(seconds))


# -- the tasks -----------------------------------------------------------------------------------------------


def _callback(subject: object, job: Any, binding: object) -> None:
    """Raise or sleep, as the environment says."""
    note("callback", id=job.id)
    if os.environ["WATCHING"] == "errors":
        error = ERRORS[job.args[0] % len(ERRORS)]()
        raise error
    if job.fqn == "good":
        time.sleep(float(os.environ["WATCHING"]))


@app.fifo(QUEUE, _callback, name="good")
def good(number: int) -> int:
    """Succeed."""
    return number


@app.fifo(QUEUE, None, _callback, max_retries=0, name="bad")
def bad(number: int) -> int:
    """Fail for good."""
    raise ValueError(number)


# -- roles ---------------------------------------------------------------------------------------------------


def call(count: str) -> int:
    """Jobs that succeed and jobs that fail, in turn."""
    for number in range(int(count)):
        good(number)
        bad(number)
    return 0


def work(concurrency: str = "2") -> int:
    """A worker process, until a signal."""
    finish = export_traces_from_environment()
    wanted = os.environ["WATCHING"]
    if wanted == "errors":
        surround_with_errors()
    else:
        surround_with_sleepers(float(wanted))
    worker = app.worker(concurrency=int(concurrency), callback_timeout=0.05)
    status = program.serve(worker)
    if finish is not None:
        finish()
    return status


ROLES: dict[str, Callable[..., int]] = {"work": work, "call": call, "drain": program.drain}


def main(arguments: list[str]) -> int:
    """Run a role."""
    role, *rest = arguments
    return ROLES[role](*rest)
