"""`glassq import-femtoqueue`: everything comes along once, whatever happens in the middle."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from glassq.app import Glassq
from glassq.client.queues import Queue
from glassq.compat import femtomoving
from glassq.compat.femtofiles import TaskFile
from glassq.compat.femtoqueue import FemtoQueue
from glassq.compat.femtotasks import QUEUE, url_of
from glassq.stores.open import open_storage
from tests.integration.commandline import Glass, command_line
from tests.integration.femtodirectory import Directory

SOON = int(time.time() * 1_000_000) + 3_600_000_000


@pytest.fixture
def glass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Glass:
    """Runs one command."""
    return command_line(monkeypatch, capsys)


@pytest.fixture
def old(tmp_path: Path) -> Directory:
    """A directory that femtoqueue left in the middle of its work."""
    old = Directory(tmp_path / "fq")
    for time_us, folder, data in (
        (1000, "pending", b"third"),
        (900, "worker1", b"first"),
        (950, "worker2", b"second"),
        (1100, "pending", b"fourth"),
        (500, "scheduled", b"overdue"),
        (SOON, "scheduled", b"later"),
        (100, "failed", b"failed"),
        (50, "done", b"done"),
        (1200, "creating", b"never pushed"),
    ):
        old.put(folder, time_us, data)
    return old


@pytest.fixture
def seen(old: Directory) -> Iterator[Queue]:
    """The queue that comes of it."""
    with Glassq(url_of(old.root)) as app:
        yield app.queue(QUEUE)


def drained(root: Path) -> list[bytes]:
    """The tasks that are there, each taken and done."""
    queue, tasks = FemtoQueue(root, "reader"), []
    while task := queue.pop():
        tasks.append(task.data)
        queue.done(task)
    return tasks


def test_everything_comes_along(old: Directory, seen: Queue, glass: Glass) -> None:
    """Pending and begun by their time, the overdue behind them, the later one scheduled, the failed one a
    dead letter; the files are kept, and what is done or never was pushed stays."""
    told = glass("import-femtoqueue", str(old.root))
    assert (told.code, told.err.count("\n")) == (0, 1)
    assert told.out.startswith("7 tasks moved into queue femtoqueue of sqlite:///")
    assert "2 pending, 2 in progress, 2 scheduled, 1 failed" in told.out
    assert "1 file in creating, whose push never returned" in told.out
    assert told.audit[0].endswith('result="7 moved, 0 left"')
    assert [letter.reason for letter in seen.dead_letters()] == ["exception"]
    assert seen.stats().scheduled == 1
    assert drained(old.root) == [b"first", b"second", b"third", b"fourth", b"overdue"]
    assert old.files("pending", "worker1", "worker2", "scheduled", "failed") == []
    assert old.files("done", "creating") == ["creating/1200", "done/50"]
    kept = [path for path in (old.root / "imported").rglob("*") if path.is_file()]
    assert len(kept) == 7


def test_again_is_nothing_more(old: Directory, glass: Glass) -> None:
    """A second run finds nothing to move."""
    glass("import-femtoqueue", str(old.root))
    told = glass("import-femtoqueue", str(old.root), "--json")
    assert told.code == 0
    assert {told.json[name] for name in ("pending", "in_progress", "scheduled", "failed")} == {0}
    assert len(drained(old.root)) == 5


def test_damaged_files_are_named_and_stay(old: Directory, glass: Glass) -> None:
    """Cut off, of another version, no task at all, too large, of no time: the rest is moved; exit code 1."""
    old.put("pending", 2001, b"cut off", whole=False)
    old.put("worker1", 2002, b"x").write_bytes(b"\x07" + bytes(40))
    old.put("scheduled", 2003, b"x").write_bytes(b"")
    old.put("failed", 2004, b"cut off too", whole=False)
    old.put("pending", 2005, bytes(1 << 20))
    old.put("scheduled", 10**30, b"some day")
    told = glass("import-femtoqueue", str(old.root))
    assert told.code == 1
    assert "7 tasks moved" in told.out
    for folder, why in (
        ("pending/2001_", "its checksum does not match"),
        ("worker1/2002_", "it claims to be of version 7"),
        ("scheduled/2003_", "0 bytes are no task"),
        ("failed/2004_", "its checksum does not match"),
        ("pending/2005_", "1048576 bytes, the limit is"),
        (f"scheduled/{10**30}_", "is a whole number of microseconds"),
    ):
        line = next(line for line in told.err.splitlines() if folder in line)
        assert line.startswith("left where it is: ")
        assert why in line
    left = ["failed/2004", "pending/2001", "pending/2005", f"scheduled/{10**30}", "scheduled/2003"]
    assert old.files("pending", "worker1", "scheduled", "failed") == [*left, "worker1/2002"]


@pytest.mark.parametrize("stopped_at", range(0, 30, 3))
def test_a_run_that_is_stopped_is_repeated_without_doubling(
    old: Directory, seen: Queue, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    """Stopped before some call of the store or file put aside, then run again: each task once, in order."""
    for number in range(250):
        old.put("pending", 10_000 + number, f"many {number}".encode())
        old.put("failed", 10_000 + number, f"failed {number}".encode())
    steps = iter(range(stopped_at))

    class Stopped(BaseException):
        """As a kill would."""

    def stopping(real: Any) -> Any:
        def step(*args: Any, **options: Any) -> Any:
            if next(steps, None) is None:
                raise Stopped
            return real(*args, **options)

        return step

    monkeypatch.setattr(femtomoving, "_put_aside", _every(25, stopping, femtomoving._put_aside))
    storage = open_storage(url_of(old.root))
    for verb in ("append", "claim", "settle", "release"):
        monkeypatch.setattr(storage, verb, stopping(getattr(storage, verb)))
    with pytest.raises(Stopped):
        femtomoving.move(storage, old.root, QUEUE)
    monkeypatch.undo()
    storage.close()
    with closing(open_storage(url_of(old.root))) as again:
        femtomoving.move(again, old.root, QUEUE)
    tasks = drained(old.root)
    assert len(tasks) == len(set(tasks)) == 255
    assert [task for task in tasks if task.startswith(b"many")] == [
        f"many {number}".encode() for number in range(250)
    ]
    assert len(seen.dead_letters(limit=1000)) == 251
    assert seen.stats().scheduled == 1


def _every(count: int, stopping: Any, real: Any) -> Any:
    """Only every so many calls are steps."""
    calls, step = itertools.count(1), stopping(real)

    def call(file: TaskFile) -> None:
        (real if next(calls) % count else step)(file)

    return call


def test_killed_and_run_again(tmp_path: Path) -> None:
    """The real command, killed three times in the middle: each of 3,000 tasks comes once, in order."""
    old = Directory(tmp_path / "fq")
    for number in range(3000):
        old.put("pending", 1_000_000 + number, str(number).encode())
    command = [sys.executable, "-m", "glassq", "import-femtoqueue", str(old.root)]
    for left in (2500, 1500, 500):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(old.files("pending")) > left and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        run.wait()
    subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert drained(old.root) == [str(number).encode() for number in range(3000)]


def test_two_files_of_one_name_are_two_tasks(old: Directory, glass: Glass) -> None:
    """Names of files repeat: one that came after an import is no duplicate of one before."""
    glass("import-femtoqueue", str(old.root))
    old.put("pending", 1000, b"third again")
    assert glass("import-femtoqueue", str(old.root)).out.startswith("1 task moved")
    assert drained(old.root)[-2:] == [b"overdue", b"third again"]
    assert len(list((old.root / "imported" / "pending").iterdir())) == 3


def test_a_node_may_be_called_as_the_folder_of_what_was_moved(old: Directory, glass: Glass) -> None:
    """What it had begun comes along, and what was put aside there does not come again."""
    glass("import-femtoqueue", str(old.root))
    old.put("imported", 3000, b"begun")
    assert "1 in progress" in glass("import-femtoqueue", str(old.root)).out
    assert b"begun" in drained(old.root)


def test_into_the_store_of_another_directory(old: Directory, tmp_path: Path, glass: Glass) -> None:
    """`--url` names it; the queue there goes on."""
    other = FemtoQueue(tmp_path / "new", "node1")
    other.push(b"was there")
    told = glass("import-femtoqueue", str(old.root), "--url", url_of(tmp_path / "new"))
    assert told.code == 0
    assert drained(tmp_path / "new")[:2] == [b"was there", b"first"]
    assert not (old.root / "glassq.db").exists()


def test_into_redis(old: Directory, redis_url: str, glass: Glass) -> None:
    """Any store will do, for programs that leave `FemtoQueue` behind."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert glass("import-femtoqueue", str(old.root), "--url", redis_url).code == 0
    with Glassq(redis_url) as app:
        stats = app.queue(QUEUE).stats()
    # The overdue one is not scheduled any more: there it would have been pending at the next look.
    assert (stats.ready, stats.scheduled, stats.dead_letters) == (5, 1, 1)


def test_the_commands_of_the_dead_letters_work_on_it(old: Directory, glass: Glass) -> None:
    """As the how-to page says: listed, and brought back, after which it is a task like any other."""
    glass("import-femtoqueue", str(old.root))
    listed = glass("dead", "list", QUEUE, "--url", url_of(old.root), "--json").json
    assert [(letter["task"], letter["reason"]) for letter in listed] == [("femtoqueue", "exception")]
    assert glass("dead", "replay", QUEUE, "--url", url_of(old.root)).code == 0
    assert b"failed" in drained(old.root)


def test_what_is_no_directory_of_femtoqueue_is_said_so(tmp_path: Path, glass: Glass) -> None:
    """A slip of the pen makes no store."""
    told = glass("import-femtoqueue", str(tmp_path))
    assert told.code == 2
    assert "is no directory of femtoqueue: it has no folder pending" in told.err
    assert list(tmp_path.iterdir()) == []
    assert glass("import-femtoqueue", str(tmp_path / "absent")).code == 2
