"""Another file in the place of a SQLite file that is in use, or none: followed whole, or left alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from glassq.errors import StorageUnavailable
from glassq.model.jobs import NewJob
from glassq.model.leases import Owner
from glassq.storage import Storage
from glassq.stores.open import open_storage
from glassq.stores.sqlite.store import SqliteStorage

JOB = NewJob(body=b"body")
OWNER = Owner("n", "i")
BESIDE = ("-wal", "-shm")


def url(path: Path) -> str:
    """The URL of a file."""
    return f"sqlite:///{path}"


def made(path: Path, *queues: str, jobs: int = 1) -> list[str]:
    """A closed file with so many jobs in each queue; the queues' rows are numbered in this order."""
    with closing(open_storage(url(path))) as storage:
        return [
            storage.append(queue, [NewJob(body=b"x" * 300, lane=f"k{number % 7}")])[0].id
            for queue in queues
            for number in range(jobs)
        ]


def take_away(path: Path, *suffixes: str) -> None:
    """Delete files of a database."""
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def sound(path: Path) -> None:
    """Nothing is wrong with the file."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def ids(storage: Storage, queue: str) -> list[str]:
    """The waiting jobs."""
    return [record.job.id for record in storage.waiting(queue, 10_000)]


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Where the file is that is in use."""
    return tmp_path / "jobs.db"


@pytest.fixture
def storage(live: Path) -> Iterator[SqliteStorage]:
    """A store in use: jobs are in its file and in its log."""
    with closing(SqliteStorage.open(url(live))) as storage:
        for number in range(300):
            storage.append("q", [NewJob(body=b"y" * 200, lane=f"l{number % 9}")])
        yield storage


VERBS: dict[str, Callable[[Storage], Any]] = {
    "append": lambda storage: storage.append("q", [JOB]),
    "append_to_another": lambda storage: storage.append("new", [JOB]),
    "listen": lambda storage: storage.listen(OWNER, ["q"]),
    "report": lambda storage: storage.report(OWNER, ["q"]),
    "claim": lambda storage: storage.claim(OWNER, ["q"], lanes=1, window=1, lease_seconds=15),
    "pause": lambda storage: storage.pause("q"),
    "purge": lambda storage: storage.purge("q", dead=False),
    "stats": lambda storage: storage.stats(["q"]),
    "waiting": lambda storage: storage.waiting("q", 5),
}


@pytest.mark.parametrize("remains", [BESIDE, ("-wal",), ("-shm",)], ids="+".join)
@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "removed"])
def test_no_file_is_opened_with_the_log_of_another(
    live: Path, tmp_path: Path, storage: SqliteStorage, remains: tuple[str, ...], *, replaced: bool
) -> None:
    """While what SQLite kept beside the old file lies there, every call is refused and says what to do; the
    new file is as it was. Once that is gone, the same process goes on with it."""
    other = tmp_path / "backup.db"
    backed_up = made(other, "q", jobs=500)
    before = other.read_bytes()
    if replaced:
        other.replace(live)
    else:
        live.unlink()
    take_away(live, *set(BESIDE) - set(remains))
    files = sorted(tmp_path.iterdir())
    for verb in VERBS.values():
        with pytest.raises(
            StorageUnavailable, match=r"jobs\.db was replaced.*take -wal and -shm away"
        ) as told:
            verb(storage)
        assert told.value.reason == "io"
    assert [path for path in sorted(tmp_path.iterdir()) if "-bell-" not in path.name] == files
    assert not replaced or live.read_bytes() == before
    take_away(live, *remains)
    assert ids(storage, "q") == (backed_up if replaced else [])
    appended = storage.append("q", [JOB])[0]
    assert appended.seq == (501 if replaced else 1)
    sound(live)
    with closing(open_storage(url(live))) as another:
        assert ids(another, "q") == [*(backed_up if replaced else []), appended.id]


def test_closing_leaves_what_is_not_its_own(live: Path, tmp_path: Path, storage: SqliteStorage) -> None:
    """A process that ends after the file was replaced writes nothing into it, and takes no log away."""
    backed_up = made(tmp_path / "backup.db", "q", jobs=50)
    (tmp_path / "backup.db").replace(live)
    storage.close()
    assert {path.name for path in tmp_path.iterdir()} >= {"jobs.db", "jobs.db-wal", "jobs.db-shm"}
    take_away(live, *BESIDE)
    sound(live)
    with closing(open_storage(url(live))) as another:
        assert ids(another, "q") == backed_up


def test_a_new_file_is_told_of_once(live: Path) -> None:
    """Whoever counts reconnects counts one for each file that took the place of another."""
    told: list[str] = []
    with closing(SqliteStorage.open(url(live), reconnected=lambda: told.append("again"))) as storage:
        storage.append("q", [JOB])
        assert told == []
        take_away(live, "", *BESIDE)
        for _ in range(3):
            storage.stats(["q"])
        assert told == ["again"]


@pytest.mark.parametrize("verb", VERBS)
def test_any_first_call_finds_the_new_file_whole(live: Path, storage: SqliteStorage, verb: str) -> None:
    """Whichever call comes first after everything was deleted: it meets a private file with its tables."""
    take_away(live, "", *BESIDE)
    VERBS[verb](storage)
    assert stat.S_IMODE(live.stat().st_mode) == 0o600
    assert storage.append("late", [JOB])[0].seq == 1


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that changes its directory makes the new file in the place of the old one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with closing(open_storage("sqlite:///jobs.db")) as storage:
        storage.append("q", [JOB])
        monkeypatch.chdir(tmp_path / "elsewhere")
        take_away(tmp_path / "jobs.db", "", *BESIDE)
        assert storage.append("q", [JOB])[0].seq == 1
        assert stat.S_IMODE((tmp_path / "jobs.db").stat().st_mode) == 0o600
    assert list((tmp_path / "elsewhere").iterdir()) == []


# -- what is remembered of the old file --------------------------------------------------------------------


def swapped(live: Path, *queues: str) -> None:
    """Another file in the place of the live one, with the same queues under other numbers."""
    other = live.with_name("other.db")
    made(other, *queues)
    take_away(live, *BESIDE)
    other.replace(live)


@pytest.mark.parametrize("first", ["append", "stats", "claim"])
@pytest.mark.parametrize("removed", [True, False], ids=["removed", "replaced"])
def test_a_child_meets_another_file_than_its_parent(live: Path, first: str, *, removed: bool) -> None:
    """Forked, and the file is replaced before the child's first call: its jobs are in the queues they were
    meant for, and a file it has to make is private."""
    storage = open_storage(url(live))
    for queue in ("q", "other"):
        storage.append(queue, [JOB])
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.umask(0)
            os.read(told, 1)
            VERBS[first](storage)
            storage.append("q", [JOB] * 3)
            code = 0
        finally:
            os._exit(code)
    storage.close()
    if removed:
        take_away(live, "", *BESIDE)
    else:
        swapped(live, "other", "q")
    os.write(tell, b"!")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(told)
    os.close(tell)
    assert stat.S_IMODE(live.stat().st_mode) == 0o600
    with closing(open_storage(url(live))) as after:
        figures = {stats.queue: stats.enqueued for stats in after.stats(["q", "other"])}
        mine = 3 + (first == "append")
        assert figures == ({"q": mine, "other": 0} if removed else {"q": 1 + mine, "other": 1})


def test_a_child_is_refused_as_its_parent_is(live: Path) -> None:
    """The log of the file the parent opened counts for the child, too, before it has opened anything."""
    storage = open_storage(url(live))
    storage.append("q", [JOB])
    made(live.with_name("backup.db"), "q")
    live.with_name("backup.db").replace(live)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            storage.append("q", [JOB])
        except StorageUnavailable:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(StorageUnavailable):
        storage.append("q", [JOB])
    storage.close()
    take_away(live, *BESIDE)
    sound(live)


@pytest.mark.parametrize("verb", ["append", "pause"])
def test_another_thread_finds_the_new_file_first(
    live: Path, storage: SqliteStorage, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is replaced and opened by another thread right before this one's transaction begins: what was
    known of the old file's queues is not used in the new one."""
    storage.append("other", [JOB])
    follow = storage._connections._follow
    found: list[threading.Thread] = []

    def before_the_others() -> None:
        follow()
        if not found:
            found.append(threading.Thread(target=storage.stats, args=(["q", "other"],)))
            swapped(live, "other", "q")
            found[0].start()
            found[0].join()

    monkeypatch.setattr(storage._connections, "_follow", before_the_others)
    VERBS[verb](storage)
    with closing(open_storage(url(live))) as after:
        q, other = after.stats(["q", "other"])
        assert (q.enqueued, q.paused_whole) == ((2, False) if verb == "append" else (1, True))
        assert (other.enqueued, other.paused_whole) == (1, False)
