"""The SQLite store and the file system: what it makes, what it refuses, what it survives."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from glassq.errors import BadOption, ConfigurationError, CorruptRecord, FormatMismatch, StorageUnavailable
from glassq.model.jobs import NewJob
from glassq.model.leases import Lease, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.storage import Storage
from glassq.stores.open import open_storage
from glassq.stores.sqlite import bells, disk, doorbell
from glassq.stores.sqlite.bells import Bell, Ringers
from glassq.stores.sqlite.format import FORMAT

JOB = NewJob(body=b"body")


def url(path: Path) -> str:
    """The URL of a file."""
    return f"sqlite:///{path}"


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "wrong",
    [
        "jobs.db",
        "sqlite:/jobs.db",
        "sqlite://jobs.db",
        "sqlite:///",
        "mysql://h/db",
        "sqlite:///a.db?sync=full",
    ],
)
def test_a_wrong_url_is_refused_with_a_right_one(wrong: str) -> None:
    """A URL that names no store is refused before anything is made, and the message helps."""
    with pytest.raises(BadOption) as refused:
        open_storage(wrong)
    assert "sqlite:///jobs.db" in str(refused.value) or "option of a SQLite URL" in str(refused.value)


def test_what_it_makes_is_private(tmp_path: Path) -> None:
    """Files are 0600 and directories 0700, whatever the umask says."""
    before = os.umask(0)
    try:
        storage = open_storage(url(tmp_path / "deep" / "er" / "jobs.db"))
        doorbell = storage.listen(Owner("n", "i"), ["q"])
        storage.append("q", [JOB])
    finally:
        os.umask(before)
    files = list((tmp_path / "deep" / "er").iterdir())
    assert {path.suffix for path in files} >= {".db", ".db-wal"}
    assert any("-bell-" in path.name for path in files)
    assert {mode(path) for path in files} == {0o600}
    assert mode(tmp_path / "deep") == mode(tmp_path / "deep" / "er") == 0o700
    doorbell.close()
    storage.close()


def test_links_foreign_and_odd_files_are_refused(tmp_path: Path) -> None:
    """A link, a directory and a file of another user are not opened."""
    real = tmp_path / "real.db"
    real.touch()
    (tmp_path / "link.db").symlink_to(real)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        open_storage(url(tmp_path / "link.db"))
    (tmp_path / "folder.db").mkdir()
    with pytest.raises((ConfigurationError, StorageUnavailable)):
        open_storage(url(tmp_path / "folder.db"))
    if os.geteuid() == 0:
        os.chown(real, 12345, 12345)
        with pytest.raises(ConfigurationError, match="another user"):
            open_storage(url(real))


def test_a_read_only_file_is_refused_at_once(tmp_path: Path) -> None:
    """A file nobody may write is reported when it is opened, not at the first job."""
    path = tmp_path / "jobs.db"
    open_storage(url(path)).close()
    path.chmod(0o400)
    with pytest.raises(StorageUnavailable, match="read-only") as refused:
        open_storage(url(path))
    assert refused.value.reason == "readonly"


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    """A file of a later format is not touched, and both versions are named."""
    path = tmp_path / "jobs.db"
    open_storage(url(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    with pytest.raises(FormatMismatch, match=f"version {FORMAT + 1}.*reads {FORMAT}"):
        open_storage(url(path))


def test_an_older_file_is_refused(tmp_path: Path) -> None:
    """A file of an earlier format is not touched either; the way out is another one."""
    path = tmp_path / "jobs.db"
    open_storage(url(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT - 1}")
    with pytest.raises(FormatMismatch, match="empty it with the glassq that wrote it"):
        open_storage(url(path))


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A SQLite file with tables that are not ours is left alone."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(ConfigurationError, match="another program's database"):
        open_storage(url(path))


def test_damage_is_reported_with_the_way_to_recover(tmp_path: Path) -> None:
    """Bytes that are not a database raise an error that names the recovery; nothing is overwritten."""
    path = tmp_path / "jobs.db"
    path.write_bytes(b"not a database at all, but long enough to have a header of its own" * 100)
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(CorruptRecord, match=r"\.recover"):
        open_storage(url(path))
    assert path.read_bytes() == before


def test_a_damaged_page_stops_the_verb_that_meets_it(tmp_path: Path) -> None:
    """Damage inside the file is never skipped: the read raises."""
    path = tmp_path / "jobs.db"
    storage = open_storage(url(path))
    storage.append("q", [NewJob(body=b"x" * 3000, lane=str(n)) for n in range(50)])
    storage.close()
    with path.open("r+b") as file:
        for page in range(8, 60):
            file.seek(page * 4096)
            file.write(b"\xff" * 2000)
    with pytest.raises(CorruptRecord), closing(open_storage(url(path))) as damaged:
        damaged.waiting("q", 100)


def test_a_value_that_was_never_written_is_damage(tmp_path: Path) -> None:
    """SQLite sees nothing wrong in a changed column; the verb that meets it says that the file is damaged,
    and leaves no half of itself behind."""
    path = tmp_path / "jobs.db"
    with closing(open_storage(url(path))) as storage:
        storage.append("q", [JOB])
        with closing(sqlite3.connect(path)) as other:
            other.execute("UPDATE lanes SET cause = 'raady'")
            other.commit()
        with pytest.raises(CorruptRecord, match=r"'raady' .*\.recover"):
            storage.claim(Owner("n", "i"), ["q"], lanes=1, window=1, lease_seconds=15)
        assert storage.stats(["q"])[0].ready == 1


def test_a_body_that_is_none_is_damage(tmp_path: Path) -> None:
    """A flipped bit in a record's header makes NULL of a column that is never NULL: no claim, no view and no
    replay passes that on as a job."""
    path = tmp_path / "jobs.db"
    with closing(open_storage(url(path))) as storage:
        job = storage.append("q", [JOB])[0].id
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA writable_schema = ON")
            other.execute("UPDATE sqlite_schema SET sql = replace(sql, 'BLOB    NOT NULL', 'BLOB')")
            other.commit()
        with closing(sqlite3.connect(path)) as other:
            other.execute("UPDATE jobs SET body = NULL")
            other.commit()
        for look in (
            lambda: storage.claim(Owner("n", "i"), ["q"], lanes=1, window=1, lease_seconds=15),
            lambda: storage.waiting("q", 10),
            lambda: storage.get(job),
        ):
            with pytest.raises(CorruptRecord, match=r"NoneType, not bytes.*\.recover"):
                look()


def test_a_full_disk_refuses_appends_whole_and_lets_settlements_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the reserve nothing is enqueued; what is queued already can still be settled."""
    storage = open_storage(url(tmp_path / "jobs.db"))
    owner = Owner("n", "i")
    storage.listen(owner, ["q"])
    storage.append("q", [JOB])
    monkeypatch.setattr(disk, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(StorageUnavailable, match="nothing was enqueued") as refused:
        storage.append("q", [JOB])
    assert refused.value.reason == "enospc"
    grant = storage.claim(owner, ["q"], lanes=1, window=1, lease_seconds=15).grants[0]
    done = storage.settle(owner, [Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK)])
    assert done[0].status is SettleStatus.DONE
    assert storage.stats(["q"])[0].depth == 0
    storage.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_settlements_go_on_when_the_disk_is_really_full(tmp_path: Path) -> None:
    """With not one free block left, the ballast is given up and the settlement is committed."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    try:
        storage = open_storage(url(small / "jobs.db"))
        owner = Owner("n", "i")
        doorbell = storage.listen(owner, ["q"])
        storage.append("q", [NewJob(body=b"x" * 2000, lane=str(n)) for n in range(100)])
        assert (small / "jobs.db-ballast").stat().st_size == disk.BALLAST_BYTES
        # Unbuffered, so that nothing is left to be written when it is closed.
        with (small / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(b"\0" * 65536)
        settled = 0
        for _ in range(100):
            claimed = _claim_one(storage, owner)
            if claimed is None:
                break
            lease, job = claimed
            answer = storage.settle(owner, [Settlement(lease=lease, job_id=job, action=Action.ACK)])
            settled += answer[0].status is SettleStatus.DONE
        assert settled == 100
        assert not (small / "jobs.db-ballast").exists()
        doorbell.close()
        storage.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def _claim_one(storage: Storage, owner: Owner) -> tuple[Lease, str] | None:
    grants = storage.claim(owner, ["q"], lanes=1, window=1, lease_seconds=15).grants
    return (grants[0].lease, grants[0].jobs[0].id) if grants else None


def test_a_store_survives_a_fork_on_both_sides(tmp_path: Path) -> None:
    """Parent and child go on appending, each through its own connections and under its own producer name,
    also in a program that could not open another file and has kept what that raised."""
    (tmp_path / "other.db").write_bytes(b"not a database, but long enough to have a header" * 100)
    with pytest.raises(CorruptRecord) as kept:
        open_storage(url(tmp_path / "other.db"))
    storage = open_storage(url(tmp_path / "jobs.db"))
    first = storage.append("q", [JOB])[0]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            storage.append("q", [JOB] * 3)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    last = storage.append("q", [JOB])[0]
    assert (first.seq, last.seq) == (1, 5)
    producers = {record.job.id.rpartition(":")[0] for record in storage.waiting("q", 10)}
    assert len(producers) == 2
    assert kept.value.__traceback__ is not None
    storage.close()


def test_a_fork_waits_for_no_other_threads_transaction(tmp_path: Path) -> None:
    """Forking while other threads write gives a child whose store works: no lock is inherited locked."""
    storage = open_storage(url(tmp_path / "jobs.db"))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            storage.append("q", [JOB])

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        # A process of its own: forking a process with threads is what is tested, not what pytest should do.
        program = (
            "import os, sys, threading, warnings; warnings.simplefilter('ignore')\n"
            "from glassq.stores.open import open_storage; from glassq.model.jobs import NewJob\n"
            f"s = open_storage({url(tmp_path / 'jobs.db')!r}); stop = threading.Event()\n"
            "def w():\n  while not stop.is_set(): s.append('q', [NewJob(body=b'x')])\n"
            "ts = [threading.Thread(target=w) for _ in range(3)]; [t.start() for t in ts]\n"
            "codes = []\n"
            "for _ in range(20):\n"
            "  pid = os.fork()\n"
            "  if pid == 0:\n"
            "    s.append('q', [NewJob(body=b'child')]); os._exit(7)\n"
            "  codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
            "stop.set(); [t.join() for t in ts]; sys.exit(codes != [7] * 20)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert done.returncode == 0
    stats = storage.stats(["q"])[0]
    assert stats.ready == stats.enqueued == len(storage.waiting("q", 10**6))
    storage.close()


def test_forking_while_others_ring_gives_a_child_that_works(tmp_path: Path) -> None:
    """A bell that is being rung at the moment of the fork locks nothing in the child."""
    program = (
        "import os, sys, threading, warnings; warnings.simplefilter('ignore')\n"
        "from glassq.stores.open import open_storage\n"
        "from glassq.model.jobs import NewJob; from glassq.model.leases import Owner\n"
        f"s = open_storage({url(tmp_path / 'jobs.db')!r}); bell = s.listen(Owner('n', 'i'), ['q'])\n"
        "stop = threading.Event()\n"
        "def ring():\n  while not stop.is_set(): bell.ring()\n"
        "threads = [threading.Thread(target=ring) for _ in range(2)]; [t.start() for t in threads]\n"
        "codes = []\n"
        "for _ in range(50):\n"
        "  pid = os.fork()\n"
        "  if pid == 0:\n"
        "    s.append('q', [NewJob(body=b'child')]); os._exit(7)\n"
        "  codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "stop.set(); [t.join() for t in threads]; bell.close(); sys.exit(codes != [7] * 50)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_an_interrupt_while_waiting_for_the_file_leaves_it_unlocked(tmp_path: Path) -> None:
    """An exception that a signal raises right after the wait for the lock does not keep the lock."""
    storage = open_storage(url(tmp_path / "jobs.db"))
    storage.append("q", [JOB])
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    release = threading.Timer(0.3, lambda: other.execute("ROLLBACK"))
    release.start()
    signal.setitimer(signal.ITIMER_REAL, 0.1)  # arrives during the wait, is delivered when it is over
    try:
        with pytest.raises(KeyboardInterrupt):
            storage.append("q", [JOB])
    finally:
        signal.signal(signal.SIGALRM, before)
        release.join()
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    other.close()
    assert storage.append("q", [JOB])[0].seq == 2
    storage.close()


def test_a_signal_handler_may_ring_and_append(tmp_path: Path) -> None:
    """Whatever its own thread does in the store then, nothing waits for itself; an append in the middle of
    another is refused instead of becoming part of it."""
    storage = open_storage(url(tmp_path / "jobs.db"))
    bell = storage.listen(Owner("n", "i"), ["q"])
    refused: list[str] = []
    done: list[int] = []

    def append() -> None:
        try:
            done.append(storage.append("q", [JOB])[0].seq or 0)
        except StorageUnavailable as error:
            refused.append(str(error))

    def handle(*_: object) -> None:
        bell.ring()
        append()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(500):
            append()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all("signal handler" in each for each in refused), refused
    assert sorted(done) == list(range(1, len(done) + 1))
    assert storage.stats(["q"])[0].ready == len(done)
    bell.close()
    storage.close()


def test_a_bell_tells_of_the_death_of_its_process(tmp_path: Path) -> None:
    """Whoever watches a bell learns that its reader was killed, and nothing of one that merely sleeps."""
    program = (
        "import sys, time; from pathlib import Path; from glassq.stores.sqlite.bells import Bell\n"
        f"bell = Bell(Path({str(tmp_path / 'jobs.db')!r})); print(bell.name, flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    name = other.stdout.readline().strip()
    ringers, own = Ringers(tmp_path), Bell(tmp_path / "jobs.db")
    end = ringers.end(name)
    assert end is not None
    assert ringers.alive(name)
    assert own.wait(0.05, {name: end}) == (False, set())
    other.kill()
    other.wait()
    other.stdout.close()
    assert own.wait(5, {name: end}) == (False, {name})
    assert not ringers.alive(name)
    own.close()


def test_a_ring_before_the_wait_is_not_lost(tmp_path: Path) -> None:
    """A ring is heard by the next wait; the one after that waits again."""
    bell = Bell(tmp_path / "jobs.db")
    bell.ring()
    assert bell.wait(5, {})[0]
    assert not bell.wait(0, {})[0]
    bell.close()
    bell.ring()  # after closing it is silent, not an error


def test_where_nobody_can_ring_a_worker_looks_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without FIFOs: now and then its wait ends as if something had rung."""
    monkeypatch.setattr(bells, "_made_fifo", lambda _: False)
    monkeypatch.setattr(doorbell, "_LOOK", 0.02)
    storage, other = open_storage(url(tmp_path / "jobs.db")), open_storage(url(tmp_path / "jobs.db"))
    bell = storage.listen(Owner("n", "i"), ["q"])
    while bell.wait(0):  # listening rings here
        pass
    assert not bell.wait(0.01)
    other.append("q", [JOB])
    assert bell.wait(60)
    bell.close()
    storage.close()
    other.close()


def test_in_memory_works_for_one_process() -> None:
    """`sqlite://` keeps jobs for as long as the store is open, with a doorbell."""
    storage = open_storage("sqlite://")
    owner = Owner("n", "i")
    doorbell = storage.listen(owner, ["q"])
    storage.append("q", [JOB])
    assert doorbell.wait(5)
    assert len(storage.claim(owner, ["q"], lanes=1, window=1, lease_seconds=15).grants) == 1
    doorbell.close()
    storage.close()


_OPENERS = """
import os, sys, time
from glassq.stores.open import open_storage

for number in range(20):
    begin = time.monotonic() + 0.03
    openers = []
    for _ in range(6):
        openers.append(os.fork())
        if openers[-1] == 0:
            while time.monotonic() < begin:
                pass
            open_storage(f"sqlite:///{sys.argv[1]}/{number}.db").stats(["orders"])
            os._exit(0)
    assert [os.waitpid(each, 0)[1] for each in openers] == [0] * 6
"""


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    """A producer and its workers are started together; one of them makes the file, and the others wait."""
    ended = subprocess.run(
        [sys.executable, "-c", _OPENERS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
