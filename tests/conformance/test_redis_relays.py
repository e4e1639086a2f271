"""Whoever relays, or looks for a parent, may be killed between any two commands: each child runs once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import redis

from glassq.model.edges import After, EdgePolicy
from glassq.model.jobs import NewJob
from glassq.model.leases import Leaving, Owner, Settlement
from glassq.model.names import queue_of
from glassq.model.verdicts import Action
from glassq.stores.redis.store import RedisStorage

ORDERS, MAIL = "orders", "mail"
BOTH = (ORDERS, MAIL)
FLOW = f"~{MAIL}/0123456789abcdef"
ALICE = Owner("alice", "first")
CHILDREN = 103  # one step lets go a hundred
MANY_COMMANDS = 8


class Killed(BaseException):
    """The process is gone: nothing of it is cleaned up."""


class Client:
    """A process with a handle of its own, which may be killed at one of its commands: before the server got
    it, or (`heard`) before its answer came."""

    def __init__(self, url: str, *, dies_at: int = 0, heard: bool = False) -> None:
        self.store = RedisStorage.open(url)
        self._carry_out = self.store._server.carry_out
        self._left, self._heard = dies_at, heard
        self.store._server.carry_out = self._count  # type: ignore[method-assign]

    def _count(self, *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._heard:
            raise Killed
        answer = self._carry_out(*arguments, **options)
        if self._left == 0:
            raise Killed
        return answer

    def relay(self) -> None:
        """Deliver all there is in the outboxes."""
        for queue in BOTH:
            while found := self.store.outbox(queue):
                for shard in dict.fromkeys(queue_of(each.to) for each in found):
                    there = [each for each in found if queue_of(each.to) == shard]
                    self.store.deliver(shard, there)
                    self.store.delivered(queue, [each.number for each in there])

    def settle_one(self) -> str | None:
        """Settle the head of some lane; its body."""
        granted = self.store.claim(ALICE, BOTH, lanes=1, window=1, lease_seconds=15).grants
        if not granted:
            return None
        [grant] = granted
        what = Settlement(
            lease=grant.lease,
            job_id=grant.jobs[0].id,
            action=Action.ACK,
            result=b"left",
            leaving=Leaving.YIELD,
        )
        self.store.settle(ALICE, [what])
        return grant.jobs[0].body.decode()

    def run_all(self) -> list[str]:
        """Relay and run until nothing is left; the bodies."""
        ran: list[str] = []
        self.relay()
        while body := self.settle_one():
            ran.append(body)
            self.relay()
        for stats in self.store.stats(BOTH):
            assert stats.depth == 0
            assert stats.enqueued + stats.replayed == sum(stats.settled.values())
        return ran


def deaths(
    server: str, begin: Callable[[Client], None], act: Callable[[Client], None]
) -> Iterator[list[str]]:
    """Let a client be killed at each command of `act` in turn, and another one do the rest: what that ran."""
    for heard in (False, True):
        for dies_at in count(1):
            with redis.Redis.from_url(server) as admin:
                admin.flushall()
            first, client, last = Client(server), Client(server, dies_at=dies_at, heard=heard), Client(server)
            begin(first)
            try:
                act(client)
            except Killed:
                yield last.run_all()
            else:
                break
            finally:
                for each in (first, client, last):
                    each.store.close()


def settle_parent(client: Client) -> None:
    """A parent of a workflow whose home is elsewhere, with more children than one step lets go, some of them
    in another queue, and a grandchild; it has succeeded."""
    store = client.store
    store.open_flow(FLOW, name="family", total=1, body=b"", keep_seconds=60)
    [parent] = store.append(ORDERS, [NewJob(body=b"parent", flow=FLOW)])
    after = (After(parent.id),)
    children = [NewJob(body=b"%d" % each, lane="fan", after=after) for each in range(CHILDREN)]
    store.append(ORDERS, children[:100])
    [*_, last] = store.append(ORDERS, children[100:])
    away = store.append(MAIL, [NewJob(body=each, lane="", after=after) for each in (b"a", b"b")])
    store.follow(parent.id, [(each.id, EdgePolicy.CANCEL) for each in away])
    both = (After(away[0].id), After(last.id))
    [grandchild] = store.append(MAIL, [NewJob(body=b"grandchild", after=both)])
    store.follow(last.id, [(grandchild.id, EdgePolicy.CANCEL)])
    assert client.settle_one() == "parent"


def test_a_relay_is_killed_at_each_command(server: str) -> None:
    """Another one does it again, and the rest: each child runs once, in its turn."""
    ways = 0
    for ran in deaths(server, settle_parent, Client.relay):
        ways += 1
        assert [each for each in ran if each.isdigit()] == [str(each) for each in range(CHILDREN)]
        assert [each for each in ran if not each.isdigit()] == ["a", "b", "grandchild"]
        record = Client(server).store.flow(FLOW)
        assert record is not None
        assert record.status == "succeeded"
    assert ways >= MANY_COMMANDS


def test_who_looks_for_a_parent_is_killed_at_each_command(server: str) -> None:
    """The parent had ended before; whoever relays finds that out, if the job got there at all."""
    parents: list[str] = []

    def begin(client: Client) -> None:
        parents[:] = [each.id for each in client.store.append(ORDERS, [NewJob(body=b"parent")])]
        assert client.settle_one() == "parent"

    def append(client: Client) -> None:
        client.store.append(ORDERS, [NewJob(body=b"child", after=(After(parents[0]),))])

    ways = list(deaths(server, begin, append))
    assert ways[0] == []
    assert len(ways) >= MANY_COMMANDS
    assert all(ran == ["child"] for ran in ways[1:])
