"""Claims in one queue, by numbers: one whose answer was lost is made again, and told again what it got."""

from __future__ import annotations

import itertools
import secrets

from glassq.model.leases import Claimed, Owner
from glassq.stores.redis import replies, requests
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.failures import Unanswered
from glassq.stores.redis.keys import Keys


class Claims:
    """The claims of one handle on a store. Thread-safe: each worker claims in a thread of its own."""

    def __init__(self, server: Commands, keys: Keys) -> None:
        self._server = server
        self._keys = keys
        self._handle = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._unanswered: dict[tuple[Owner, str], int] = {}

    def make(
        self,
        owner: Owner,
        queue: str,
        wanted: bytes,
        choice: bytes | None,
        patience: float | None,
    ) -> Claimed:
        """Claim in one queue; one round trip. A claim whose answer was lost has granted lanes nobody knows
        of: so the next one is the same claim, by its number."""
        asked = (owner, queue)
        number = self._unanswered.get(asked) or next(self._numbers)
        call = requests.claim(self._keys.counters(queue), owner, self._handle, number, wanted, choice)
        try:
            answer = self._server.carry_out(call, patience=patience)
        except Unanswered:
            self._unanswered[asked] = number
            raise
        reply = replies.claim(answer)
        self._unanswered.pop(asked, None)
        if reply.repeated and not reply.told:
            return self.make(owner, queue, wanted, choice, patience)
        return Claimed(
            grants=tuple(reply.grants(queue)),
            now=reply.now,
            others={queue: reply.others} if reply.others else {},
            alone=reply.workers <= 1,
            next_due=reply.due,
            found={queue: reply.found},
            looked={} if reply.looked is None else {queue: reply.looked},
        )
