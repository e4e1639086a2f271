"""Several workers of one process begin and end together."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from glassq.worker.crew import run_together


class Hand:
    """A worker that notes what is asked of it."""

    def __init__(self, *, fails: bool = False, stops: bool = True) -> None:
        self.fails, self.stops = fails, stops
        self.started = threading.Event()
        self.asked = threading.Event()
        self.ended = threading.Event()
        self.interrupted = 0

    def start(self) -> None:
        """Begin, or not."""
        if self.fails:
            raise OSError("no store")
        self.started.set()

    def stop(self, drain: float) -> bool:
        """Told to stop; one that does not is still busy."""
        self.asked.set()
        if self.stops:
            self.ended.set()
        return self.ended.wait(drain)

    def interrupt(self) -> None:
        """Told that nobody waits any longer."""
        self.interrupted += 1
        self.ended.set()

    def wait(self, timeout: float | None) -> bool:
        """Whether it has ended."""
        return self.ended.wait(timeout)


def test_it_ends_when_all_have_stopped_and_not_before() -> None:
    """One worker that somebody stopped leaves the others at work; the last one ends the run."""
    first, second = Hand(), Hand()
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(run_together([first, second], 5)))
    thread.start()
    assert second.started.wait(5)
    first.stop(0)
    thread.join(0.1)
    assert thread.is_alive()
    assert not second.asked.is_set()
    second.stop(0)
    thread.join(5)
    assert outcome == [True]


def test_when_one_cannot_start_the_others_are_stopped() -> None:
    """Half a crew would look like a whole one: its error is raised, and nobody is left running."""
    first, second, third = Hand(), Hand(fails=True), Hand()
    with pytest.raises(OSError, match="no store"):
        run_together([first, second, third], 5)
    assert first.ended.is_set()
    assert not third.started.is_set()


def test_the_time_to_drain_is_for_all_together() -> None:
    """Two that do not end take one drain, not two."""
    idle, *busy = Hand(fails=True), Hand(stops=False), Hand(stops=False)
    began = time.monotonic()
    with pytest.raises(OSError, match="no store"):
        run_together([*busy, idle], 0.2)
    assert all(hand.asked.is_set() for hand in busy)
    assert time.monotonic() - began < 0.39


def test_what_outlasts_the_drain_is_interrupted() -> None:
    """The drain was not clean, and what can be ended is ended before the process is."""
    quick, slow = Hand(), Hand(stops=False)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert run_together([quick, slow], 0.2) is False
    assert slow.interrupted == 1
