"""The event loop that async code of jobs runs on: in a thread of its own, or the caller's.

Threads hand coroutines in and wait for them. A lane so keeps all of its habits, its order above all, whether
its jobs are async or not; see docs/explanation/decisions/0012-async-tasks-one-loop.md.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from glassq.context import JobContext
from glassq.errors import JobError
from glassq.forking import begin_in_children
from glassq.shielding import Log

log = Log("glassq.worker")

_LEAVING = 5.0
"""Seconds for which the end of an application waits for its loop's thread."""


class Interrupted(JobError):
    """Why code of a job is cancelled when its loop ends, or is left: the job has not failed."""


class Errand:
    """One coroutine on its way through a loop, for a job; a thread waits for its end.

    `reason` is why it was cancelled, by us: what the code of the job was cancelled by otherwise is its own
    affair. Lives on the loop, but for `wait`.
    """

    __slots__ = ("_ended", "_work", "job", "name", "reason", "task")

    def __init__(
        self, name: str, job: JobContext | None, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self.name = name
        self.job = job
        self.task: asyncio.Task[None] | None = None
        self.reason: BaseException | None = None
        self._work = work
        self._ended = threading.Lock()
        self._ended.acquire()

    def start(self) -> None:
        """Begin it, in the context this is called in."""
        self.task = asyncio.get_running_loop().create_task(self._work(), name=self.name)
        # Not the work's own last line: a task that is cancelled before its first step never gets there.
        self.task.add_done_callback(self._done)

    def cancel(self, reason: BaseException) -> None:
        """Cancel it, as asyncio does: it may clean up, and it may take no notice."""
        if self.task is not None and not self.task.done():
            self.reason = reason
            self.task.cancel()

    def wait(self) -> None:
        """Until it has ended, or its loop has."""
        self._ended.acquire()

    def let_go(self) -> None:
        """Nothing will be heard of it any more: its loop is closed."""
        self._release()

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain: the work has noted what it was
        self._release()

    def _release(self) -> None:
        with suppress(RuntimeError):  # let go before
            self._ended.release()


class LoopHome:
    """Where async code of jobs runs. `watch` is given it when something first runs there, and returns what is
    called whenever something does."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: no thread of the parent's, nor what it runs, is here."""
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None
        self.running: set[Errand] = set()
        """What is on its way now."""
        self.thread: int | None = None
        """The loop's thread, as `threading.get_ident` knows it; None before there is one."""
        self.left = False
        """Whether its program leaves it: what is cancelled from outside then is cancelled by that."""
        self.over = False
        """Whether nothing will be run here any more."""

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running. Raises `RuntimeError` when it has ended, or cannot be had."""
        raise NotImplementedError

    def context(self) -> contextvars.Context:
        """The context that code begins in: a copy, as each job has one of its own."""
        return contextvars.copy_context()

    def carry_out(self, errand: Errand) -> bool:
        """Run this to its end, waited for by the calling thread; False when the loop has ended first."""
        self.running.add(errand)
        try:
            loop = self.loop()
            self._have_watched()  # before it begins: what cannot be watched is not begun
            loop.call_soon_threadsafe(errand.start, context=self.context())
            errand.wait()
        except RuntimeError as error:
            log.warning("no event loop for %s: %s", errand.name, error)
            return False
        finally:
            self.running.discard(errand)
        return errand.task is not None and errand.task.done()

    def interrupt(self) -> None:
        """Cancel all that still runs: nobody waits any longer. From any thread, and returns at once."""
        for errand in self.running.copy():
            reason = Interrupted("the event loop of this job is left before its end")
            with suppress(RuntimeError):  # it is left already
                self.loop().call_soon_threadsafe(errand.cancel, reason)

    def dismiss(self) -> None:
        """Nothing runs here, nor will: the watch ends, though the loop may go on."""
        self.over = True
        if self._wake is not None:
            self._wake()

    def _have_watched(self) -> None:
        """Have somebody watch over the loop while something runs on it."""
        wake = self._wake
        if wake is None:
            with self._lock:
                wake = self._wake = self._wake or self._watch(self)
        wake()


Watch = Callable[[LoopHome], Callable[[], None]]


class OwnLoop(LoopHome):
    """An event loop in a thread of its own, begun when it is first needed: one for an application, so that
    what is bound to a loop (a client's connections, a lock) can be shared by all of its jobs.

    It is what `asyncio.new_event_loop` gives, so `uvloop.install()` chooses another kind.
    """

    def begin(self) -> None:
        """See `LoopHome.begin`."""
        super().begin()
        self._inherited = getattr(self, "_loop", None)  # the parent's: not ours to close, nor to be missed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def loop(self) -> asyncio.AbstractEventLoop:
        """See `LoopHome.loop`."""
        loop = self._loop
        return self._begun() if loop is None else loop

    def _begun(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise RuntimeError("the application is closed")
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._run, args=(loop,), name="glassq-loop", daemon=True)
                thread.start()
                self._loop, self._thread, self.thread = loop, thread, thread.ident
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._closed:
            try:
                loop.run_forever()
            except BaseException:  # licensed: around user code; asyncio lets SystemExit of any task through
                log.exception("code on the event loop raised what ends a loop; it goes on")
        try:
            loop.run_until_complete(_end_all(loop))
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def close(self) -> None:
        """End the loop: what still runs on it is cancelled, as `asyncio.run` does. Idempotent."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            return
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(_LEAVING)
        if loop.is_closed():
            self.dismiss()


class CallersLoop(LoopHome):
    """The event loop of a program, for as long as the program stays on it. Jobs see the context variables
    that were set where the worker was begun."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on it is this one, in whose thread this is called."""
        self._loop = loop
        self._context = contextvars.copy_context()
        self.thread = threading.get_ident()

    def loop(self) -> asyncio.AbstractEventLoop:
        """See `LoopHome.loop`."""
        if self._loop is None:
            raise RuntimeError("this worker belongs to an event loop; begin it with async with")
        return self._loop

    def context(self) -> contextvars.Context:
        """See `LoopHome.context`."""
        return self._context.copy()


def await_on(home: LoopHome, name: str, coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine on a loop and wait for it. Raises what it raises, and `Interrupted` without a loop."""
    raised: list[BaseException] = []

    async def work() -> None:
        try:
            await coroutine
        except BaseException as error:  # licensed: raised again in the thread that waits
            raised.append(error)

    if not home.carry_out(Errand(name, None, work)):
        coroutine.close()
        raise Interrupted(f"no event loop ran {name} to its end")
    if raised:
        raise raised[0]


async def _end_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all tasks and wait for them; then what asyncio has to close."""
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
