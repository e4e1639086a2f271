"""The verbs that end jobs: waited for, sent one by one or together, and on a course."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from glassq.model.leases import Owner, Settled, Settlement
from glassq.settling import Answered, Settling, Together
from glassq.stores.redis import replies, requests
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.course import RedisCourse, begin_course
from glassq.stores.redis.keys import Keys
from glassq.stores.steered import Steering
from glassq.stores.together import answered, by_queue, check_together


class SettlingVerbs:
    """The verbs of `glassq.storage.Storage` by which a worker says how its jobs ended."""

    _server: Commands
    _keys: Keys
    _steering: Steering
    _may_send_ahead: bool

    def settle(self, owner: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """See `Storage.settle`. One round trip per queue, in each of which it happens whole or not at all."""
        lanes = {(each.lease.queue, each.lease.lane) for each in settlements}
        if len(lanes) < len(settlements):
            raise ValueError("at most one settlement per lane goes into one call")
        answers: dict[int, Settled] = {}
        for queue, chosen in requests.by_queue(each.lease.queue for each in settlements):
            told = [settlements[index] for index in chosen]
            reply = self._server.carry_out(requests.settling(self._keys.counters(queue), owner, told))
            answers.update(zip(chosen, replies.settled(queue, reply), strict=True))
        self._may_send_ahead = self._server.shares
        return [answers[index] for index in range(len(settlements))]

    def settle_later(self, owner: Owner, settlement: Settlement) -> Settling:
        """See `Storage.settle_later`. Waited for without a shared connection (TLS), the first time, as the
        server may not know the script, and right after this process has steered the queue: what it was told
        is done takes effect before the next job."""
        queue = settlement.lease.queue
        if self._waits_for_answers(queue):
            waited_for = msgspec.structs.replace(settlement, begun=False)
            return Answered(lambda: self.settle(owner, [waited_for])[0])
        call = requests.sent_ahead(self._keys.counters(queue), owner, settlement)
        return self._server.submit(call, partial(replies.settled_one, queue))

    def settle_together(self, owner: Owner, settlements: Sequence[Settlement]) -> Together:
        """See `Storage.settle_together`. Waited for where `settle_later` waits."""
        check_together(settlements)
        return by_queue(settlements, partial(self._send_together, owner))

    def _send_together(self, owner: Owner, queue: str, told: Sequence[Settlement]) -> Together:
        if self._waits_for_answers(queue):
            return answered(len(told), partial(self.settle, owner, told))
        call = requests.settling(self._keys.counters(queue), owner, told)
        sent = self._server.submit(call, partial(replies.settled, queue))
        return Together(len(told), sent.arrived, sent.answer)

    def _waits_for_answers(self, queue: str) -> bool:
        return not self._may_send_ahead or self.is_steered(queue)

    def is_steered(self, queue: str) -> bool:
        """See `Storage.is_steered`."""
        return self._steering.has_steered and self._steering.is_fresh(queue)

    def course(self, owner: Owner, settlement: Settlement, *, others: bool) -> RedisCourse | None:
        """See `Storage.course`. Only on one server, with a connection that others have opened."""
        key = self._keys.counters(settlement.lease.queue)
        begins = self._may_send_ahead
        return (
            begin_course(self._server, self._steering, key, owner, settlement, others=others)
            if begins
            else None
        )
