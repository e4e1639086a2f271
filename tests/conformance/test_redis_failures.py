"""Lost answers, refusals and unreachable servers: nothing doubled, nothing silent, a reason for all."""

from __future__ import annotations

import functools
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from redis import exceptions

from glassq.errors import BadOption, EnqueueUncertain, StorageUnavailable
from glassq.model.jobs import Dedup, Disposition, NewJob
from glassq.model.leases import ClaimCause, Leaving, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.stores.redis import commands as commands_module
from glassq.stores.redis import replies, scripts
from glassq.stores.redis import server as server_module
from glassq.stores.redis import store as store_module
from glassq.stores.redis.connections import Connection
from glassq.stores.redis.failures import Unanswered, diagnose
from glassq.stores.redis.location import Location
from glassq.stores.redis.resp import packed
from glassq.stores.redis.server import Server
from glassq.stores.redis.sessions import Sessions
from glassq.stores.redis.store import RedisStorage
from glassq.testing.clock import FakeClock
from tests.conformance.redisservers import free_port

QUEUE = "orders"
ALICE = Owner("alice", "first")


def server_of(store: RedisStorage) -> Server:
    """The one server a store speaks to."""
    assert isinstance(store._server, Server)
    return store._server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures that would be waited out come to light at once."""
    monkeypatch.setattr(server_module, "PATIENCE", 0.0)
    monkeypatch.setattr(commands_module, "APPEND_PATIENCE", 0.0)
    monkeypatch.setattr(store_module, "APPEND_PATIENCE", 0.0)


@pytest.fixture
def store(server: str) -> Iterator[RedisStorage]:
    """A store that has spoken to its server before, and knows every script."""
    opened = RedisStorage.open(server)
    opened.append("warm", [NewJob(body=b"x")])
    [grant] = opened.claim(ALICE, ["warm"], lanes=1, window=1, lease_seconds=15).grants
    opened.settle(ALICE, [Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK)])
    yield opened
    opened.close()


class Line:
    """The connection of a store, which can be cut after the server did what it was asked."""

    def __init__(self, store: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ask: Callable[..., Any] = server_of(store)._connections.ask
        self.losses = 0
        self.meanwhile: Callable[[], object] = lambda: None
        monkeypatch.setattr(server_of(store)._connections, "ask", self._call)

    def _call(self, request: Any) -> Any:
        answer = self._ask(request)
        if self.losses and b"EVALSHA" in request(b""):
            self.losses -= 1
            self.meanwhile()
            raise exceptions.ConnectionError("Connection reset by peer")
        return answer


@pytest.fixture
def line(store: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> Line:
    """The store's line to its server."""
    return Line(store, monkeypatch)


# -- lost answers ---------------------------------------------------------------------------------------


def test_an_append_whose_answer_was_lost_is_not_doubled(store: RedisStorage, line: Line) -> None:
    """It is sent again by itself, and gets the sequences it was given the first time."""
    line.losses = 2
    first = store.append(QUEUE, [NewJob(body=b"a", lane="x"), NewJob(body=b"b", lane="y")])
    second = store.append(QUEUE, [NewJob(body=b"c")])
    assert [answer.seq for answer in first + second] == [1, 2, 3]
    assert [record.job.id for record in store.waiting(QUEUE, 10)] == [answer.id for answer in first + second]


def test_what_was_never_sent_is_not_uncertain(store: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that could not be made, for whatever reason, carried nothing."""

    def silent(*_: Any) -> Any:
        raise exceptions.TimeoutError("Timeout reading from socket")

    monkeypatch.setattr(store_module, "APPEND_PATIENCE", 0.0)
    store.append(QUEUE, [NewJob(body=b"a")])
    monkeypatch.setattr(redis.Connection, "connect", silent)
    server_of(store)._connections.close()
    with pytest.raises(StorageUnavailable, match="Timeout reading") as failure:
        store.append(QUEUE, [NewJob(body=b"b")])
    assert failure.value.reason == "timeout"
    assert not isinstance(failure.value, Unanswered)


def test_a_connection_that_was_half_made_is_not_used(
    store: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted between a question and its answer: the answer would be taken for another one's."""
    connections = server_of(store)._connections

    def interrupted(connection: Connection) -> str:
        connection.send_packed_command([packed(("INFO", "server"))])
        raise KeyboardInterrupt

    connections.close()
    with monkeypatch.context() as patch:
        patch.setattr(connections, "_run_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.stats([QUEUE])
    assert [answer.seq for answer in store.append(QUEUE, [NewJob(body=b"a")])] == [1]


def test_a_knocker_that_is_interrupted_leaves_the_door_to_others(store: RedisStorage) -> None:
    """By a signal, say: whoever comes next is not kept waiting for somebody who has gone."""
    server = server_of(store)
    server._outage.met(exceptions.ConnectionError("nobody there"))

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.attempt(interrupted)
    server._outage._try_at = time.monotonic() + 3600
    with pytest.raises(StorageUnavailable, match="nobody there"):
        server.attempt(list, patience=0.0)
    server._outage._try_at = 0.0
    assert server.attempt(list, patience=0.0) == []


def test_a_close_ends_the_waiting_at_once(store: RedisStorage) -> None:
    """Threads that wait for a server to come back hear of it, and connect to nothing any more."""
    server = server_of(store)
    server._outage.met(exceptions.ConnectionError("nobody there"))
    server._outage._try_at = time.monotonic() + 3600
    told: list[str] = []

    def insist() -> None:
        try:
            server.attempt(lambda: told.append("through"), patience=3600)
        except StorageUnavailable as error:
            told.append(str(error))

    threads = [threading.Thread(target=insist) for _ in range(3)]
    for thread in threads:
        thread.start()
    store.close()
    for thread in threads:
        thread.join(20)
    assert told == ["this store is closed; open the application again"] * 3


def test_an_append_of_several_kinds_is_not_doubled(store: RedisStorage, line: Line) -> None:
    """Scheduled jobs and duplicates get the answers of the first time too."""
    jobs = [
        NewJob(body=b"a", dedup=Dedup("once")),
        NewJob(body=b"b", due=60),
        NewJob(body=b"c", dedup=Dedup("once", 300)),
        NewJob(body=b"d"),
    ]
    line.losses = 1
    now, later, twin, last = store.append(QUEUE, jobs, max_length=3)
    assert [now.seq, later.seq, twin.seq, last.seq] == [1, None, 1, 2]
    assert (twin.id, twin.disposition) == (now.id, Disposition.DUPLICATE)
    found = store.stats([QUEUE])[0]
    assert (found.enqueued, found.ready, found.scheduled) == (3, 2, 1)


@pytest.mark.usefixtures("impatient")
def test_an_append_that_stays_unanswered_is_uncertain(store: RedisStorage, line: Line) -> None:
    """The caller learns that the job may be in, and its id; later appends are not taken for it."""
    line.losses = 1
    with pytest.raises(EnqueueUncertain) as failure:
        store.append(QUEUE, [NewJob(body=b"a")])
    [answer] = store.append(QUEUE, [NewJob(body=b"b")])
    assert answer.seq == 2
    assert [record.job.id for record in store.waiting(QUEUE, 10)] == [failure.value.job_id, answer.id]


def test_an_append_refused_by_another_server_than_the_first_is_uncertain(
    store: RedisStorage, line: Line, server: str
) -> None:
    """A server that knows nothing of the first try and is full refuses the second; the first may have run
    before, on the server that is gone."""

    def fail_over() -> None:
        with redis.Redis.from_url(server) as admin, closing(RedisStorage.open(server)) as other:
            admin.flushdb()
            other.append(QUEUE, [NewJob(body=b"other")])

    line.losses, line.meanwhile = 1, fail_over
    with pytest.raises(EnqueueUncertain, match="first try was not answered, and the queue is full"):
        store.append(QUEUE, [NewJob(body=b"a")], max_length=1)


def test_a_claim_whose_answer_was_lost_is_told_again(store: RedisStorage, line: Line) -> None:
    """Otherwise its lanes would be nobody's until their leases end, and a crash blamed on their heads."""
    store.append(QUEUE, [NewJob(body=b"a", lane="x"), NewJob(body=b"b", lane="y")])
    line.losses = 1
    claimed = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    assert [grant.lease.lane for grant in claimed.grants] == ["x"]
    settlement = Settlement(
        lease=claimed.grants[0].lease, job_id=claimed.grants[0].jobs[0].id, action=Action.ACK
    )
    assert store.settle(ALICE, [settlement])[0].status is SettleStatus.DONE
    assert store.stats([QUEUE])[0].lanes["leased"] == 0


@pytest.mark.usefixtures("impatient")
def test_a_claim_that_stayed_unanswered_is_told_by_the_next_one(store: RedisStorage, line: Line) -> None:
    """The worker that asks again when the server is back gets what it was granted before."""
    store.append(QUEUE, [NewJob(body=b"a", lane="x"), NewJob(body=b"b", lane="y")])
    line.losses = 1
    with pytest.raises(StorageUnavailable):
        store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    for lane in ("x", "y"):
        claimed = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
        assert [grant.lease.lane for grant in claimed.grants] == [lane]
    assert store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15).grants == ()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("cause", [ClaimCause.HANDOVER, ClaimCause.LEASE_EXPIRED])
def test_why_a_lane_was_taken_back_is_told_again(server: str, cause: ClaimCause) -> None:
    """Takeovers are counted by what claims tell: one that is made again says the same, no later one does."""
    clock, pauses = FakeClock(), 4 if cause is ClaimCause.LEASE_EXPIRED else 0
    next_one = Owner("alice", "second") if cause is ClaimCause.HANDOVER else Owner("bob", "first")
    with closing(RedisStorage.open(server, clock=clock)) as store, pytest.MonkeyPatch.context() as patch:
        claim = functools.partial(store.claim, queues=[QUEUE], lanes=1, window=1, lease_seconds=1)
        store.append(QUEUE, [NewJob(body=b"a"), NewJob(body=b"b")])
        assert claim(ALICE).grants[0].cause is ClaimCause.READY
        for _ in range(pauses):  # together more than a lease, and none of them a jump of the clock
            clock.sleep(0.5)
            store.report(next_one, [QUEUE])
        Line(store, patch).losses = 1
        with pytest.raises(StorageUnavailable):
            claim(next_one)
        [grant] = claim(next_one).grants
        assert (grant.cause, grant.attempts, grant.crashes) == (cause, 1, 1)
        ack = Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, leaving=Leaving.YIELD)
        assert store.settle(next_one, [ack])[0].status is SettleStatus.DONE
        assert claim(next_one).grants[0].cause is ClaimCause.READY


@pytest.mark.usefixtures("impatient")
def test_an_empty_claim_that_stayed_unanswered_does_not_hide_work(store: RedisStorage, line: Line) -> None:
    """What came in between is granted when the worker asks again."""
    store.append(QUEUE, [NewJob(body=b"a")])
    store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    line.losses = 1
    with pytest.raises(StorageUnavailable):
        store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    store.append(QUEUE, [NewJob(body=b"b", lane="y")])
    claimed = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    assert [grant.lease.lane for grant in claimed.grants] == ["y"]


def test_a_claim_that_was_overtaken_grants_nothing(store: RedisStorage) -> None:
    """One that was stuck in a stalled server's buffers, and that nobody waits for any more, takes no lane."""
    store.append(QUEUE, [NewJob(body=b"a", lane="x"), NewJob(body=b"b", lane="y")])
    store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    worker = (str(ALICE), ALICE.node, ALICE.incarnation)
    wanted = (5, 1, 15_000_000, 5, 1, 0)
    key = store._keys.counters(QUEUE)
    reply = replies.claim(
        server_of(store).run(scripts.CLAIM, key, *worker, store._claims._handle, 0, *wanted)
    )
    assert reply.repeated
    assert reply.grants(QUEUE) == []
    assert store.stats([QUEUE])[0].lanes["leased"] == 1


@pytest.mark.usefixtures("impatient")
def test_lanes_of_one_queue_are_not_lost_with_the_answer_of_another(
    store: RedisStorage, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim of several queues hands out what it has got when a later queue fails."""
    store.append("one", [NewJob(body=b"a")])
    store.append("two", [NewJob(body=b"b")])
    calls = iter([0, 1])
    through = line._call

    def second_is_lost(request: Any) -> Any:
        line.losses = next(calls)
        return through(request)

    monkeypatch.setattr(server_of(store)._connections, "ask", second_is_lost)
    claimed = store.claim(ALICE, ["one", "two"], lanes=2, window=1, lease_seconds=15)
    assert [grant.lease.queue for grant in claimed.grants] == ["one"]
    monkeypatch.setattr(server_of(store)._connections, "ask", through)
    claimed = store.claim(ALICE, ["one", "two"], lanes=2, window=1, lease_seconds=15)
    assert [grant.lease.queue for grant in claimed.grants] == ["two"]


@pytest.mark.parametrize(
    ("action", "leaving"),
    [
        (Action.ACK, Leaving.STAY),
        (Action.ACK, Leaving.YIELD),
        (Action.BURY, Leaving.RELEASE),
        (Action.RETRY, Leaving.STAY),
        (Action.HALT, Leaving.STAY),
    ],
)
def test_a_settlement_whose_answer_was_lost_is_known(
    store: RedisStorage, line: Line, action: Action, leaving: Leaving
) -> None:
    """Even where the lane vanished or was given up with the first call: done once, and not called fenced."""
    store.append(QUEUE, [NewJob(body=b"a")])
    [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15).grants
    line.losses = 1
    settlement = Settlement(
        lease=grant.lease, job_id=grant.jobs[0].id, action=action, leaving=leaving, wait=60
    )
    [answer] = store.settle(ALICE, [settlement])
    assert (answer.status, answer.held) == (SettleStatus.ALREADY, False)
    found = store.stats([QUEUE])[0]
    assert sum(found.settled.values()) == (action in (Action.ACK, Action.BURY))
    assert found.dead_letters == (action is Action.BURY)
    assert found.head_attempts == (action in (Action.RETRY, Action.HALT))


def test_each_of_several_lanes_settlements_is_known(store: RedisStorage) -> None:
    """A worker settles lanes from several threads: the answers of all may be lost in one stall."""
    for lane in "abc":
        store.append(QUEUE, [NewJob(body=b"x", lane=lane)])
    grants = store.claim(ALICE, [QUEUE], lanes=3, window=1, lease_seconds=15).grants
    settlements = [
        Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK) for grant in grants
    ]
    first, again = ([store.settle(ALICE, [each])[0].status for each in settlements] for _ in range(2))
    assert first == [SettleStatus.DONE] * 3
    assert again == [SettleStatus.ALREADY] * 3
    stranger = Settlement(lease=grants[0].lease, job_id=grants[0].jobs[0].id, action=Action.BURY)
    assert store.settle(ALICE, [stranger])[0].status is SettleStatus.FENCED
    assert store.stats([QUEUE])[0].settled["succeeded"] == 3


def test_a_persons_decision_is_not_repeated(store: RedisStorage, line: Line) -> None:
    """Skipping a head whose answer was lost might skip the next one: it is left to the person."""
    store.append(QUEUE, [NewJob(body=b"a"), NewJob(body=b"b")])
    [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15).grants
    store.settle(ALICE, [Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.HALT)])
    assert not store.retry_lane("warm", "")  # from here on the script is known
    assert store.skip_lane("warm", "") is None
    line.losses = 1
    with pytest.raises(Unanswered):
        store.skip_lane(QUEUE, "")
    assert [record.job.body for record in store.waiting(QUEUE, 10)] == [b"b"]


def test_two_settlements_of_a_lane_in_one_call_are_refused(store: RedisStorage) -> None:
    """Only the first could be of the head: the mistake is named before anything is sent."""
    store.append(QUEUE, [NewJob(body=b"a"), NewJob(body=b"b")])
    [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=2, lease_seconds=15).grants
    both = [Settlement(lease=grant.lease, job_id=job.id, action=Action.ACK) for job in grant.jobs]
    with pytest.raises(ValueError, match="one settlement per lane"):
        store.settle(ALICE, both)
    assert len(store.waiting(QUEUE, 10)) == 2


def test_a_forked_producer_has_a_session_of_its_own() -> None:
    """Sharing one would make the server drop the child's jobs as repetitions of the parent's."""
    sessions = Sessions()
    parent = sessions.take()
    parent.take(1)
    sessions.give_back(parent)
    again, beside = sessions.take(), sessions.take()
    assert again.name == parent.name
    assert beside.name != again.name
    sessions.give_back(again)
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)

    def child() -> None:
        own = sessions.take()
        writing.send((own.name, own.take(5), own.take(1)))

    process = context.Process(target=child)
    process.start()
    assert reading.poll(20), "the child hangs"
    name, *numbers = reading.recv()
    process.join()
    assert name not in (parent.name, beside.name)
    assert numbers == [1, 6]


# -- refusals -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_an_unreachable_server_is_named() -> None:
    """Every verb says where it could not connect to; an append that was never sent is not uncertain."""
    port = free_port()
    store = RedisStorage.open(f"redis://:secret@127.0.0.1:{port}/0")
    for verb in (
        lambda: store.append(QUEUE, [NewJob(body=b"a")]),
        lambda: store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15),
        lambda: store.listen(ALICE, [QUEUE]),
        store.queues,
    ):
        with pytest.raises(StorageUnavailable, match=rf"redis://127\.0\.0\.1:{port}/0") as failure:
            verb()
        assert failure.value.reason == "connection"
        assert not isinstance(failure.value, Unanswered)
        assert "secret" not in str(failure.value)
    store.close()


def test_missing_and_wrong_passwords_and_rights_are_told_apart(server: str) -> None:
    """None of them is retried, and each says what to do."""
    place = server.removeprefix("redis://")
    with redis.Redis.from_url(server) as admin:
        admin.acl_setuser("guest", enabled=True, passwords=["+guest"], commands=["+@connection"])
        admin.acl_setuser("reader", enabled=True, nopass=True, categories=["+@all"], keys=["other:*"])
        admin.config_set("requirepass", "right")
        try:
            for url, advice in (
                (server, "put the password"),
                (f"redis://:wrong@{place}", "check the user and password"),
                (f"redis://guest:guest@{place}", "the rights to run scripts"),
                (f"redis://reader:any@{place}", "the rights to run scripts"),
            ):
                store = RedisStorage.open(url)
                with pytest.raises(StorageUnavailable, match=advice) as failure:
                    store.append(QUEUE, [NewJob(body=b"a")])
                assert failure.value.reason == "auth"
                store.close()
            store = RedisStorage.open(f"redis://:right@{place}")
            assert store.append(QUEUE, [NewJob(body=b"a")])[0].seq == 1
            assert store.address == server
            store.close()
        finally:
            admin.auth("right")
            admin.config_set("requirepass", "")
            admin.acl_deluser("guest", "reader")


@pytest.mark.parametrize(
    ("error", "reason", "passing", "lost"),
    [
        (exceptions.ConnectionError("Connection reset by peer"), "connection", True, True),
        (exceptions.TimeoutError("Timeout reading from socket"), "timeout", True, True),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "connection", True, False),
        (exceptions.ResponseError("BUSY Redis is busy running a script"), "timeout", True, False),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "readonly", True, False),
        (exceptions.ClusterDownError("The cluster is down"), "cluster", True, False),
        (exceptions.TryAgainError("Multiple keys request during rehashing of slot"), "cluster", True, False),
        (exceptions.MovedError("3999 127.0.0.1:6381"), "cluster", True, False),
        (exceptions.MasterDownError("Link with MASTER is down"), "cluster", True, False),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "io", False, False),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), "readonly", False, False),
        (exceptions.NoPermissionError("this user has no permissions"), "auth", False, False),
        (exceptions.AuthenticationError("Authentication required."), "auth", False, False),
        (
            exceptions.ResponseError(
                "Error running script (call to f_0): @user_script:9: OOM command not allowed"
            ),
            "oom",
            False,
            False,
        ),
        (
            exceptions.ResponseError(
                "Error running script (call to f_0): @user_script:9: -READONLY You can't write"
            ),
            "readonly",
            True,
            False,
        ),
        (
            exceptions.ResponseError("The user executing the script can't run this command or subcommand"),
            "auth",
            False,
            False,
        ),
        (exceptions.ResponseError("something new"), "other", False, False),
    ],
    ids=lambda value: str(value.args)[:40] if isinstance(value, Exception) else str(value),
)
def test_every_failure_has_a_reason(
    error: exceptions.RedisError, reason: str, passing: bool, lost: bool
) -> None:
    """The reason is one of the metric's, retries are for what passes, and only silence is uncertain."""
    found = diagnose(error)
    assert (found.reason, found.passing, found.lost) == (reason, passing, lost)
    assert found.advice


# -- places ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://user:pass@host:7000/3", "redis://host:7000/3"),
        ("redis://host?db=2", "redis://host:6379/2"),
        ("rediss://:p%40ss@host:6380/1?ssl_cert_reqs=none", "rediss://host:6380/1"),
        ("unix:///run/redis.sock?db=4", "unix:///run/redis.sock"),
        ("redis://[::1]:6379/0", "redis://::1:6379/0"),
    ],
)
def test_addresses_carry_no_passwords(url: str, address: str) -> None:
    """What people and spans see names the place and nothing secret."""
    assert Location.parse(url).address == address


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://host", "not built yet"),
        ("redis+cluster://host/3", "no databases but 0"),
        ("redis+cluster://host,,other", "cannot be read"),
        ("redis+cluster://host:7000,other:x", "cannot be read"),
        ("redis+cluster://host,other?ssl_certfile=x", "not an option"),
        ("http://host", "no Redis URL"),
        ("redis://host/first", "a database is a number"),
        ("redis://host:port/0", "use one like redis://localhost:6379/0"),
        ("redis://host/0?timeout=5", "not an option"),
        ("redis://host/0?namespce=x", "did you mean 'namespace'"),
        ("redis://host/0?allow_eviction=yes", "is 0 or 1"),
        ("redis://host/0?namespace=a%7Bb", "is not a name"),
        ("unix://?db=0", "names a socket"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, problem: str) -> None:
    """Before anything is connected to, with the nearest right thing where there is one."""
    with pytest.raises(BadOption, match=problem.replace("?", r"\?")):
        RedisStorage.open(url)


def test_a_ready_client_is_accepted(server: str) -> None:
    """Its place and credentials are used, on connections of the store's own: it stays as it is."""
    with redis.Redis.from_url(server, decode_responses=True, socket_timeout=0.5) as client:
        store = RedisStorage.open(client)
        assert store.append(QUEUE, [NewJob(body=b"\xff")])[0].seq == 1
        assert store.waiting(QUEUE, 1)[0].job.body == b"\xff"
        assert store.address == server
        store.close()
        assert client.echo("still here") == "still here"


def test_what_is_no_client_is_refused() -> None:
    """Clusters and Sentinels need a store that knows them; anything else is a mistake."""
    with pytest.raises(BadOption, match="object"):
        RedisStorage.open(object())  # type: ignore[arg-type]
