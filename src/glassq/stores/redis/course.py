"""A lane that is run ahead: one settlement after the other, all alike but for the jobs they name."""

from __future__ import annotations

import time
from collections import deque

from redis import exceptions

from glassq.model.leases import Owner, Settled, Settlement
from glassq.stores.redis import replies, requests
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.pipeline import Pending, Stream
from glassq.stores.redis.server import Sent, Server
from glassq.stores.redis.steering import Steering


class RedisCourse:
    """See `glassq.settling.Course`. It is on one connection, which keeps the order, and whatever becomes of
    that ends the course.

    What is the same in all requests is put together once, and a job takes few steps: a request, a list of
    what is on its way, a look at how its answer ends.
    """

    def __init__(
        self,
        server: Server,
        stream: Stream,
        key: str,
        owner: Owner,
        what: Settlement,
        *,
        others: bool,
        steering: Steering,
    ) -> None:
        self._server = server
        self._stream = stream
        self._began = time.monotonic()
        self._steering = steering
        self._queue = what.lease.queue
        self._cut = len(self._queue) + 1
        self._beginning, self._end = requests.going_on(key, owner, what, stream.run)
        self._routine = replies.routine(what.change, others=others)
        self._unheard: deque[Pending] = deque()
        self._heard: list[bytes] = []

    def send(self, job_id: str, next_id: str) -> bool:
        """See `Course.send`."""
        if self._steering.has_steered and self._steering.is_fresh(self._queue):
            return False
        job, following = job_id[self._cut :].encode(), next_id[self._cut :].encode()
        request = requests.GO_ON % (self._beginning, len(job), job, len(following), following, self._end)
        sent = Pending(self._stream)
        try:
            if not self._stream.send(request, (sent,)):
                return False
        except exceptions.RedisError:
            pass  # perhaps it was sent: that is its answer
        self._unheard.append(sent)
        return True

    def hear(self, *, wait: bool = False) -> int:
        """See `Course.hear`."""
        unheard = self._unheard
        if not unheard:
            return 0
        if wait:
            self._stream.wait_for(unheard[0])
        elif not unheard[0].arrived():
            return 0
        before = len(unheard)
        while unheard and unheard[0].done and self._is_routine(reply := unheard[0].value):
            self._heard.append(reply)
            unheard.popleft()
        return before - len(unheard)

    @property
    def is_over(self) -> bool:
        """See `Course.is_over`."""
        return bool(self._unheard) and self._unheard[0].done

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        heard, self._heard = self._heard, []
        return [replies.settled_one(self._queue, reply) for reply in heard]

    def leave(self) -> list[Sent[Settled]]:
        """See `Course.leave`."""
        left, self._unheard = self._unheard, deque()
        return [
            Sent(self._server, self._began, sent, lambda reply: replies.settled_one(self._queue, reply))
            for sent in left
        ]

    def _is_routine(self, reply: object) -> bool:
        return type(reply) is bytes and reply.endswith(self._routine) and b"|done:" in reply


def begin_course(
    server: Commands, steering: Steering, key: str, owner: Owner, what: Settlement, *, others: bool
) -> RedisCourse | None:
    """A course for settlements like this one, of the queue with this key. None in a cluster, whose slots
    move, and without a connection that is open already."""
    if not isinstance(server, Server) or (stream := server.stream) is None:
        return None
    return RedisCourse(server, stream, key, owner, what, others=others, steering=steering)
