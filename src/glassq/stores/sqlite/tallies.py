"""What one transaction adds to the counters of a queue, written once."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

import msgspec

from glassq.model.jobs import JobState
from glassq.stores.sqlite.arriving import join
from glassq.stores.sqlite.jumps import pass_time
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.rows import Placed, QueueRow

_WRITE = (
    "UPDATE queues SET seq = seq + ?, tail = tail + ?, replayed = replayed + ?, tied = tied + ?,"
    " deferred = deferred + ?, settled = settled + ?, succeeded = succeeded + ?, buried = buried + ?,"
    " cancelled = cancelled + ?, expired = expired + ?,"
    " settled_at = CASE WHEN ? THEN ? ELSE settled_at END, seen = ? WHERE id = ?"
)


class Tally(msgspec.Struct):
    """One queue's. `stood` is what was known of it before, and is known of it after `write`."""

    queue: int
    stood: QueueRow
    now: int
    tied: int = 0
    deferred: int = 0
    replayed: int = 0
    succeeded: int = 0
    buried: int = 0
    cancelled: int = 0
    expired: int = 0
    _placed: int = 0
    _opened: int = 0

    @classmethod
    def begin(cls, cx: Connection, known: Known, queue: int, clock: int) -> Tally:
        """Of a queue that this transaction comes to now."""
        stood = known.queue(cx, queue)
        return cls(queue, stood, pass_time(cx, queue, stood.seen, clock))

    def settle(self, outcome: JobState) -> None:
        """Count a job that ended."""
        setattr(self, outcome, getattr(self, outcome) + 1)

    def take_seqs(self, count: int) -> range:
        """The next sequences of the queue."""
        # order: given under the file's write lock, in the transaction that stores the jobs.
        first = self.stood.seq + self._placed + 1
        self._placed += count
        return range(first, first + count)

    def join(self, cx: Connection, known: Known, jobs: Sequence[Placed]) -> bool:
        """Put jobs into their lanes; whether any of these was idle."""
        opened = join(cx, known, self.queue, jobs, self.stood.tail + self._opened)
        self._opened += opened
        return opened > 0

    def write(self, cx: Connection) -> None:
        """Add it to the queue's row."""
        stood = self.stood
        settled = self.succeeded + self.buried + self.cancelled + self.expired
        cx.execute(
            _WRITE,
            (
                self._placed,
                self._opened,
                self.replayed,
                self.tied,
                self.deferred,
                settled,
                self.succeeded,
                self.buried,
                self.cancelled,
                self.expired,
                settled,
                self.now,
                self.now,
                self.queue,
            ),
        )
        stood.seq += self._placed
        stood.tail += self._opened
        stood.replayed += self.replayed
        stood.tied += self.tied
        stood.settled += settled
        stood.seen = self.now
