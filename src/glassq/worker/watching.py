"""Watches over an event loop from outside: whether it turns, and whether what runs there is called off."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from glassq.context import JobContext, running_job, shown
from glassq.errors import JobCancelled, JobError, LeaseLost
from glassq.model.clock import Clock
from glassq.model.events import LoopBlocked, LoopFreed
from glassq.shielding import Log
from glassq.telemetry import Bus
from glassq.worker.loops import Errand, LoopHome

log = Log("glassq.worker")

BLOCKED_SECONDS = 1.0
"""A loop that does nothing for so long is blocked: all of its jobs stand still with it."""
_LOOK = 0.2
"""Seconds between two looks while something runs there."""
_ASLEEP = 5.0
"""Seconds between two looks while nothing does: whether the loop has ended, and the watch with it."""


class LoopWatch:
    """Begins a watch over each loop it is given; see `LoopHome`."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    def __call__(self, home: LoopHome) -> Callable[[], None]:
        """Watch this one; returns what wakes the watch."""
        watch = _Watch(home, self._bus, self._clock)
        threading.Thread(target=watch.run, name="glassq-loop-watch", daemon=True).start()
        return watch.wake


class _Watch:
    """A thread that sleeps while nothing runs on its loop."""

    def __init__(self, home: LoopHome, bus: Bus, clock: Clock) -> None:
        self._home = home
        self._bus = bus
        self._clock = clock
        self._wanted = threading.Event()
        self._asked = self._answered = 0
        self._since = 0.0
        self._blocked = False

    def wake(self) -> None:
        """Something runs there."""
        if not self._wanted.is_set():
            self._wanted.set()

    def run(self) -> None:
        """The thread's body: to the end of the loop."""
        try:
            loop = self._home.loop()
            pause = threading.Event()
            while not (loop.is_closed() or self._home.over):
                self._look(loop)
                pause.wait(_LOOK)
                if not self._home.running and not self._blocked:
                    self._wanted.clear()
                    # Looked at again: whoever came, or ended it, meanwhile found it awake.
                    if not (self._home.running or self._home.over):
                        self._wanted.wait(_ASLEEP)
        except RuntimeError as error:  # it was closed meanwhile, or the application was
            log.debug("the event loop has ended: %s", error)
        for errand in self._home.running.copy():
            errand.let_go()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock.monotonic()
        if self._answered == self._asked:
            if self._blocked:
                self._freed(now - self._since)
            self._since, self._asked = now, self._asked + 1
            loop.call_soon_threadsafe(self._answer, self._asked)
        elif now - self._since > BLOCKED_SECONDS and not self._blocked:
            self._report(loop, now - self._since)
        for errand in self._home.running.copy():
            reason = _called_off(errand)
            if reason is not None:
                loop.call_soon_threadsafe(errand.cancel, reason)

    def _answer(self, number: int) -> None:
        """On the loop: it turns."""
        self._answered = number

    def _report(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._blocked = True
        task = asyncio.current_task(loop)
        job = None if task is None else self._job_of(task)
        by = "a callback" if task is None else task.get_name() if job is None else f"{job.task} {job.id}"
        log.warning(
            "the event loop has been blocked by %s for over %.1f s, and all async jobs stand still with it: "
            "await what takes time, or hand it to asyncio.to_thread. It is in\n%s",
            by,
            seconds,
            self._place(),
        )
        self._bus.emit(LoopBlocked(by=by, job_id=None if job is None else job.id, seconds=seconds))

    def _job_of(self, task: asyncio.Task[Any]) -> JobContext | None:
        """The job whose task this is, or, from Python 3.12 on, whose task has begun it."""
        for errand in self._home.running.copy():
            if errand.task is task:
                return errand.job
        context_of = getattr(task, "get_context", None)
        return None if context_of is None else shown(context_of().get(running_job))

    def _freed(self, seconds: float) -> None:
        self._blocked = False
        log.warning("the event loop goes on after %.1f s", seconds)
        self._bus.emit(LoopFreed(seconds=seconds))

    def _place(self) -> str:
        """Where the loop's thread is, as a traceback's last lines."""
        frame = sys._current_frames().get(self._home.thread or 0)  # noqa: SLF001 - nothing else tells
        return "".join(traceback.format_stack(frame)[-3:]).rstrip() if frame is not None else "(unknown)"


def _called_off(errand: Errand) -> BaseException | None:
    """Why an errand is to be cancelled now, if it is: somebody asked for it, or its lane is lost. It is told
    once; its time it keeps itself."""
    if errand.job is None or errand.reason is not None:
        return None
    try:
        errand.job.check()
    except (JobCancelled, LeaseLost) as error:
        return error
    except JobError:
        return None
    return None
