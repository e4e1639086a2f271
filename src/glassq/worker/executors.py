"""Runs user code: whatever it raises becomes an outcome."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable
from typing import Any

import msgspec

from glassq.context import JobContext, running_job
from glassq.errors import AttemptTimeout
from glassq.forking import Generation, generation
from glassq.model.clock import Clock
from glassq.model.verdicts import Outcome
from glassq.shielding import Log
from glassq.telemetry import Attempting, Bus

log = Log("glassq.worker")

_EX_SOFTWARE = 70
"""The exit status of a program's own mistake, after BSD's sysexits.h."""


class Ran(msgspec.Struct, frozen=True):
    """What came of running user code. `seconds` is its run time."""

    outcome: Outcome
    value: Any
    error: BaseException | None
    seconds: float


class ThreadExecutor:
    """Runs a task in the calling thread, inside the Arounds, in a context of its own.

    A thread cannot be cancelled: past its timeout the attempt is flagged (`current_job().check()` raises),
    and it fails as a timeout whenever it ends. The lane waits until then, so attempts never overlap.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._generation = generation()

    def run(self, subject: Attempting, call: Callable[[], Any], timeout: float | None) -> Ran:
        """Run `call` to its end. Never raises."""
        # A copied context, so that variables a job sets are gone when the lane's next job begins.
        return contextvars.copy_context().run(self._run, subject, call, timeout)

    def _run(self, subject: Attempting, call: Callable[[], Any], timeout: float | None) -> Ran:
        running_job.set(subject.job)
        started = self._clock.monotonic()
        ended = started
        try:
            with self._bus.around(subject):
                try:
                    value = call()
                finally:
                    ended = self._clock.monotonic()
                    end_if_forked(self._generation, subject.job)
                if timeout is not None and ended - started > timeout:
                    raise AttemptTimeout(late(subject.job, timeout))
        except AttemptTimeout as error:
            return Ran(Outcome.TIMEOUT, None, error, ended - started)
        except BaseException as error:  # licensed: around user code; SystemExit is its exception too
            return Ran(Outcome.EXCEPTION, None, error, ended - started)
        return Ran(Outcome.SUCCEEDED, value, None, ended - started)


def end_if_forked(parent: Generation, job: object) -> None:
    """End a child that was forked by a job's code (its task or callback) and came back out of it.

    It is a copy of a worker without its other threads, and may hold locks that they held. It owns nothing:
    whatever it did from here on would be done twice.
    """
    if generation() is not parent:
        log.critical("a child forked by %s returned from it and is ended; use os._exit in the child", job)
        os._exit(_EX_SOFTWARE)


def late(job: JobContext, timeout: float) -> str:
    """The text of a timeout."""
    return f"attempt {job.attempt} of {job.id} is past its timeout of {timeout:g} s"
