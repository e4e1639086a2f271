"""How a worker that is a process of its own learns that it is to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import weakref
from collections import deque
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Summons:
    """Wakes the main thread on a signal, or when another thread says so.

    The main thread waits in a `read`, not on a lock. The kernel may hand a signal to any thread of the
    process (it does, right after SIGCONT), and Python runs handlers in the main thread only: one that waits
    on a lock would never hear of it. A pipe that the low-level handler itself writes to wakes it in every
    case (`signal.set_wakeup_fd`). Only the main thread hears signals; elsewhere `tell` alone wakes.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        # Closed when nobody can tell any more: a number that was free again could be a stranger's.
        finalizer = weakref.finalize(self, _close, self._reader, self._writer)
        finalizer.atexit = False  # daemon threads may tell to the very end
        self._told: deque[None] = deque()
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            earlier = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            self._restore.callback(signal.set_wakeup_fd, earlier)
            for number in SIGNALS:
                self._restore.callback(signal.signal, number, _known(signal.signal(number, self._heard)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore.close()

    def tell(self) -> None:
        """Wake the waiter, or let its next wait return at once. Safe in a signal handler."""
        self._told.append(None)
        with contextlib.suppress(BlockingIOError):  # full: there is enough to wake for
            os.write(self._writer, b"!")

    def wait(self) -> None:
        """Until told once more than it was waited for."""
        while True:
            try:
                return self._told.popleft()
            except IndexError:
                os.read(self._reader, 4096)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self.tell()


def _known(handler: Any) -> Any:
    """A handler that was not set from Python reads as None and can only be put back as the default."""
    return signal.SIG_DFL if handler is None else handler


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
