"""A store that lost what it had acknowledged is found out and told of; else nothing is told."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry

from glassq import Glassq, current_job
from glassq.model.events import DataLossDetected, LaneClaimed, LaneLost, WriteFenced
from glassq.model.jobs import NewJob
from glassq.model.leases import Owner, Renewed
from glassq.worker.engine import Worker
from tests.conformance.redisservers import bundled_server, free_port, running, system_server
from tests.processes import wait_until

QUEUE = "orders"
AOF = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
PATIENCE = 30


class Party:
    """One application as another process would be: its own handle, its own metrics, what it was told."""

    def __init__(self, url: str) -> None:
        self.app = Glassq(url, lease_seconds=1, registry=CollectorRegistry(auto_describe=True))
        self.losses: list[DataLossDetected] = []
        self.told = threading.Event()
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()
        self.tokens: list[int] = []
        self.ran: list[int] = []
        self.app.bus.subscribe(self._lost, DataLossDetected)
        self.handle = self.app.fifo(QUEUE, name="handle", max_retries=0)(self._handle)

    def _lost(self, event: DataLossDetected) -> None:
        self.losses.append(event)
        self.told.set()

    def _handle(self, number: int) -> None:
        job = current_job()
        self.tokens.append(job.token)
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        self.ran.append(number)
        if number < 0:
            raise ValueError(number)

    def enqueue(self, count: int) -> list[int | None]:
        """The seqs of so many new jobs."""
        return [self.handle(number).seq for number in range(count)]

    def worker(self) -> Worker:
        """A worker, to be entered."""
        return self.app.worker([QUEUE])

    def counted(self) -> float | None:
        """What `/metrics` says."""
        labels = {"queue": QUEUE}
        return self.app.metrics_registry.get_sample_value("glassq_data_loss_detected_total", labels)


@contextmanager
def parties(url: str, count: int) -> Iterator[list[Party]]:
    """So many applications on one store."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            party = Party(url)
            stack.callback(party.app.close)
            found.append(party)
        yield found


@pytest.fixture
def port() -> int:
    """Where the server of a test is, through all its restarts."""
    return free_port()


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what another thread causes."""
    wait_until(condition, what, str, PATIENCE)


def log_of(folder: Path) -> Path:
    """The file commands are appended to (Redis 7 has a folder of them)."""
    [found] = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]
    return found


# -- losses ------------------------------------------------------------------------------------------------


def test_flushall_is_told_by_everybody_and_survived(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A producer, a worker in the middle of a job and one that only idles tell it, each once; the running
    job's settlement is refused, and what is enqueued afterwards runs under a newer token."""
    fenced: list[WriteFenced | LaneLost] = []
    with (
        running(system_server(), tmp_path, port=port) as url,
        redis.Redis(port=port) as admin,
        parties(url, 4) as (producer, busy, idle, stranger),
        caplog.at_level(logging.ERROR, "glassq.stores"),
    ):
        busy.app.bus.subscribe(fenced.append, WriteFenced, LaneLost)
        busy.may_end.clear()
        producer.enqueue(5)
        with busy.worker():
            assert busy.begun.wait(PATIENCE)
            with idle.worker():
                admin.flushall()
                assert idle.told.wait(PATIENCE)
                assert producer.enqueue(3) == [1, 2, 3]
                busy.may_end.set()
                assert busy.told.wait(PATIENCE)
                until(lambda: len(busy.ran + idle.ran) == 4, "the new jobs to run")
                until(lambda: producer.app.storage.stats([QUEUE])[0].depth == 0, "them to be settled")
        assert stranger.enqueue(1) == [4]
        for party in (producer, busy, idle):
            assert [(loss.kind, loss.queue) for loss in party.losses] == [("emptied", QUEUE)]
            assert party.counted() == 1.0
        assert producer.losses[0].missing == 5
        assert stranger.losses == []
        assert stranger.counted() == 0.0
        assert fenced
        lost, *later = busy.tokens
        assert all(token > lost for token in later + idle.tokens)
    assert sum("lost data of queue orders (emptied)" in record.getMessage() for record in caplog.records) == 3


def test_a_lane_that_was_lost_with_its_job_waits_for_it(tmp_path: Path, port: int) -> None:
    """The emptied server gives the lane to the worker that still runs a job of it: the next one begins when
    that has ended, and other lanes go on meanwhile."""
    given: list[LaneClaimed] = []
    lost: list[LaneLost] = []
    with (
        running(system_server(), tmp_path, port=port) as url,
        redis.Redis(port=port) as admin,
        parties(url, 1) as [busy],
    ):
        busy.app.bus.subscribe(given.append, LaneClaimed)
        busy.app.bus.subscribe(lost.append, LaneLost)
        beside: list[str] = []

        @busy.app.fifo(QUEUE, key="key")
        def quick(key: str) -> None:
            beside.append(key)

        busy.may_end.clear()
        busy.enqueue(1)
        with busy.worker():
            assert busy.begun.wait(PATIENCE)
            admin.flushall()
            busy.enqueue(2)
            until(lambda: len(given) == 2, "the lane to be given anew")
            for number in range(5):
                quick(f"k{number}")
            until(lambda: len(beside) == 5, "the other lanes")
            assert [event.lease.token for event in given[:1]] == busy.tokens, "a job began beside the first"
            until(lambda: [event.lease for event in lost] == [given[0].lease], "the first stay to be over")
            busy.may_end.set()
            until(lambda: busy.ran == [0, 0, 1], "the jobs that were enqueued anew")
            until(lambda: busy.app.storage.stats([QUEUE])[0].depth == 0, "them to be settled")
        assert busy.tokens[1:] == [given[1].lease.token] * 2


def test_a_restart_without_its_data_is_told(tmp_path: Path, port: int) -> None:
    """The server comes back empty: the producer is told at its next call, an idle worker by itself."""
    with ExitStack() as stack:
        with running(system_server(), tmp_path, port=port) as url:
            producer, idle = stack.enter_context(parties(url, 2))
            producer.enqueue(3)
            stack.enter_context(idle.worker())
            until(lambda: len(idle.ran) == 3, "the jobs to run")
            until(lambda: producer.app.storage.stats([QUEUE])[0].depth == 0, "them to be settled")
            producer.enqueue(0)
        with running(system_server(), tmp_path, port=port):
            assert idle.told.wait(PATIENCE)
            assert producer.enqueue(2) == [1, 2]
            until(lambda: len(idle.ran) == 5, "the new jobs to run")
            assert [loss.kind for loss in producer.losses] == ["emptied"]
            assert [(loss.kind, loss.missing) for loss in idle.losses] == [("emptied", 0)]


@pytest.mark.parametrize("newcomers", [0, 1, 50])
def test_a_log_that_lost_its_end_is_told(tmp_path: Path, port: int, newcomers: int) -> None:
    """How many jobs and from which seq on, by who was told of them: also when others, who knew nothing of
    them, have taken their numbers before it asks again."""
    with ExitStack() as stack:
        with running(system_server(), tmp_path, *AOF, port=port) as url:
            [producer] = stack.enter_context(parties(url, 1))
            producer.enqueue(7)
            kept = log_of(tmp_path).stat().st_size
            assert producer.enqueue(3) == [8, 9, 10]
        with log_of(tmp_path).open("r+b") as file:
            file.truncate(kept)
        with running(system_server(), tmp_path, *AOF, port=port) as url, parties(url, 1) as [newcomer]:
            newcomer.enqueue(newcomers)
            assert producer.enqueue(2) == [8 + newcomers, 9 + newcomers]
            producer.enqueue(1)
            [loss] = producer.losses
            assert (loss.kind, loss.missing, loss.first_seq) == ("rolled_back", 3, 8)
            assert newcomer.losses == []


@pytest.mark.parametrize("binary", [system_server, bundled_server])
@pytest.mark.parametrize("first", ["append", "report"])
def test_a_start_is_noted_in_every_queue(
    tmp_path: Path, port: int, binary: Callable[[], str], first: str
) -> None:
    """Also in those that are used after another one: the newcomer has taken all the lost numbers again by
    the time somebody asks who knew of them."""
    with ExitStack() as stack:
        with running(binary(), tmp_path, *AOF, port=port) as url:
            [producer] = stack.enter_context(parties(url, 1))
            producer.enqueue(10)
            producer.app.queue("others").pause()
            kept = log_of(tmp_path).stat().st_size
            producer.enqueue(5)
        with log_of(tmp_path).open("r+b") as file:
            file.truncate(kept)
        with running(binary(), tmp_path, *AOF, port=port) as url, parties(url, 1) as [newcomer]:
            storage = newcomer.app.storage
            if first == "append":
                storage.append("others", [NewJob(body=b"x")])
            else:
                storage.append("elsewhere", [NewJob(body=b"x")])
                storage.report(Owner("newcomer", "first"), ["others", QUEUE])
            newcomer.enqueue(8)
            producer.enqueue(1)
            [loss] = producer.losses
            assert (loss.kind, loss.missing, loss.first_seq) == ("rolled_back", 5, 11)
            assert newcomer.losses == []


def test_a_settlement_that_was_lost_is_told(tmp_path: Path, port: int) -> None:
    """The job is still there and runs again: told as a settlement that is gone, not as a job."""
    with ExitStack() as stack:
        with running(system_server(), tmp_path, *AOF, port=port) as url:
            producer, worker = stack.enter_context(parties(url, 2))
            producer.enqueue(2)
            kept = log_of(tmp_path).stat().st_size
            assert worker.worker().run_until_idle(PATIENCE)
        with log_of(tmp_path).open("r+b") as file:
            file.truncate(kept)
        with running(system_server(), tmp_path, *AOF, port=port):
            assert worker.worker().run_until_idle(PATIENCE)
            assert worker.ran == [0, 1, 0, 1]
            [loss] = worker.losses
            assert (loss.kind, loss.missing, loss.unsettled) == ("rolled_back", 0, 2)
            assert worker.tokens[1] < worker.tokens[2]
            producer.enqueue(1)
            assert producer.losses == []


def test_a_failover_to_a_replica_that_lagged_is_told(tmp_path: Path, port: int) -> None:
    """The survivors are a prefix; what the replica never got is missed by who was told of it."""
    with ExitStack() as stack:
        folders = [tmp_path / name for name in ("replica", "master", "promoted")]
        for folder in folders:
            folder.mkdir()
        replica_url = stack.enter_context(running(system_server(), folders[0]))
        replica = stack.enter_context(redis.Redis.from_url(replica_url))
        with running(system_server(), folders[1], port=port) as url, redis.Redis(port=port) as master:
            producer, worker = stack.enter_context(parties(url, 2))
            replica.replicaof("127.0.0.1", str(port))
            until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica")
            producer.enqueue(6)
            assert master.wait(1, PATIENCE * 1000) == 1
            replica.replicaof("NO", "ONE")
            assert producer.enqueue(4) == [7, 8, 9, 10]
        with running(system_server(), folders[2], port=port), redis.Redis(port=port) as promoted:
            # The address of the old master now leads to what the replica had.
            promoted.replicaof("127.0.0.1", replica_url.rpartition(":")[2].partition("/")[0])
            until(lambda: promoted.info("replication")["master_link_status"] == "up", "its data")
            promoted.replicaof("NO", "ONE")
            assert producer.enqueue(1) == [7]
            assert worker.worker().run_until_idle(PATIENCE)
            [loss] = producer.losses
            assert (loss.kind, loss.missing, loss.first_seq) == ("rolled_back", 4, 7)
            assert worker.losses == []
            assert len(worker.ran) == 7


class Slow(logging.Handler):
    """A handler of a program that waits for something."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.may_end = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Waits."""
        self.began.set()
        assert self.may_end.wait(PATIENCE)


def test_a_slow_log_holds_up_no_renewal(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that renews leases notices that another queue was lost; somebody else writes the line, and
    the running job's lease is renewed meanwhile."""
    slow, renewals = Slow(), list[object]()
    with (
        running(system_server(), tmp_path, port=port) as url,
        redis.Redis(port=port) as admin,
        parties(url, 1) as [party],
    ):
        storage = party.app.storage
        storage.append("others", [NewJob(body=b"x")])
        storage.pause("others")
        renew = storage.renew

        def counted(*arguments: Any, **options: Any) -> Renewed:
            renewals.append(arguments)
            return renew(*arguments, **options)

        party.may_end.clear()
        party.enqueue(1)
        logging.getLogger("glassq.stores").addHandler(slow)
        try:
            with party.app.worker([QUEUE, "others"], concurrency=1):
                assert party.begun.wait(PATIENCE)
                admin.delete(*admin.keys("gq:{others}:*"))
                assert slow.began.wait(PATIENCE)
                # Not told by events, which stand in line behind this one.
                monkeypatch.setattr(storage, "renew", counted)
                until(lambda: len(renewals) >= 5, "the lease to be renewed, for longer than it lasts")
                slow.may_end.set()
                party.may_end.set()
                until(lambda: party.ran == [0], "the job to end")
        finally:
            slow.may_end.set()
            logging.getLogger("glassq.stores").removeHandler(slow)
        assert [loss.queue for loss in party.losses] == ["others"]


# -- a SQLite file -----------------------------------------------------------------------------------------


def remove(file: Path) -> None:
    """Delete a database with what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def test_a_file_that_was_deleted_is_told(tmp_path: Path) -> None:
    """Nobody goes on writing into a file that has no name any more: a new one is made, the loss is told."""
    file = tmp_path / "jobs.db"
    with parties(f"sqlite:///{file}", 2) as (producer, worker):
        producer.enqueue(3)
        with worker.worker():
            until(lambda: len(worker.ran) == 3, "the jobs to run")
            until(lambda: producer.app.storage.stats([QUEUE])[0].depth == 0, "them to be settled")
            remove(file)
            assert worker.told.wait(PATIENCE)
            assert producer.enqueue(2) == [1, 2]
            until(lambda: len(worker.ran) == 5, "the new jobs to run")
        assert [loss.kind for loss in producer.losses + worker.losses] == ["emptied", "emptied"]
        assert producer.losses[0].missing == 3
        assert file.stat().st_mode & 0o777 == 0o600


def test_an_older_copy_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    """What was accepted after the copy was made is missing, and told as that."""
    file, copy = tmp_path / "jobs.db", tmp_path / "copy.db"
    with parties(f"sqlite:///{file}", 2) as (producer, worker):
        assert producer.enqueue(4) == [1, 2, 3, 4]
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        copy.chmod(0o600)
        assert producer.enqueue(2) == [5, 6]
        remove(file)
        copy.rename(file)
        assert producer.enqueue(1) == [5]
        assert worker.worker().run_until_idle(PATIENCE)
        [loss] = producer.losses
        assert (loss.kind, loss.missing, loss.first_seq) == ("rolled_back", 2, 5)
        assert worker.losses == []
        assert len(worker.ran) == 5


# -- and no losses -------------------------------------------------------------------------------------------


def test_nothing_is_told_where_nothing_was_lost(tmp_path: Path, port: int) -> None:
    """Purges, replays, lanes and queues that ran empty, a second application, broken connections, scripts
    that were flushed: all of it is as it should be."""
    with (
        running(system_server(), tmp_path, port=port) as url,
        redis.Redis(port=port) as admin,
        parties(url, 2) as (first, second),
    ):
        queue = first.app.queue(QUEUE)
        first.enqueue(5)
        second.enqueue(5)
        queue.purge()
        first.handle(-1)
        assert second.worker().run_until_idle(PATIENCE)
        assert queue.replay()
        admin.script_flush()
        assert first.worker().run_until_idle(PATIENCE)
        assert queue.purge_dead() == 1
        admin.client_kill_filter(_type="normal", skipme=True)
        second.enqueue(3)
        assert first.worker().run_until_idle(PATIENCE)
        first.enqueue(1)
        assert first.losses == second.losses == []


def test_a_restart_that_kept_everything_is_no_loss(tmp_path: Path, port: int) -> None:
    """Killed and started again on its log, with a producer, a worker and an idle one going on."""
    with ExitStack() as stack:
        with running(system_server(), tmp_path, *AOF, port=port) as url:
            producer, worker, idle = stack.enter_context(parties(url, 3))
            stack.enter_context(worker.worker())
            stack.enter_context(idle.worker())
            producer.enqueue(20)
            until(lambda: len(worker.ran) + len(idle.ran) == 20, "the jobs to run")
        with running(system_server(), tmp_path, *AOF, port=port):
            assert producer.enqueue(2) == [21, 22]
            until(lambda: len(worker.ran) + len(idle.ran) >= 22, "the new jobs to run")
            assert [party.losses for party in (producer, worker, idle)] == [[], [], []]


def test_many_threads_at_once_see_no_loss(tmp_path: Path, port: int) -> None:
    """Answers overtake each other all the time; that an early one knows less says nothing."""
    with running(system_server(), tmp_path, port=port) as url, parties(url, 1) as [party]:
        threads = [threading.Thread(target=party.enqueue, args=(150,)) for _ in range(6)]
        with party.app.worker([QUEUE], concurrency=4):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            until(lambda: len(party.ran) == 900, "all jobs to run")
        assert party.losses == []
        assert party.counted() == 0.0
