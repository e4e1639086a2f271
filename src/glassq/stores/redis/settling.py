"""A settlement that nobody waits for."""

from __future__ import annotations

from glassq.model.leases import Settled
from glassq.stores.redis import replies
from glassq.stores.redis.server import Sent


class GoingOn:
    """`glassq.storage.Settling` of a settlement that was sent to the server."""

    def __init__(self, queue: str, sent: Sent) -> None:
        self._queue = queue
        self._sent = sent

    def arrived(self) -> bool:
        """See `Settling.arrived`."""
        return self._sent.arrived()

    def answer(self) -> Settled:
        """See `Settling.answer`."""
        (told,) = replies.settled(self._queue, self._sent.answer())
        return told
