"""What is noted in passing is counted once: whoever looks, whoever forks, whoever notes meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from glassq.observe.batches import Batch


class Counted:
    """What a batch has counted, and whether its lock was held."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.counts: list[Sequence[int]] = []

    def count(self, notes: Sequence[int]) -> None:
        """Take them."""
        self.counts.append(notes)

    @property
    def all(self) -> list[int]:
        """Every note, in the order it was counted."""
        return [each for notes in self.counts for each in notes]


def test_notes_are_counted_together_when_somebody_looks() -> None:
    """In their order, and not again by the next look; nothing is counted when nothing was noted."""
    counted = Counted()
    batch = Batch(counted.lock, counted.count)
    batch.settle()
    for number in range(3):
        batch.note(number)
    assert counted.counts == []
    batch.settle()
    batch.settle()
    assert counted.counts == [[0, 1, 2]]


def test_many_notes_are_counted_before_anybody_looks() -> None:
    """What nobody scrapes does not grow for ever."""
    counted = Counted()
    batch = Batch(counted.lock, counted.count, most=4)
    for number in range(9):
        batch.note(number)
    assert counted.counts == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_is_noted_together_is_counted_as_if_it_were_noted_one_by_one() -> None:
    """Also where there was nothing, and with what others noted."""
    counted = Counted()
    batch = Batch(counted.lock, counted.count, most=4)
    batch.note_all([])
    batch.settle()
    assert counted.counts == []
    batch.note_all([1, 2])
    batch.note(0)
    assert counted.counts == []
    batch.note_all([3, 4, 5])
    assert counted.counts == [[0, 1, 2, 3, 4, 5]]


def test_a_note_made_while_its_own_thread_counts_is_counted_once() -> None:
    """As by a signal handler that enqueues."""
    counted = Counted()

    def count(notes: Sequence[int]) -> None:
        if notes[0] == 0:
            batch.note(10)
            batch.settle()
        counted.count(notes)

    batch = Batch(counted.lock, count, most=2)
    batch.note(0)
    batch.note(1)
    batch.settle()
    assert sorted(counted.all) == [0, 1, 10]


def test_threads_lose_and_double_no_note() -> None:
    """Whoever notes, and whoever looks at the same time."""
    counted = Counted()
    batch = Batch(counted.lock, counted.count, most=7)
    started = threading.Barrier(5)

    def note(first: int) -> None:
        started.wait()
        for number in range(first, first + 5000):
            batch.note(number)

    def look() -> None:
        started.wait()
        for _ in range(2000):
            batch.settle()

    threads = [threading.Thread(target=note, args=(first,)) for first in (0, 5000, 10_000)]
    threads += [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batch.settle()
    assert sorted(counted.all) == list(range(15_000))


def test_what_a_parent_noted_its_child_does_not_count() -> None:
    """The parent shows it."""
    counted = Counted()
    batch = Batch(counted.lock, counted.count)
    batch.note(1)
    child = os.fork()
    if child == 0:
        batch.begin(threading.RLock())
        batch.note(2)
        batch.settle()
        os._exit(0 if counted.all == [2] else 1)
    assert os.waitpid(child, 0)[1] == 0
    batch.settle()
    assert counted.all == [1]
