"""What can happen to the disk under a SQLite file: it fills, cannot be written, its bytes change or go."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.codec import Envelope, open_envelope
from glassq.errors import CorruptRecord, FormatMismatch, GlassqError, StorageError
from glassq.model.leases import Leaving, Owner, Settlement
from glassq.model.verdicts import Action
from glassq.storage import Storage
from glassq.stores.open import open_storage
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage

CRAMPED = "tests.chaos.cramped"
NOBODY = 65534
_PAGE = 4096


# -- a disk that is full -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MiB, where this machine lets us mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, stages: Stages, sizes: Sizes, figures: Figures) -> None:
    """While there is no free block, calls are refused whole and say so, and what is queued is settled to the
    end; once there is room, calls are taken again. Nothing acknowledged is lost, nothing refused runs."""
    stage = stages(f"sqlite:///{small_disk}/jobs.db", CHAOS_LEASE="15")
    for index in range(2):
        stage.producer(f"p{index}")
    for _ in range(2):
        stage.worker()
    for _ in range(sizes.pick(3, 30)):
        stage.wait_for_more("settle.ok", 100)
        with filled(small_disk):
            stage.wait_for_more("refused", 3)
            stage.wait_for(lambda: depth(stage) == 0, "everything queued to be settled on a full disk")
        figures.count(fillings=1)
    stage.wait_for_more("settle.ok", 50)
    stage.check_history()
    errors = {event["error"] for event in stage.events("refused")}
    assert errors == {"StorageUnavailable"}
    assert not stage.events("enqueue.unknown")


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """No free block left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


def test_a_producer_that_may_write_no_more(stages: Stages, sqlite_url: str, sizes: Sizes) -> None:
    """A process that has used up the size its files may have (RLIMIT_FSIZE): its calls are refused whole,
    those of others are not, workers go on, and so does it once its limit is raised."""
    stage = stages(sqlite_url, CHAOS_LEASE="15")
    stage.producer("free", sizes.pick(300, 3000))
    stage.worker()
    pids = set()
    for _ in range(sizes.pick(1, 10)):  # each anew, as the limit is on its history, too
        cramped = stage.start("cramped", "3", module=CRAMPED)
        assert cramped.wait(120) == 0
        pids.add(cramped.pid)
    stage.check_history()
    refused = {(event["pid"] in pids, event["error"]) for event in stage.events("refused")}
    assert refused - {(False, "QueueFull")} == {(True, "StorageUnavailable")}, "others only wait for room"
    assert len(stage.events("raised")) == 3 * len(pids)
    assert pids <= {event["pid"] for event in stage.events("enqueue.ok")}
    assert not stage.events("enqueue.unknown")


# -- a file that is not ours to write ------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="working as somebody else needs root")
@pytest.mark.parametrize("wrong", ["owner", "file", "folder"])
def test_no_right_to_write(wrong: str) -> None:
    """Somebody else's file, a read-only file and a read-only folder: refused in one sentence that says what
    is wrong; what is in the file is still there for who has the right."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "jobs.db"
        app = Glassq(f"sqlite:///{path}", registry=CollectorRegistry())
        receipt = app.fifo("q", name="task")(lambda: None)()
        app.close()
        for each in (folder, *folder.iterdir()):
            os.chown(each, NOBODY, NOBODY)
        if wrong == "owner":
            os.chown(path, 0, 0)
            path.chmod(0o666)
        else:
            (path if wrong == "file" else folder).chmod(0o444 if wrong == "file" else 0o555)
        kind, text = as_nobody(path)
        assert str(path) in text
        assert "Traceback" not in text
        expected = {"owner": "belongs to another user", "file": "read-only", "folder": "read-only"}[wrong]
        assert (kind, expected in text) == (
            "ConfigurationError" if wrong == "owner" else "StorageUnavailable",
            True,
        ), text
        folder.chmod(0o700)
        for each in (folder, *folder.iterdir()):
            os.chown(each, 0, 0)
        path.chmod(0o600)
        with closing(open_storage(f"sqlite:///{path}")) as storage:
            assert [record.job.id for record in storage.waiting("q", 5)] == [receipt.id]


_AS_NOBODY = """
import os, sys
from glassq.errors import GlassqError
from glassq.model.jobs import NewJob
from glassq.stores.open import open_storage
import glassq.stores.sqlite.store
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    open_storage(sys.argv[1]).append("q", [NewJob(body=b"x")])
except GlassqError as error:
    print(type(error).__name__, error, sep="\\n")
"""


def as_nobody(path: Path) -> tuple[str, str]:
    """The kind of error an unprivileged process gets when it enqueues, and its text."""
    command = [sys.executable, "-c", _AS_NOBODY, f"sqlite:///{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    kind, _, text = done.stdout.partition("\n")
    return kind, text


# -- bytes that change or go ---------------------------------------------------------------------------------


def expected_args(number: int) -> str:
    """An argument that tells by itself whether it is the one that was given."""
    text = f"{number}:" + "payload " * (number % 40)
    return f"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()} {text}"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A closed file with 120 jobs in seven lanes, some of them scheduled, some buried."""
    path = tmp_path / "original" / "jobs.db"
    with Glassq(f"sqlite:///{path}", registry=CollectorRegistry()) as app:
        bad = app.fifo("q", key="key", name="bad", max_retries=0)(_fail)
        good = app.fifo("q", key="key", name="good")(_fail)
        for number in range(10):
            bad(f"k{number % 7}", expected_args(number))
        assert app.worker().run_until_idle(timeout=30)
        for number in range(10, 120):
            call = good.options(delay=0.001) if number % 11 == 0 else good
            call(f"k{number % 7}", expected_args(number))
    return path


def _fail(key: str, text: str) -> None:
    raise ValueError(key)


def test_flipped_bits(original: Path, tmp_path: Path, chance: Random, sizes: Sizes, figures: Figures) -> None:
    """One to three bits of the file flip: each job that can be had is one that was enqueued, with its
    arguments; everything else is refused with an error that says so. No wrong argument, no other error."""
    data = original.read_bytes()
    outcomes: Counter[str] = Counter()
    for number in range(sizes.pick(150, 5000)):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(damaged))
            damaged[place] ^= 1 << chance.randrange(8)
        outcomes[f"flips_{judged(tmp_path / str(number), bytes(damaged), figures)}"] += 1
    figures.count(**outcomes)
    assert outcomes["flips_reported"], "no flip was ever noticed: what is tested here?"


def test_a_truncated_file(
    original: Path, tmp_path: Path, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """The end of the file is missing: that is noticed and said, wherever it was cut."""
    data = original.read_bytes()
    for number in range(sizes.pick(60, 2000)):
        at = chance.choice((chance.randrange(1, len(data)), chance.randrange(1, len(data) // _PAGE) * _PAGE))
        outcome = judged(tmp_path / str(number), data[:at], figures)
        assert outcome == "reported", f"cut at {at} of {len(data)} bytes and nothing was said"
    figures.count(truncations=sizes.pick(60, 2000))


def judged(folder: Path, data: bytes, figures: Figures) -> str:
    """Use a damaged copy as a worker would; whether its damage was `reported` or `unnoticed`."""
    folder.mkdir()
    path = folder / "jobs.db"
    path.write_bytes(data)
    path.chmod(0o600)
    errors: list[GlassqError] = []
    try:
        with closing(open_storage(f"sqlite:///{path}")) as storage:
            look_at_everything(storage, errors)
            run_everything(storage, errors)
    except GlassqError as error:
        errors.append(error)
    shutil.rmtree(folder)
    for told in errors:
        assert isinstance(told, StorageError | FormatMismatch) or "another program" in str(told), told
        figures.count(**{type(told).__name__: 1})
    return "reported" if errors else "unnoticed"


def look_at_everything(storage: Storage, errors: list[GlassqError]) -> None:
    """Every view there is."""
    for look in (
        storage.queues,
        lambda: storage.stats(["q"]),
        lambda: [check_body(record.job.body, errors) for record in storage.waiting("q", 500)],
        lambda: [check_body(record.job.body, errors) for record in storage.dead("q", 500)],
        lambda: storage.halted("q", 500),
    ):
        try:
            look()
        except StorageError as error:
            errors.append(error)


def run_everything(storage: Storage, errors: list[GlassqError]) -> None:
    """Claim and settle until there is nothing more, or an error."""
    owner = Owner("node", "incarnation")
    for _ in range(300):
        grants = storage.claim(owner, ["q"], lanes=2, window=4, lease_seconds=15).grants
        if not grants:
            return
        for grant in grants:
            check_body(grant.jobs[0].body, errors)
            done = Settlement(
                lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, leaving=Leaving.YIELD
            )
            storage.settle(owner, [done])
    raise AssertionError("a damaged file gives the same jobs again and again")


def check_body(body: bytes, errors: list[GlassqError]) -> Envelope | None:
    """A body is what was enqueued, or an error."""
    try:
        envelope = open_envelope(body)
    except (CorruptRecord, FormatMismatch) as error:
        errors.append(error)
        return None
    assert envelope.task in ("good", "bad")
    digest, _, text = envelope.payload.decode().partition('","')[2].partition('"')[0].partition(" ")
    assert hashlib.blake2b(text.encode(), digest_size=8).hexdigest() == digest, "a wrong argument"
    return envelope


# -- power that fails ----------------------------------------------------------------------------------------


def test_a_write_ahead_log_that_was_cut(
    tmp_path: Path, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """The power fails: of the log only a beginning has reached the disk, or its last bytes are noise. What is
    there is a prefix of what was acknowledged, each job as it was, and the file takes new ones."""
    path = tmp_path / "jobs.db"
    app = Glassq(f"sqlite:///{path}", registry=CollectorRegistry())
    task = app.fifo("q", name="good")(_fail)
    ids = [task("k", expected_args(number)).id for number in range(60)]
    database, log = path.read_bytes(), path.with_name("jobs.db-wal").read_bytes()
    app.close()
    left: Counter[int] = Counter()
    for number in range(sizes.pick(60, 5000)):
        cut = bytearray(log[: chance.randrange(len(log) + 1)])
        if cut and number % 3 == 0:
            for place in range(max(0, len(cut) - 600), len(cut)):
                cut[place] = chance.randrange(256)
        found = after_power_loss(tmp_path / str(number), database, bytes(cut))
        assert found == ids[: len(found)], "not a prefix"
        left[len(found)] += 1
    figures.count(power_losses=sum(left.values()), prefixes=len(left))
    assert len(left) > 10, "the cuts did not reach into the jobs"


def after_power_loss(folder: Path, database: bytes, log: bytes) -> list[str]:
    """The jobs a fresh process finds, having checked their arguments and added one behind them."""
    folder.mkdir()
    path = folder / "jobs.db"
    path.write_bytes(database)
    path.with_name("jobs.db-wal").write_bytes(log)
    path.chmod(0o600)
    errors: list[GlassqError] = []
    with Glassq(f"sqlite:///{path}", registry=CollectorRegistry()) as app:
        found = app.storage.waiting("q", 100)
        for record in found:
            check_body(record.job.body, errors)
        receipt = app.fifo("q", name="good")(_fail)("k", expected_args(1))
        assert [record.job.id for record in app.storage.waiting("q", 100)][-1] == receipt.id
    shutil.rmtree(folder)
    assert not errors
    return [record.job.id for record in found]


def depth(stage: Stage) -> int:
    """Jobs that are not settled and could be."""
    with closing(open_storage(stage.url)) as storage:
        return sum(stats.depth for stats in storage.stats(storage.queues()))
