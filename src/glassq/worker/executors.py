"""Runs user code: whatever it raises becomes an outcome."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from types import CoroutineType
from typing import Any

import msgspec

from glassq.context import JobContext, running_job
from glassq.errors import AttemptTimeout
from glassq.forking import Generation, generation
from glassq.model.clock import Clock
from glassq.model.verdicts import Outcome
from glassq.shielding import Log
from glassq.telemetry import Attempting, Bus
from glassq.worker.begun import Begun
from glassq.worker.fence import late
from glassq.worker.holdings import HeldLane
from glassq.worker.loops import Errand, Interrupted, LoopHome

log = Log("glassq.worker")

_SUCCEEDED = Outcome.SUCCEEDED
_set_running = running_job.set
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
        self._monotonic = clock.monotonic
        self._generation = generation()

    def run(self, subject: Attempting, call: Callable[[], Any], timeout: float | None) -> Ran:
        """Run `call` to its end. Never raises."""
        # A copied context, so that variables a job sets are gone when the lane's next job begins.
        return contextvars.copy_context().run(self._run, subject, call, timeout)

    def _run(self, subject: Attempting, call: Callable[[], Any], timeout: float | None) -> Ran:
        _set_running(subject.job)
        clock = self._monotonic
        ended = started = clock()
        try:
            with self._bus.around(subject):
                try:
                    value = call()
                finally:
                    ended = clock()
                    if generation() is not self._generation:
                        end_if_forked(self._generation, subject.job)
                if timeout is not None and ended - started > timeout:
                    raise AttemptTimeout(late(subject.job, timeout))
                if type(value) is CoroutineType:
                    raise _never_awaited(value, subject.task)
        except BaseException as error:  # licensed: around user code; SystemExit is its exception too
            return failed(error, ended - started)
        return Ran(_SUCCEEDED, value, None, ended - started)

    def run_bare(self, begun: Begun, look: Callable[[HeldLane, JobContext], None] | None) -> Ran | None:
        """Run a plain job as `run` does: with nothing around, and in the context of the caller, who has made
        one for it. None when it succeeded. `look` is had at the lane before, unless the caller just did."""
        _set_running(begun)
        task, clock, started = begun.task, self._monotonic, begun.started
        try:
            try:
                if look is not None:
                    look(begun.lane, begun.context())
                    started = clock()
                value = task.func(*begun.args, **begun.kwargs)
            finally:
                begun.over = over = clock()
                begun.seconds = seconds = over - started
                if generation() is not self._generation:
                    end_if_forked(self._generation, begun.context())
            if task.timeout is not None and seconds > task.timeout:
                raise AttemptTimeout(late(begun.context(), task.timeout))
            if value is not None and type(value) is CoroutineType:
                raise _never_awaited(value, task.name)
        except BaseException as error:  # licensed: around user code; SystemExit is its exception too
            return failed(error, begun.seconds)
        return None


class LoopExecutor:
    """Runs an async task on an event loop, inside the Arounds, in a context of its own, while the calling
    thread waits.

    It is cancelled at its timeout, when somebody asked for that, and when the lane is lost; it is over when
    it has ended, whatever it makes of the cancellation. Renewals are other threads' business.
    """

    def __init__(self, bus: Bus, clock: Clock, home: LoopHome) -> None:
        self._bus = bus
        self._clock = clock
        self._home = home
        self._generation = generation()

    def run(self, subject: Attempting, call: Callable[[], Any], timeout: float | None) -> Ran:
        """Run what `call` returns to its end. Never raises."""
        ran = Ran(
            Outcome.INTERRUPTED, None, Interrupted(f"no event loop ran {subject.job.id} to its end"), 0.0
        )

        async def attempt() -> None:
            nonlocal ran
            ran = await self._attempt(errand, subject, call, timeout)
            if isinstance(ran.error, KeyboardInterrupt) and _in_main_thread():
                raise ran.error  # the program's, not the job's

        errand = Errand(f"{subject.task} {subject.job.id}", subject.job, attempt)
        self._home.carry_out(errand)
        return ran

    async def _attempt(
        self, errand: Errand, subject: Attempting, call: Callable[[], Any], most: float | None
    ) -> Ran:
        running_job.set(subject.job)
        started = self._clock.monotonic()
        ended = started
        timer = None
        if most is not None:
            timer = asyncio.get_running_loop().call_later(
                most, errand.cancel, AttemptTimeout(late(subject.job, most))
            )
        try:
            with self._bus.around(subject):
                try:
                    value = await self._awaited(errand, call)
                finally:
                    if timer is not None:
                        timer.cancel()
                    ended = self._clock.monotonic()
                    end_if_forked(self._generation, subject.job)
                if most is not None and ended - started > most:
                    raise AttemptTimeout(late(subject.job, most))
        except BaseException as error:  # licensed: around user code; CancelledError is its exception too
            return failed(error, ended - started)
        return Ran(_SUCCEEDED, value, None, ended - started)

    async def _awaited(self, errand: Errand, call: Callable[[], Any]) -> Any:
        """Await what is called. A cancellation of ours becomes what it was for; any other one is the job's
        own exception, unless the whole loop is left."""
        try:
            return await call()
        except asyncio.CancelledError as error:
            if errand.reason is None and errand.task is not None and errand.task.cancelling():
                # Whoever waits for the worker may have been cancelled with it, and says so in its turn.
                await asyncio.sleep(0)
                if self._home.left:
                    raise Interrupted(f"the event loop of {errand.name} is left") from error
            if errand.reason is None:
                raise
            raise errand.reason from error


def failed(error: BaseException, seconds: float) -> Ran:
    """What an exception of user code means for its attempt."""
    outcome = Outcome.EXCEPTION
    if isinstance(error, AttemptTimeout):
        outcome = Outcome.TIMEOUT
    elif isinstance(error, Interrupted):
        outcome = Outcome.INTERRUPTED
    return Ran(outcome, None, error, seconds)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _never_awaited(value: CoroutineType[Any, Any, Any], task: str) -> TypeError:
    """What becomes of a job that did nothing, as its code was never begun."""
    value.close()
    return TypeError(
        f"{task} is no async def, but returned a coroutine, which nobody awaits: a decorator between fifo "
        "and the function hides that it is async. Make the decorator's own function async def"
    )


def end_if_forked(parent: Generation, job: object) -> None:
    """End a child that was forked by a job's code (its task or callback) and came back out of it.

    It is a copy of a worker without its other threads, and may hold locks that they held. It owns nothing:
    whatever it did from here on would be done twice.
    """
    if generation() is not parent:
        log.critical("a child forked by %s returned from it and is ended; use os._exit in the child", job)
        os._exit(_EX_SOFTWARE)
