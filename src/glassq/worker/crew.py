"""Workers that are a process of their own: they start together, and a signal ends them together."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from glassq.worker.summons import Summons

LAST = 2.0
"""Seconds that jobs have to clean up when they are cancelled because the drain is over."""


class Stoppable(Protocol):
    """What a worker is to those who start and stop it."""

    def start(self) -> object:
        """Begin to work."""

    def stop(self, drain: float) -> bool:
        """Take no more work; whether all was done within `drain` seconds."""

    def interrupt(self) -> None:
        """Cancel what outlasts the stop, as far as that can be done; does not wait."""

    def wait(self, timeout: float | None) -> bool:
        """Whether it has stopped within `timeout` seconds, whoever stopped it."""


def run_together(workers: Sequence[Stoppable], drain: float) -> bool:
    """Start all workers, work until SIGTERM or SIGINT, then stop them all; True after a clean drain.

    `drain` seconds are for all of them together, and a second signal ends the drain at once. It ends, too,
    when others have stopped every worker. When one cannot be started, those before it are stopped again and
    its error is raised. Signals are handled in the main thread only.
    """
    with Summons() as summons:
        _start(workers, drain)
        threading.Thread(target=_tell_end, args=(workers, summons, None), daemon=True).start()
        summons.wait()
        for worker in workers:
            worker.stop(drain=0)
        threading.Thread(target=_tell_end, args=(workers, summons, drain), daemon=True).start()
        if not _finished(workers, 0):
            summons.wait()
        drained = _finished(workers, 0)
        if not drained:
            for worker in workers:
                worker.interrupt()
            _finished(workers, LAST)
        return drained


def _start(workers: Sequence[Stoppable], drain: float) -> None:
    for number, worker in enumerate(workers):
        try:
            worker.start()
        except BaseException:
            for started in workers[:number]:
                started.stop(drain=0)
            _finished(workers[:number], drain)
            raise


def _tell_end(workers: Sequence[Stoppable], summons: Summons, patience: float | None) -> None:
    """Say when all workers have finished, or their time is up."""
    _finished(workers, patience)
    summons.tell()


def _finished(workers: Sequence[Stoppable], patience: float | None) -> bool:
    """Whether all have stopped, in so many seconds together."""
    deadline = None if patience is None else time.monotonic() + patience
    return all(
        worker.wait(None if deadline is None else max(0.0, deadline - time.monotonic())) for worker in workers
    )
