"""`on_success` and `on_error`: after the commit, at most once, and without influence."""

from __future__ import annotations

import inspect

from glassq.forking import generation
from glassq.model.clock import Clock
from glassq.model.events import CallbackFailed
from glassq.model.jobs import CallbackBinding, CallbackJob
from glassq.model.verdicts import Action
from glassq.shielding import Log
from glassq.telemetry import Bus
from glassq.worker.attempt import Decoded, Ended
from glassq.worker.executors import end_if_forked
from glassq.worker.holdings import HeldLane
from glassq.worker.loops import LoopHome, OwnLoop, await_on
from glassq.worker.watching import LoopWatch

log = Log("glassq.worker")


class Callbacks:
    """Runs callbacks in the lane's thread, before its next job; it waits for async ones, which run on the
    event loop."""

    def __init__(self, bus: Bus, clock: Clock, loop: LoopHome | None = None) -> None:
        self._bus = bus
        self._clock = clock
        self._loop = loop or OwnLoop(LoopWatch(bus, clock))
        self._generation = generation()

    def run(self, lane: HeldLane, ended: Ended) -> None:
        """Call the callback that is due, if any. What it raises is logged and counted."""
        callback, decoded = ended.callback, ended.decoded
        if callback is None or decoded is None:
            return
        succeeded = ended.verdict.action is Action.ACK
        subject = ended.ran.value if succeeded else ended.ran.error
        lane.callback_since = self._clock.monotonic()
        name = "on_success" if succeeded else "on_error"
        try:
            told = callback(subject, _job(ended, decoded), _binding(decoded))
            if inspect.iscoroutine(told):
                await_on(self._loop, f"{name} of {ended.task_name} for {ended.job.id}", told)
        except BaseException as error:  # licensed: around user code; it must not reach the lane
            log.exception("%s of %s raised for %s", name, ended.task_name, ended.job.id)
            self._bus.emit(
                CallbackFailed(
                    queue=lane.lease.queue,
                    task=ended.task_name,
                    callback=name,
                    error_type=type(error).__qualname__,
                )
            )
        finally:
            end_if_forked(self._generation, ended.job.id)
            lane.callback_since = None


def _job(ended: Ended, decoded: Decoded) -> CallbackJob:
    return CallbackJob(ended.job.id, ended.task_name, [*decoded.args], decoded.kwargs, ended.attempt)


def _binding(decoded: Decoded) -> CallbackBinding:
    task = decoded.task
    return CallbackBinding(
        task.name,
        task.func,
        task.queue,
        task.max_retries,
        task.retry_wait,
        on_success=task.on_success,
        on_error=task.on_error,
    )
