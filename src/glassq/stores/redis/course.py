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
from glassq.stores.steered import Steering


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
        self.is_over = False
        """See `Course.is_over`."""
        self._unheard: deque[Pending] = deque()
        self._heard: list[bytes] = []

    def send(self, job_id: str, next_id: str) -> int | None:
        """See `Course.send`."""
        if self._steering.has_steered and self._steering.is_fresh(self._queue):
            return None
        job, following = job_id[self._cut :].encode(), next_id[self._cut :].encode()
        request = requests.GO_ON % (self._beginning, len(job), job, len(following), following, self._end)
        sent = Pending(self._stream)
        try:
            if not self._stream.send(request, (sent,)):
                return None
        except exceptions.RedisError:
            pass  # perhaps it was sent: that is its answer
        unheard = self._unheard
        unheard.append(sent)
        oldest = unheard[0]
        return self._take_in() if oldest.done or self._stream.look_for(oldest) else 0

    def hear(self) -> int:
        """See `Course.hear`."""
        if not self._unheard:
            return 0
        self._stream.wait_for(self._unheard[0])
        return self._take_in()

    def _take_in(self) -> int:
        """Of what has come, all that is routine: how many there were."""
        unheard, heard, routine = self._unheard, 0, self._routine
        while unheard and unheard[0].done:
            reply = unheard[0].value
            if type(reply) is not bytes or not reply.endswith(routine) or b"|done:" not in reply:
                self.is_over = True
                break
            self._heard.append(reply)
            unheard.popleft()
            heard += 1
        return heard

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        heard, self._heard = self._heard, []
        return replies.settled_alike(self._queue, heard)

    def leave(self) -> list[Sent[Settled]]:
        """See `Course.leave`."""
        left, self._unheard = self._unheard, deque()
        return [
            Sent(self._server, self._began, sent, lambda reply: replies.settled_one(self._queue, reply))
            for sent in left
        ]


def begin_course(
    server: Commands, steering: Steering, key: str, owner: Owner, what: Settlement, *, others: bool
) -> RedisCourse | None:
    """A course for settlements like this one, of the queue with this key. None in a cluster, whose slots
    move, and without a connection that is open already."""
    if not isinstance(server, Server) or (stream := server.stream) is None:
        return None
    return RedisCourse(server, stream, key, owner, what, others=others, steering=steering)
