"""A lane that is run ahead: one settlement after the other, all alike but for the jobs they name."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Final

from redis import exceptions

from glassq.model.leases import Owner, Settled, Settlement
from glassq.settling import known_by
from glassq.stores.redis import replies, requests
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.pipeline import SKIP_REPLY, Pending, Stream
from glassq.stores.redis.requests import GO_ON, STEP
from glassq.stores.redis.server import Sent, Server
from glassq.stores.steered import Steering

_PATIENCE: Final = 0.001
"""Seconds after a settlement that is answered within which others may do without."""


class RedisCourse:
    """See `glassq.settling.Course`. It is on one connection, which keeps the order, and whatever becomes of
    that ends the course.

    What is the same in all requests is put together once, and a job takes few steps: a request, a list of
    what is on its way, a look at how its answer ends.

    Where the connection allows it, the server is asked to answer the last of a group of settlements only, and
    while no answer is awaited they are left to the operating system until then. To wake a server that sleeps,
    and to be told by it, costs both sides more than a settlement does. A group is half of what may be on its
    way: so the next one begins while its answer comes.
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
        self._began = monotonic()
        self._steering = steering
        self._queue = what.lease.queue
        self._cut = len(self._queue) + 1
        self._beginning, self._end = requests.going_on(key, owner, what, stream.run)
        self._silently = SKIP_REPLY + requests.stepping(key, owner, what, stream.run)
        self._routine = replies.routine(what.change, others=others)
        self.is_over = False
        """See `Course.is_over`."""
        self._silent = self._silent_left = 0
        self._group = max(1, what.ahead // 2) - 1 if stream.may_skip else 0
        self._ask_at = 0.0
        self._unheard: deque[tuple[Pending, int]] = deque()
        self._heard: list[tuple[bytes, int]] = []
        self._settled = 0

    def send(self, job_id: str, next_id: str) -> int | None:
        """See `Course.send`."""
        if self._steering.has_steered and self._steering.is_fresh(self._queue):
            return None
        cut = self._cut
        job, following = job_id[cut:].encode(), next_id[cut:].encode()
        if self._silent_left and monotonic() < self._ask_at:
            self._silent_left -= 1
            try:
                step = STEP % (self._silently, len(job), job, len(following), following)
                if not self._stream.send_silently(step):
                    return None
            except exceptions.RedisError:
                pass  # perhaps it was sent: somebody has to ask
        elif not self._ask(GO_ON % (self._beginning, len(job), job, len(following), following, self._end)):
            return None
        return self._look() if self._unheard else 0

    def _look(self) -> int:
        """Take in what has come of what is awaited, something of which is."""
        oldest = self._unheard[0][0]
        if not (oldest.done or self._stream.look_for(oldest)):
            return 0
        return self._take_in() or -1

    def _ask(self, request: bytes) -> bool:
        """Send one that is answered, also for those before it. The first one is: by its ordinal others are
        known."""
        sent = Pending(self._stream)
        try:
            if not self._stream.send(request, (sent,)):
                return False
        except exceptions.RedisError:
            pass  # perhaps it was sent: that is its answer
        self._unheard.append((sent, self._silent - self._silent_left + 1))
        self._silent = self._silent_left = self._group
        self._ask_at = monotonic() + _PATIENCE
        return True

    def hear(self) -> int:
        """See `Course.hear`."""
        if not self._unheard:
            return 0
        self._stream.wait_for(self._unheard[0][0])
        return self._take_in()

    def _take_in(self) -> int:
        """Of what has come, all that is routine: of how many settlements it tells."""
        unheard, heard, routine = self._unheard, 0, self._routine
        while unheard and unheard[0][0].done:
            sent, count = unheard[0]
            reply = sent.value
            if type(reply) is not bytes or not reply.endswith(routine) or b"|done:" not in reply:
                self.is_over = True
                break
            self._heard.append((reply, count))
            unheard.popleft()
            heard += count
        return heard

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        heard, self._heard = self._heard, []
        told: list[Settled] = []
        last_of_each = replies.settled_alike(self._queue, [reply for reply, _ in heard])
        for answer, (_, count) in zip(last_of_each, heard, strict=True):
            if count > 1:
                told += known_by(answer, count - 1, self._settled)
            told.append(answer)
            self._settled = answer.ordinal
        return told

    def leave(self) -> list[tuple[Sent[Settled], int]]:
        """See `Course.leave`."""
        left, self._unheard = self._unheard, deque()
        return [(Sent(self._server, self._began, sent, self._read), count) for sent, count in left]

    def _read(self, reply: bytes) -> Settled:
        return replies.settled_one(self._queue, reply)


def begin_course(
    server: Commands, steering: Steering, key: str, owner: Owner, what: Settlement, *, others: bool
) -> RedisCourse | None:
    """A course for settlements like this one, of the queue with this key. None in a cluster, whose slots
    move, and without a connection that is open already."""
    if not isinstance(server, Server) or (stream := server.stream) is None:
        return None
    return RedisCourse(server, stream, key, owner, what, others=others, steering=steering)
