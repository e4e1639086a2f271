"""What is not damage to a SQLite file: the program's own exceptions, the caller's input. And what is."""

from __future__ import annotations

import gc
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from glassq.errors import CorruptRecord
from glassq.model.jobs import NewJob
from glassq.model.leases import Owner
from glassq.stores.sqlite.store import SqliteStorage
from glassq.systemclock import SystemClock

JOB = NewJob(body=b"body")


class TimeIsUp(LookupError):
    """A program's own, of a kind that reading a damaged row raises, too."""


@pytest.fixture
def handler() -> Iterator[None]:
    """A signal handler that raises it."""

    def raise_it(*_: object) -> None:
        raise TimeIsUp("the program's own")

    before = signal.signal(signal.SIGALRM, raise_it)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class Interrupting(SystemClock):
    """A clock that has the signal arrive in the middle of the transaction that asks it."""

    armed = False

    def wall(self) -> float:
        """The time, unless it is up."""
        if self.armed:
            signal.raise_signal(signal.SIGALRM)
        return super().wall()


def test_a_programs_own_exception_stays_its_own(tmp_path: Path, handler: None) -> None:
    """Raised by a signal handler in the middle of a write or a read: it comes out as it is, nothing is half
    done, and nothing is said of the file."""
    clock = Interrupting()
    with closing(SqliteStorage.open(f"sqlite:///{tmp_path / 'jobs.db'}", clock=clock)) as storage:
        storage.append("q", [JOB])
        clock.armed = True
        for verb in (
            lambda: storage.append("q", [JOB]),
            lambda: storage.claim(Owner("n", "i"), ["q"], lanes=1, window=1, lease_seconds=15),
            lambda: storage.stats(["q"]),
        ):
            with pytest.raises(TimeIsUp, match="the program's own"):
                verb()
        clock.armed = False
        assert storage.stats(["q"])[0].ready == 1
        assert storage.append("q", [JOB])[0].seq == 2


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector: what a handler raises is lost when it comes while garbage of other tests is
    cleared away."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_wherever_the_signal_arrives(tmp_path: Path, handler: None) -> None:
    """At 400 moments of an append: each time it is the program's exception or the job, and all or nothing.
    And whatever the append held is given back: another thread can write."""
    outcomes: Counter[str] = Counter()
    with uncollected(), closing(SqliteStorage.open(f"sqlite:///{tmp_path / 'jobs.db'}")) as storage:
        for number in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00001 * (number % 40 + 1))
                for _ in range(20_000):  # takes a thousand times as long as the signal
                    storage.append("q", [JOB] * 3)
            except LookupError as error:
                outcomes[type(error).__name__] += 1
        other = threading.Thread(target=storage.append, args=("q", [JOB] * 3), daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive()
        stats = storage.stats(["q"])[0]
        assert outcomes == {"TimeIsUp": 400}
        assert stats.ready == stats.enqueued == len(storage.waiting("q", 10_000))
        assert stats.ready % 3 == 0


def test_text_that_cannot_be_stored_is_the_callers(tmp_path: Path) -> None:
    """Below the checks of the client, too, nobody is told to recover a file because of what he asked for."""
    with closing(SqliteStorage.open(f"sqlite:///{tmp_path / 'jobs.db'}")) as storage:
        storage.append("q", [JOB])
        for ask in (
            lambda: storage.pause("q", "\ud800"),
            lambda: storage.cancel("q/\ud800:1"),
            lambda: storage.skip_lane("q", "\udcff"),
            lambda: storage.get("q/\ud800:1"),
        ):
            with pytest.raises(UnicodeEncodeError):
                ask()
        assert storage.append("q", [JOB])[0].seq == 2


def test_text_that_is_no_list_is_damage(tmp_path: Path) -> None:
    """What a decoder raises about stored text is said of the file, with the way to recover."""
    path = tmp_path / "jobs.db"
    with closing(SqliteStorage.open(f"sqlite:///{path}")) as storage:
        storage.append("q", [JOB])
        storage.report(Owner("n", "i"), ["q"])
        with closing(sqlite3.connect(path)) as other:
            other.execute("UPDATE workers SET queues = '[\"q'")
            other.commit()
        with pytest.raises(CorruptRecord, match=r"DecodeError.*\.recover"):
            storage.stats(["q"])
