"""What the store on Redis promises beyond the protocol: time, keys, memory, and death of its server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from glassq.errors import (
    ConfigurationError,
    CorruptRecord,
    EnqueueUncertain,
    FormatMismatch,
    StorageUnavailable,
)
from glassq.model.jobs import Cancellation, Dedup, NewJob
from glassq.model.leases import ClaimCause, Leaving, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.stores.redis import purging, searching
from glassq.stores.redis import server as server_module
from glassq.stores.redis.connections import Connections, ask
from glassq.stores.redis.location import Location
from glassq.stores.redis.resp import packed
from glassq.stores.redis.store import RedisStorage
from tests.conformance.redisservers import bundled_server, free_port, running, system_server

QUEUE = "orders"
ALICE, BOB = Owner("alice", "first"), Owner("bob", "first")


@pytest.fixture
def store(server: str) -> Iterator[RedisStorage]:
    """A store that lives by its server's clock."""
    opened = RedisStorage.open(server)
    yield opened
    opened.close()


@pytest.fixture
def admin(server: str) -> Iterator[redis.Redis]:
    """The server's administrator, who leaves it as it was found."""
    with redis.Redis.from_url(server) as client:
        yield client
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")


def put(store: RedisStorage, *bodies: bytes, lane: str = "") -> list[int | None]:
    """Append to one lane; the sequences."""
    return [answer.seq for answer in store.append(QUEUE, [NewJob(body=body, lane=lane) for body in bodies])]


def ack(store: RedisStorage, owner: Owner = ALICE, *, action: Action = Action.ACK) -> SettleStatus:
    """Claim one lane and end its head."""
    [grant] = store.claim(owner, [QUEUE], lanes=1, window=1, lease_seconds=15).grants
    [answer] = store.settle(
        owner, [Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=action, leaving=Leaving.YIELD)]
    )
    return answer.status


# -- time -----------------------------------------------------------------------------------------------


def test_the_servers_clock_counts(store: RedisStorage, admin: redis.Redis) -> None:
    """Without a test's clock every time is the server's, and tokens are made of it."""
    seconds, micros = admin.time()
    put(store, b"a")
    claimed = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    assert 0 <= claimed.now - (seconds + micros / 1e6) < 60
    assert claimed.grants[0].lease.token / 1e6 == pytest.approx(claimed.now, abs=1)
    assert store.claim(ALICE, [], lanes=1, window=1, lease_seconds=15).now >= claimed.now


def test_a_lease_ends_by_the_servers_clock(store: RedisStorage) -> None:
    """`next_due` is how long a standby sleeps; then, at the latest after the grace, it gets the lane."""
    put(store, b"a")
    store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=0.05)
    ends = time.monotonic() + 10
    while True:
        claimed = store.claim(BOB, [QUEUE], lanes=1, window=1, lease_seconds=0.05)
        if claimed.grants or time.monotonic() > ends:
            break
        assert claimed.next_due is not None
        assert claimed.next_due <= 0.05
        time.sleep(claimed.next_due)  # it is the server's time that has to pass
    assert [grant.cause for grant in claimed.grants] == [ClaimCause.LEASE_EXPIRED]


# -- keys -----------------------------------------------------------------------------------------------


def test_an_empty_queue_leaves_no_lane_behind(store: RedisStorage, admin: redis.Redis) -> None:
    """However its jobs ended: what remains are the queue's own few keys, and none of them grows."""
    for lane in ("acked", "buried", "retried", "skipped", "kept", "crashed"):
        put(store, b"1", lane=lane)
    actions = [Action.ACK, Action.BURY, Action.RETRY, Action.HALT, Action.ACK, None]
    grants = store.claim(ALICE, [QUEUE], lanes=10, window=1, lease_seconds=15).grants
    for grant, action in zip(grants, actions, strict=True):
        leaving = Leaving.KEEP if grant.lease.lane == "kept" else Leaving.STAY
        if action is not None:
            store.settle(
                ALICE,
                [Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=action, leaving=leaving)],
            )
    store.release(ALICE, [grants[4].lease])
    store.skip_lane(QUEUE, "skipped")
    restarted = Owner(ALICE.node, "second")
    for _ in range(2):
        assert ack(store, restarted) is SettleStatus.DONE
    for owner in (ALICE, restarted):
        store.listen(owner, [QUEUE]).close()
    names = {key.decode() for key in admin.scan_iter("*")}
    letters = {"c", "b", "p", "pz", "x", "xi", "xs", "xt"}
    assert names == {"gq:queues", *(f"gq:{{{QUEUE}}}:{letter}" for letter in letters)}
    assert store.stats([QUEUE])[0].depth == 0
    store.purge(QUEUE, dead=True)
    assert store.forget(QUEUE) is True
    assert admin.keys("*") == []


def test_no_job_searches_the_key_space(store: RedisStorage, admin: redis.Redis) -> None:
    """KEYS and SCAN look at the whole server: no job's path may hold one, inside the scripts or out."""
    bell = store.listen(ALICE, [QUEUE])
    seen: set[str] = set()
    with admin.monitor() as monitor:  # type: ignore[no-untyped-call]
        put(store, b"a", b"b")
        [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=2, lease_seconds=15).grants
        store.renew(ALICE, [grant.lease], lease_seconds=15)
        for job, action in zip(grant.jobs, (Action.ACK, Action.RETRY), strict=True):
            store.settle(ALICE, [Settlement(lease=grant.lease, job_id=job.id, action=action)])
        store.report(ALICE, [QUEUE])
        assert ack(store, action=Action.BURY) is SettleStatus.DONE
        bell.close()
        admin.echo("that is all")
        for entry in monitor.listen():
            seen.add(entry["command"].split()[0].upper())
            if "that is all" in entry["command"]:
                break
    assert {"EVALSHA", "RPUSH", "LPOP"} <= seen
    assert not {name for name in seen if name == "KEYS" or name.endswith("SCAN")}


def test_nothing_a_job_needs_can_expire(store: RedisStorage, admin: redis.Redis) -> None:
    """No key of a queue has a time to live, so that no eviction of volatile keys and no clock takes one."""
    put(store, b"a", lane="held")
    put(store, b"b", lane="ready")
    store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    keys = admin.keys("gq:*")
    assert len(keys) > 5
    assert {admin.ttl(key) for key in keys} == {-1}


def test_namespaces_do_not_see_each_other(server: str, store: RedisStorage) -> None:
    """Two applications may share a database."""
    put(store, b"a")
    other = RedisStorage.open(f"{server}?namespace=other")
    assert other.queues() == []
    assert put(other, b"b") == [1]
    other.close()
    assert store.stats([QUEUE])[0].enqueued == 1


def test_a_higher_level_changes_a_held_lane(store: RedisStorage) -> None:
    """It is served at the next settlement, not at the end of the window the worker has read."""
    put(store, b"a", b"b", b"c")
    [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=3, lease_seconds=15).grants
    store.append(QUEUE, [NewJob(body=b"urgent", level=6)])
    first, second, _ = grant.jobs
    [answer] = store.settle(
        ALICE,
        [
            Settlement(
                lease=grant.lease,
                job_id=first.id,
                action=Action.ACK,
                next_id=second.id,
                change=grant.change,
                window=3,
            )
        ],
    )
    assert [job.body for job in answer.jobs] == [b"urgent", b"b", b"c"]
    assert answer.change != grant.change


# -- a full server --------------------------------------------------------------------------------------


def test_a_full_server_settles_and_does_not_accept(store: RedisStorage, admin: redis.Redis) -> None:
    """Appending fails whole; claiming, renewing, settling in every way and releasing go on, and make room."""
    for lane in ("acked", "buried", "retried", "halted", "released"):
        put(store, b"x" * 1000, lane=lane)
    admin.config_set("maxmemory", "1")
    with pytest.raises(StorageUnavailable, match="memory is full") as failure:
        put(store, b"more")
    assert failure.value.reason == "oom"
    grants = store.claim(ALICE, [QUEUE], lanes=10, window=1, lease_seconds=15).grants
    assert len(grants) == 5
    assert not store.renew(ALICE, [grant.lease for grant in grants], lease_seconds=15).lost
    actions = [Action.ACK, Action.BURY, Action.RETRY, Action.HALT]
    answers = store.settle(
        ALICE,
        [
            Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=action)
            for grant, action in zip(grants[:4], actions, strict=True)
        ],
    )
    assert [answer.status for answer in answers] == [SettleStatus.DONE] * 4
    store.release(ALICE, [grants[4].lease])
    assert store.skip_lane(QUEUE, "halted") is not None
    found = store.stats([QUEUE])[0]
    assert (found.enqueued, found.depth, found.waiting_retry, found.ready) == (5, 2, 1, 1)
    admin.config_set("maxmemory", "0")
    assert put(store, b"more") == [6]


def test_an_evicting_server_is_refused(server: str, admin: redis.Redis) -> None:
    """A server that throws keys away when it is full would throw jobs away: a clear error, unless allowed."""
    admin.config_set("maxmemory-policy", "allkeys-lru")
    refused = RedisStorage.open(server)
    with pytest.raises(ConfigurationError, match=r"allkeys-lru.*allow_eviction=1"):
        refused.queues()
    refused.close()
    allowed = RedisStorage.open(f"{server}?allow_eviction=1")
    assert allowed.queues() == []
    allowed.close()


# -- foreign and newer data -----------------------------------------------------------------------------


def test_a_foreign_key_is_reported(store: RedisStorage, admin: redis.Redis) -> None:
    """Another program's data under one of our names is an error that says so; nothing is overwritten."""
    admin.set(f"gq:{{{QUEUE}}}:c", "mine")
    with pytest.raises(CorruptRecord, match="another program"):
        put(store, b"a")
    assert admin.get(f"gq:{{{QUEUE}}}:c") == b"mine"


def test_a_newer_format_is_refused(store: RedisStorage, admin: redis.Redis) -> None:
    """Data of a newer glassq is not touched by this one."""
    put(store, b"a")
    admin.hset(f"gq:{{{QUEUE}}}:c", "v", "2")
    for verb in (lambda: put(store, b"b"), lambda: ack(store), lambda: store.stats([QUEUE])):
        with pytest.raises(FormatMismatch):
            verb()
    assert admin.hget(f"gq:{{{QUEUE}}}:c", "seq") == b"1"


def test_a_damaged_job_is_reported(store: RedisStorage, admin: redis.Redis) -> None:
    """What glassq did not write is no job, and no reason for a foreign error."""
    put(store, b"a")
    admin.lset(f"gq:{{{QUEUE}}}:s3:", 0, "nonsense")
    with pytest.raises((CorruptRecord, StorageUnavailable)):
        store.waiting(QUEUE, 10)


# -- a server that dies and comes back ------------------------------------------------------------------


def test_a_killed_server_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """With an append-only file: after a kill the same handle goes on where it was, scripts, jobs, leases
    and a waiting worker included."""
    binary, port = system_server(), free_port()
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    with running(binary, tmp_path, *durable, port=port) as url:
        store = RedisStorage.open(url)
        put(store, b"a", b"b")
        [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=2, lease_seconds=15).grants
        bell = store.listen(BOB, [QUEUE])
        assert not bell.wait(0.01)
    bell.ring()
    assert bell.wait(10), "its own process is heard while the server is away"
    with running(binary, tmp_path, *durable, port=port):
        assert bell.wait(10), "the server that is back counts as a ring"
        assert [record.job.body for record in store.waiting(QUEUE, 10)] == [b"a", b"b"]
        assert store.claim(BOB, [QUEUE], lanes=1, window=1, lease_seconds=15).grants == ()
        settlement = Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK)
        assert store.settle(ALICE, [settlement])[0].status is SettleStatus.DONE
        assert put(store, b"c") == [3]
        bell.close()
        store.close()


def test_a_server_that_lost_everything_gets_new_tokens(store: RedisStorage, admin: redis.Redis) -> None:
    """After FLUSHALL tokens still grow, the queue is listed again, and an old owner is fenced."""
    put(store, b"a")
    [lost] = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15).grants
    admin.flushall()
    assert put(store, b"b") == [1]
    assert store.queues() == [QUEUE]
    [grant] = store.claim(BOB, [QUEUE], lanes=1, window=1, lease_seconds=15).grants
    assert grant.lease.token > lost.lease.token
    settlement = Settlement(lease=lost.lease, job_id=lost.jobs[0].id, action=Action.ACK)
    assert store.settle(ALICE, [settlement])[0].status is SettleStatus.FENCED


# -- replicas ---------------------------------------------------------------------------------------------


def test_an_append_waits_for_its_replicas(
    server: str, store: RedisStorage, admin: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without enough of them it says so, names the job and keeps it; with them it is an ordinary receipt."""
    admin.config_set("repl-diskless-sync-delay", "0")
    monkeypatch.setattr(server_module, "REPLICA_SECONDS", 0.05)
    with pytest.raises(EnqueueUncertain, match="0 of 1 replicas") as failure:
        store.append(QUEUE, [NewJob(body=b"a")], replicas=1)
    assert [record.job.id for record in store.waiting(QUEUE, 9)] == [failure.value.job_id]
    host, port = server.removeprefix("redis://").removesuffix("/0").split(":")
    with running(system_server(), tmp_path, "--replicaof", host, port) as replica:
        with redis.Redis.from_url(replica) as client:
            ends = time.monotonic() + 20
            while client.info("replication")["master_link_status"] != "up" and time.monotonic() < ends:
                time.sleep(0.05)  # a replica tells nobody when it is in step
        monkeypatch.setattr(server_module, "REPLICA_SECONDS", 10.0)
        [answer] = store.append(QUEUE, [NewJob(body=b"b")], replicas=1)
    assert answer.seq == 2


# -- what a loss is found by ------------------------------------------------------------------------------


def test_a_connection_knows_its_servers_run(server: str, store: RedisStorage, admin: redis.Redis) -> None:
    """Asked once for each connection that is made, not for each call; and noted in every queue."""
    run = admin.info("server")["run_id"][:12]
    put(store, b"a")
    asked = admin.info("commandstats")["cmdstat_info"]["calls"]
    put(store, b"b")
    store.append("others", [NewJob(body=b"c")])
    assert admin.info("commandstats")["cmdstat_info"]["calls"] == asked + 1, "only this test asks"
    for queue in (QUEUE, "others"):
        life = admin.hget(f"gq:{{{queue}}}:c", "id")
        assert life is not None
        assert str(life).endswith(f":{run}:0:0:0'")


def test_a_server_that_does_not_tell_its_run_is_spoken_to(server: str, admin: redis.Redis) -> None:
    """Its connections are like others, and every call says that it does not know."""
    admin.acl_setuser("curious", enabled=True, nopass=True, categories=["+@all"], commands=["-info"])
    place = server.removeprefix("redis://")
    connections = Connections(Location.parse(f"redis://curious:any@{place}"))
    try:
        told = connections.use(lambda line: (line.run, ask(line, lambda _: packed(["PING"]))))
        assert told == ("", b"PONG")
    finally:
        connections.close()
        admin.acl_deluser("curious")


def test_an_old_queue_gets_a_name_for_its_life(store: RedisStorage, admin: redis.Redis) -> None:
    """One that was made before there was any: from its next call on a loss of it is found."""
    put(store, b"a", b"b")
    admin.hdel(f"gq:{{{QUEUE}}}:c", "id")
    first = store.report(ALICE, [QUEUE])[QUEUE]
    assert first.incarnation
    assert first.counts.enqueued == 2
    [answer] = store.append(QUEUE, [NewJob(body=b"c")])
    assert answer.found is not None
    assert answer.found.incarnation == first.incarnation
    assert answer.found.run is not None
    assert answer.found.run.counts.enqueued == 2


def test_a_tiny_step_back_costs_nothing(store: RedisStorage, admin: redis.Redis) -> None:
    """A replica some ms behind takes over: no lane that waits is written to. A real step is followed."""
    put(store, b"a")
    ack(store, action=Action.RETRY)
    due = admin.zscore(f"gq:{{{QUEUE}}}:w", "")
    for step, moved in ((50_000, False), (3_000_000, True)):
        seconds, micros = admin.time()
        admin.hset(f"gq:{{{QUEUE}}}:c", "seen", seconds * 1_000_000 + micros + step)
        put(store, b"b", lane="other")
        assert (admin.zscore(f"gq:{{{QUEUE}}}:w", "") != due) is moved


# -- a socket -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ready_client", [False, True])
@pytest.mark.parametrize("binary", [system_server, bundled_server])
def test_a_socket_of_the_machine_serves_as_well(binary: Callable[[], str], *, ready_client: bool) -> None:
    """By its URL, or a ready client's: jobs go in and out, and a waiting worker is rung."""
    # Not the test's own folder: the name of a socket may have 100 characters.
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/redis.sock"
        with running(binary(), Path(folder), "--unixsocket", path):
            client = redis.Redis(unix_socket_path=path)
            store = RedisStorage.open(client if ready_client else f"unix://{path}")
            assert store.address == f"unix://{path}"
            bell = store.listen(BOB, [QUEUE])
            assert not bell.wait(0)
            assert put(store, b"a", b"b") == [1, 2]
            assert bell.wait(10)
            assert ack(store) is SettleStatus.DONE
            assert [record.job.body for record in store.waiting(QUEUE, 9)] == [b"b"]
            bell.close()
            store.close()
            client.close()


# -- long queues -------------------------------------------------------------------------------------------


def test_a_job_is_found_in_a_long_queue(store: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece, over lanes and within one, whether held or not; and taken out where it stands."""
    monkeypatch.setattr(searching, "_LANES_AT_ONCE", 3)
    monkeypatch.setattr(searching, "_JOBS_AT_ONCE", 7)
    ids = []
    for lane in range(8):
        jobs = [NewJob(body=b"x", lane=f"lane-{lane}", level=1 + index % 3) for index in range(25)]
        ids += [answer.id for answer in store.append(QUEUE, jobs)]
    store.claim(ALICE, [QUEUE], lanes=2, window=1, lease_seconds=15)
    for index in (0, 24, 25, 60, 199):
        found = store.get(ids[index])
        assert found is not None
        assert (found.seq, found.lane) == (index + 1, f"lane-{index // 25}")
    assert store.get(f"{QUEUE}/nobody:1") is None
    assert store.cancel(ids[150]) is Cancellation.REMOVED
    assert store.get(ids[150]) is None
    assert store.stats([QUEUE])[0].depth == 199


def test_a_long_queue_is_purged_piece_by_piece(
    store: RedisStorage, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call blocks the server for long, and nothing is left: no lane, no memory of duplicates."""
    monkeypatch.setattr(purging, "_JOBS_AT_ONCE", 7)
    for lane in range(5):
        once = Dedup(f"once-{lane}")
        jobs = [NewJob(body=b"x", lane=f"lane-{lane}") for _ in range(9)]
        store.append(QUEUE, [*jobs, NewJob(body=b"y", lane=f"lane-{lane}", dedup=once)])
        later = NewJob(body=b"z", lane=f"lane-{lane}", due=60, dedup=Dedup(f"later-{lane}"))
        store.append(QUEUE, [later])
    [grant] = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15).grants
    assert store.purge(QUEUE, dead=False) == 54
    assert store.purge(QUEUE, dead=False) == 0
    [answer] = store.settle(
        ALICE, [Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.BURY)]
    )
    assert (answer.status, answer.held) == (SettleStatus.DONE, False)
    assert store.purge(QUEUE, dead=True) == 1
    left = {key.decode().removeprefix(f"gq:{{{QUEUE}}}:") for key in admin.scan_iter("gq:{*")}
    assert left == {"c", "b", "p", "pz", "i", "k", f"u:{ALICE}"}
    found = store.stats([QUEUE])[0]
    assert (found.enqueued, found.depth, found.settled["cancelled"], found.scheduled) == (55, 0, 54, 0)
    assert store.forget(QUEUE) is True  # what an owner that never said goodbye left goes with its queue
    assert admin.keys("*") == []
