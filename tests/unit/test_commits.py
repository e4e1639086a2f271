"""Group commit: who is in whose transaction, who hears of what, and what an interrupt leaves behind."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

import pytest

from glassq.errors import StorageUnavailable
from glassq.stores.sqlite.commits import Commits

R = TypeVar("R")
PATIENCE = 10.0


class Book:
    """A table in memory that works write numbers into, and what each transaction committed.

    The first transaction lasts until `go_on`: whoever comes meanwhile waits for the turn.
    """

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute("CREATE TABLE numbers (n INTEGER UNIQUE)")
        self.commits = Commits(self._transact)
        self.transactions: list[tuple[list[int], str]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.refusals: list[StorageUnavailable] = []
        """What the next transactions cannot begin for."""

    def _transact(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        if self.refusals:
            raise self.refusals.pop(0)
        before = self.numbers()
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            answer = work(self.connection)
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        written = [number for number in self.numbers() if number not in before]
        self.transactions.append((written, threading.current_thread().name))
        return answer

    def numbers(self) -> list[int]:
        """What is in the table."""
        return [number for (number,) in self.connection.execute("SELECT n FROM numbers ORDER BY rowid")]

    def put(self, number: int) -> int:
        """Write a number; a second time it is refused."""

        def work(cx: sqlite3.Connection) -> int:
            cx.execute("INSERT INTO numbers VALUES (?)", (number,))
            return number * 10

        return self.commits.share(work)

    def hold(self) -> None:
        """Have the turn until `go_on`."""

        def work(_: sqlite3.Connection) -> None:
            self.begun.set()
            assert self.go_on.wait(PATIENCE)

        self.commits.share(work)

    def waiting(self, count: int) -> None:
        """Until so many calls wait for the turn."""
        until = time.monotonic() + PATIENCE
        while len(self.commits._waiting) < count:
            assert time.monotonic() < until
            time.sleep(0.001)


@pytest.fixture
def book() -> Iterator[Book]:
    """A book whose turn is taken."""
    book = Book()
    holder = threading.Thread(target=book.hold, name="holder")
    holder.start()
    assert book.begun.wait(PATIENCE)
    yield book
    book.go_on.set()
    holder.join(PATIENCE)
    book.connection.close()


def in_threads(book: Book, numbers: list[int]) -> tuple[dict[int, Any], list[threading.Thread]]:
    """Put each number in a thread of its own, one behind the other; what each got for it."""
    outcomes: dict[int, Any] = {}

    def run(place: int, number: int) -> None:
        try:
            outcomes[place] = book.put(number)
        except sqlite3.IntegrityError as error:
            outcomes[place] = error

    threads = []
    before = len(book.commits._waiting)
    for place, number in enumerate(numbers):
        threads.append(threading.Thread(target=run, args=(place, number), name=f"thread-{place}"))
        threads[-1].start()
        book.waiting(before + place + 1)
    return outcomes, threads


def test_those_who_wait_share_the_next_transaction_in_their_order(book: Book) -> None:
    """Four calls, one commit, and each thread gets its own answer."""
    outcomes, threads = in_threads(book, [3, 1, 4, 2])
    book.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert outcomes == {0: 30, 1: 10, 2: 40, 3: 20}
    assert [written for written, _ in book.transactions] == [[], [3, 1, 4, 2]]


def test_a_call_that_fails_takes_no_other_one_with_it(book: Book) -> None:
    """The group is undone and every call made again by itself: one error, for the one that caused it."""
    outcomes, threads = in_threads(book, [1, 2, 1, 3])
    book.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert isinstance(outcomes.pop(2), sqlite3.IntegrityError)
    assert outcomes == {0: 10, 1: 20, 3: 30}
    assert book.numbers() == [1, 2, 3]


def test_what_cannot_begin_is_not_tried_by_each(book: Book) -> None:
    """Another process has the file for longer than one waits for it: all are told so at once, not in turn."""
    told: list[str] = []

    def put(number: int) -> None:
        try:
            book.put(number)
        except StorageUnavailable as error:
            told.append(str(error))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for place, thread in enumerate(threads):
        thread.start()
        book.waiting(place + 1)
    book.refusals.append(StorageUnavailable("locked", "timeout"))
    book.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert told == ["locked"] * 4
    assert book.put(7) == 70
    assert book.numbers() == [7]


def test_nobody_waits_for_a_thread_that_was_ended(book: Book) -> None:
    """What ends the thread that writes for the others ends its wait with an error that leaves open whether
    they were written; and the turn is free again."""
    outcomes: dict[str, Any] = {}

    def end() -> None:
        def work(_: sqlite3.Connection) -> None:
            raise SystemExit

        with suppress(SystemExit):
            book.commits.share(work)

    def put() -> None:
        try:
            outcomes["put"] = book.put(1)
        except StorageUnavailable as error:
            outcomes["put"] = error

    threads = []
    for place, target in enumerate((end, put)):
        threads.append(threading.Thread(target=target))
        threads[-1].start()
        book.waiting(place + 1)
    book.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert isinstance(outcomes["put"], StorageUnavailable)
    assert "may have been written" in str(outcomes["put"])
    assert book.put(2) == 20


def test_the_main_thread_does_nobodys_work_but_its_own(book: Book) -> None:
    """An interrupt comes up in the main thread: the others' calls are never in its hands."""
    outcomes, threads = in_threads(book, [1, 2])
    threading.Timer(0.05, book.go_on.set).start()
    assert book.put(3) == 30
    for thread in threads:
        thread.join(PATIENCE)
    assert outcomes == {0: 10, 1: 20}
    assert all(written in ([], [3]) for written, name in book.transactions if name == "MainThread")


def test_an_interrupted_wait_leaves_no_call_behind(book: Book) -> None:
    """Ctrl-C while waiting for the turn: nothing is written for that call, and the next one works."""
    before = signal.signal(signal.SIGALRM, _interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            book.put(1)
    finally:
        signal.signal(signal.SIGALRM, before)
    book.go_on.set()
    assert book.put(2) == 20
    assert book.numbers() == [2]


def test_a_signal_handler_may_write_while_its_thread_waits(book: Book) -> None:
    """Both calls of the main thread are done, whichever of them the wake-up was meant for."""
    answers: list[int] = []

    def write(*_: object) -> None:
        threading.Timer(0.05, book.go_on.set).start()
        answers.append(book.put(2))

    before = signal.signal(signal.SIGALRM, write)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        answers.append(book.put(1))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert answers == [20, 10]
    assert sorted(book.numbers()) == [1, 2]


def test_no_wake_up_is_lost_among_many_threads() -> None:
    """Threads that write without a pause, and one that takes the turn for itself in between: all get done."""
    book = Book()
    book.go_on.set()
    each, count = 200, 6

    def run(first: int) -> None:
        for number in range(first, first + each):
            assert book.put(number) == number * 10

    def interfere() -> None:
        for _ in range(each):
            with book.commits.turn():
                time.sleep(0)

    threads = [threading.Thread(target=run, args=(number * each,)) for number in range(count)]
    threads.append(threading.Thread(target=interfere))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(6 * PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(book.numbers()) == list(range(each * count))
    book.connection.close()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
