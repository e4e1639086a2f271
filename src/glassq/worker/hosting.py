"""A worker inside a program's own event loop: its async jobs run there, among the program's other tasks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from glassq.worker.crew import LAST
from glassq.worker.engine import Worker
from glassq.worker.loops import CallersLoop

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class AsyncWorker:
    """`async with app.async_worker(...) as worker:` works until the block is left, then drains.

    Async jobs and callbacks run on the loop it is entered on; sync ones in threads, and so does everything
    that waits for the store.
    """

    def __init__(self, worker: Worker, home: CallersLoop, drain: float) -> None:
        self._worker = worker
        self._home = home
        self._drain = drain
        self._drained = False

    async def __aenter__(self) -> Worker:
        """Begin to take lanes. Raises as `Worker.start` does."""
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._hurried: asyncio.Future[None] = loop.create_future()
        self._home.enter(loop)
        # No task, which the end of a program would cancel: the thread would start the worker all the same.
        starting = loop.run_in_executor(None, self._worker.start)
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._home.left = True
            while not starting.done():
                with contextlib.suppress(asyncio.CancelledError):  # it is cancelled already
                    await asyncio.wait([starting])
            if starting.exception() is None:
                self._attend(loop)
                await self._leave()
            raise
        self._attend(loop)
        return self._worker

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no more, let running jobs end, give all lanes back. What runs after `drain` seconds, or when
        this is cancelled, is cancelled, too; its jobs go back unharmed. Sync jobs run on in their threads."""
        await self._leave()

    async def run(self) -> bool:
        """Work until stopped, by a signal too where the program handles none itself; True after a clean
        drain. A second signal ends the drain at once."""
        summoned: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def summon() -> None:
            _tell(self._hurried if summoned.done() else summoned)

        with _listening(summon):
            async with self:
                await asyncio.wait([summoned, self._ended], return_when=asyncio.FIRST_COMPLETED)
        return self._drained

    def _attend(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear of the worker's end, whoever stops it."""

        def attend() -> None:
            self._worker.wait()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there
                loop.call_soon_threadsafe(_tell, self._ended)

        threading.Thread(target=attend, name="glassq-end", daemon=True).start()

    async def _leave(self) -> None:
        self._home.left = True
        self._worker.stop(drain=0)
        try:
            await asyncio.wait(
                [self._ended, self._hurried], timeout=self._drain, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._drained = self._ended.done()
            if not self._drained:
                self._worker.interrupt()
                await asyncio.wait([self._ended], timeout=LAST)
            if self._ended.done():
                self._home.dismiss()


def _tell(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@contextmanager
def _listening(summon: Callable[[], None]) -> Iterator[None]:
    """Hear of the signals that end a program, but for those that somebody else handles."""
    mine = []
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                loop.add_signal_handler(number, summon)
                mine.append(number)
    try:
        yield
    finally:
        for number in mine:
            loop.remove_signal_handler(number)
