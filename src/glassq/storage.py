"""The storage protocol: blocking, batched, opaque bytes.

Every store passes `glassq.testing.conformance`. The promises each verb keeps:

- a call is atomic in each queue it is about: there it happened whole or not at all;
- `StorageUnavailable` means "not now", and every verb may be repeated after it without harm;
- a lost lease is a value (`FENCED`, or a lease in the returned set), never an exception;
- every write under a lease checks the token *and* the owner;
- answers of `append`, `claim`, `settle`, `renew` and `report` carry where the queue stood when the call came
  (`found`), so that a store which lost what it had acknowledged is found out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from glassq.flowstorage import FlowStorage
from glassq.keeping import Keeping
from glassq.model.jobs import Appended, Cancellation, JobRecord, NewJob, StoredJob
from glassq.model.lanes import LaneOrder, LanesSeen, WorkerStats
from glassq.model.layouts import Layout
from glassq.model.leases import Claimed, Lease, Owner, Renewed, Settled, Settlement
from glassq.model.stats import QueueStats
from glassq.model.watermarks import Watermark
from glassq.settling import Course, Settling, Together

MAX_APPEND_JOBS = 100
MAX_APPEND_BYTES = 1 << 20
"""What one `append` takes at most: the unit that is atomic and contiguous."""

KEPT_SETTLEMENTS = 256
"""How many of a worker's last settlements a store still knows when they are repeated after their leases
are gone: no worker has more of them on their way."""

MAX_TOGETHER = 100
"""How many settlements go into one message at most: a server is kept for about a millisecond by them."""


def append_size(jobs: Sequence[NewJob]) -> int:
    """The bytes of an append; `ValueError` when it is more than one append takes."""
    size = len(jobs[0].body) if len(jobs) == 1 else sum([len(job.body) for job in jobs])
    if len(jobs) > MAX_APPEND_JOBS or size > MAX_APPEND_BYTES:
        limits = f"{MAX_APPEND_JOBS} jobs of {MAX_APPEND_BYTES} bytes in all"
        raise ValueError(f"one append takes {limits}, got {len(jobs)} of {size}")
    return size


class DeadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A buried job as stored. Times are epoch seconds by the store's clock."""

    job: StoredJob
    lane: str
    reason: str
    attempts: int
    error: bytes
    buried_at: float


class Replayed(msgspec.Struct, frozen=True):
    """A dead letter that was brought back: its lane, its job's id, the seq it had and the one it has."""

    id: str
    lane: str
    was: int
    seq: int


class HaltedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A halted lane as stored, with its head."""

    lane: str
    head: StoredJob
    reason: str
    attempts: int
    error: bytes
    since: float
    waiting: int


class WaitingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An unsettled job with the lane it is in."""

    lane: str
    job: StoredJob


class Doorbell(Protocol):
    """Wakes one worker. A ring that comes before the wait is not lost."""

    def wait(self, timeout: float | None) -> bool:
        """Block until something rang or `timeout` seconds passed; True when something rang.

        Rings when a lane of a queue it listens to becomes ready, when an owner on this host dies (stores
        that can see that), and on `ring`. Spurious rings are allowed.
        """
        ...

    def ring(self) -> None:
        """Wake this waiter from another thread of this process."""
        ...

    def attend(self, queues: Sequence[str]) -> None:
        """Hear of these queues from now on, besides those listened to. Belongs to the thread that waits."""
        ...

    def close(self) -> None:
        """Forget this worker: it no longer counts as alive. Leases it still holds are not released."""
        ...


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which lanes of a queue a worker wants, and in which order; times are seconds.

    First those `assigned` to it, by name or by a pattern in which a `*` stands for any text; then those of
    `steal_from` (names and patterns) in this order; then, unless `exclusive`, any. Within each, the lane that
    waited longest comes first.

    A store remembers who had a lane last, for as long as it `stays`. Until so long after it changed its
    owner, it is granted to nobody else, unless its owner is gone or was not heard of for a lease. What is
    neither assigned to this worker nor its own is granted to it only when it has waited for `patience`. What
    it got `lately`, is still its own and has waited for so long, comes with what is assigned: nobody else may
    serve it. Workers without a choice heed none of this.

    No more than a hundred lanes are looked at for each of: assigned names, lately had ones, patterns (going
    on `after` what was looked at before), steal_from's names, and the lanes that wait longest.
    """

    assigned: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    lately: tuple[str, ...] = ()
    steal_from: tuple[str, ...] = ()
    exclusive: bool = False
    after: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Where looking through goes on, by the name of the queue or shard: as the last claim in it answered."""
    patience: float = 0.0
    stays: float = 0.0


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms a worker claims lanes of one queue."""

    turn: int = 1
    """Jobs each lane is granted with at most, when other lanes wait."""
    lanes: int | None = None
    """Lanes of this queue at most; None: as many as of all."""
    begin: int | None = None
    """Of them so many that begin at once; None: as many as of all."""
    together: bool = False
    """Whether further ones begin at once, too, whose turns are one job, or may end with the few they are
    granted with, and of whose heads nothing is noted: they are run in a row and settled together. Their
    worker's death is blamed on all of them, once; then they begin one by one."""
    choice: Choice | None = None
    """Which lanes; None: any."""

    def within(self, lanes: int, begin: int) -> tuple[int, int]:
        """How many lanes may be granted, and how many of them begin, where so many are left of all."""
        granted = lanes if self.lanes is None else min(lanes, self.lanes)
        begun = begin if self.begin is None else min(begin, self.begin)
        return granted, min(granted, begun)

    def share(self, place: int, parts: int) -> Terms:
        """What falls to one of so many parts of the queue: together no more than to the whole."""
        if parts == 1:
            return self
        return msgspec.structs.replace(
            self, lanes=_part(self.lanes, place, parts), begin=_part(self.begin, place, parts)
        )


def _part(most: int | None, place: int, parts: int) -> int | None:
    return None if most is None else most // parts + (place < most % parts)


NO_TERMS: Mapping[str, Terms] = {}
PLAIN_TERMS = Terms()


class Storage(Keeping, FlowStorage, Protocol):
    """What a store can do. One call is one round trip unless stated."""

    @property
    def kind(self) -> str:
        """`redis` or `sqlite`: the value of the metrics' `store` label."""
        ...

    @property
    def address(self) -> str:
        """Where the store is, for people and spans; passwords masked."""
        ...

    def append(
        self, queue: str, jobs: Sequence[NewJob], *, max_length: int | None = None, replicas: int = 0
    ) -> list[Appended]:
        """Add jobs at the tail of their lanes, contiguous and all or none; scheduled ones wait beside them.

        At most `MAX_APPEND_JOBS` jobs of `MAX_APPEND_BYTES` in all (`ValueError` otherwise). Returns only
        after the store acknowledged. Safe against a lost reply: a repeated append never doubles a job.
        A job that would exceed `max_length` unsettled jobs (scheduled ones count, duplicates do not) raises
        `QueueFull`, and nothing is stored. With `replicas` it returns after so many replicas have the jobs,
        and raises `EnqueueUncertain` when they did not answer in time, as after any answer that was lost for
        good: it names the first job, and the numbers of the others follow. A store without replicas raises
        `ConfigurationError`.
        """
        ...

    def listen(self, owner: Owner, queues: Sequence[str]) -> Doorbell:
        """Make a worker known as alive and give it its doorbell. Comes before its first claim."""
        ...

    def report(self, owner: Owner, queues: Sequence[str]) -> dict[str, Watermark]:
        """Heartbeat: this worker is alive and serves these queues. Returns where each of them stands."""
        ...

    def claim(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        lanes: int,
        window: int,
        lease_seconds: float,
        begin: int | None = None,
        ahead: int = 0,
        terms: Mapping[str, Terms] = NO_TERMS,
    ) -> Claimed:
        """Take up to `lanes` ready lanes, looking through `queues` in this order, longest waiting lane first.

        Before that, lanes whose lease ended or whose owner is known to be dead go back to ready at the
        front, and lanes whose retry is due to the tail. Each granted lane comes with up to `window` jobs
        of its head (no more than a turn when other lanes are waiting, just one when the head has begun
        before), and the head becomes the lane's current job. One round trip per queue at most; a shard that
        comes after all lanes were granted need not be asked, and counts as having further ones.

        Only the first `begin` of them (None: all) begin at once, and those that do by `Terms.together`. The
        others wait behind them in the worker, which says when each begins (`begin`, `Settlement.begins`):
        until then a crash is not their heads'. A store may keep from granting such lanes. The worker may run
        `ahead` of the store in each lane from the start (see `Settlement.ahead`), as far as the grant says.
        `terms` say what else holds for a queue.
        """
        ...

    def begin(self, owner: Owner, lease: Lease) -> None:
        """The head of a lane that was granted to begin later begins now. Nothing for a lease that is lost."""
        ...

    def settle(self, owner: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """End attempts of lane heads, one answer each, in order. At most one settlement per lane.

        ACK, EXPIRE and CANCEL remove the job; BURY moves it to the dead letters; RETRY leaves it at the head
        and the lane waits; HALT leaves it and the lane stops until `retry_lane` or `skip_lane`. RETRY and
        HALT give the lease up. A lane without jobs leaves nothing behind.
        """
        ...

    def settle_later(self, owner: Owner, settlement: Settlement) -> Settling:
        """Send one settlement whose next job begins at once (`begun`), or that ends its lane's turn
        (`Leaving.YIELD`), and do not wait for the answer.

        When this returns, it is on its way before anything that is sent later. Raises nothing of the store's:
        what went wrong is the answer. A store that answers at once may take it for any other settlement:
        an answer that is there already, with a window, says what is next.
        """
        ...

    def settle_together(self, owner: Owner, settlements: Sequence[Settlement]) -> Together:
        """Send settlements of several lanes in one message for each queue, as `settle_later` does one by one.

        Each ends its lane's turn (`Leaving.YIELD`), or its next job begins at once (`begun`); at most one per
        lane, at most `MAX_TOGETHER` (`ValueError` otherwise). What is returned stands for them in their
        order. A queue's are carried out in one step, and what fails has failed for each of them: each may be
        repeated by itself.
        """
        ...

    def is_steered(self, queue: str) -> bool:
        """Whether this process paused or changed the queue a moment ago: no settlement is held back then."""
        ...

    def course(self, owner: Owner, settlement: Settlement, *, others: bool) -> Course | None:
        """A way to send many settlements like this one, of a job that succeeded and whose next one has
        `begun`.

        `others`: whether other lanes wait, as far as was heard. None where they are sent as well one by one.
        """
        ...

    def renew(self, owner: Owner, leases: Sequence[Lease], *, lease_seconds: float) -> Renewed:
        """Extend leases; says which are lost, and which of their current jobs are asked to be cancelled.

        Where a part of the store is away, also about which nothing was heard; `StorageUnavailable` when that
        is all of them.
        """
        ...

    def release(self, owner: Owner, leases: Sequence[Lease], *, front: bool = True) -> None:
        """Give lanes up unsettled: their jobs stay at the head, nothing counts as an attempt or a crash.

        They are served next (`front`) or after the lanes that are waiting now. Empty ones vanish.
        """
        ...

    def retry_lane(self, queue: str, lane: str) -> bool:
        """Let a halted lane run its head again, with fresh retries; False when it is not halted."""
        ...

    def skip_lane(
        self, queue: str, lane: str, *, expected: str | None = None, keep: float = 0.0, note: bytes = b""
    ) -> StoredJob | None:
        """End a halted lane's head as cancelled and let the lane go on. None, and nothing is done, when it is
        not halted, or its head is not the `expected` job. That it ended is kept as `Settlement.keep` says."""
        ...

    def cancel(self, job_id: str, *, keep: float = 0.0, note: bytes = b"") -> Cancellation | None:
        """Take a job out that has not been settled: None when there is none of this id.

        A scheduled, waiting, retrying or halted job is removed and counts as settled (`cancelled`); the lane
        of a halted head goes on. A job that is running is asked (see `renew`), and so is one that may have
        begun in a lane that is run ahead: if it had not, it ends as cancelled once its worker is heard of.
        What the store ends itself, now or then, is kept as `Settlement.keep` says. Reads the lane: never in
        the path of a job.
        """
        ...

    def get(self, job_id: str) -> JobRecord | None:
        """A scheduled, unsettled or buried job by its id. Reads the lane: never in the path of a job."""
        ...

    def pause(self, queue: str, lane: str | None = None) -> bool:
        """Let no further job of the queue, or of one lane, begin; also of a lane that does not exist yet.

        Attempts that run are not disturbed; their lane is left at their settlement. True when it was paused
        already, which is no error.
        """
        ...

    def resume(self, queue: str, lane: str | None = None) -> bool:
        """Undo a `pause` of the same scope; False when it was not paused. Each scope is lifted by itself."""
        ...

    def replay(self, queue: str, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """Bring dead letters back, in ascending seq, all in one step; unknown ids are left out of the answer.

        At the front they keep their seq and come before all waiting jobs of their lane, behind a head that
        has begun, and behind those that may have in a lane that is run ahead; at the tail they take a new
        one. Either way they are marked as replayed, keep their id, and start with no attempts. At most
        `MAX_APPEND_JOBS` ids (`ValueError` otherwise).
        """
        ...

    def purge(self, queue: str, *, dead: bool, lane: str | None = None) -> int:
        """Drop dead letters, or with `dead=False` every scheduled and waiting job (settled as cancelled; the
        ones that run, or may, are left alone), of a queue or of one lane. Returns how many. May take several
        round trips on a long queue."""
        ...

    def forget(self, queue: str) -> bool:
        """Take every trace of a queue out of the store, its totals and its name included.

        False, and nothing is done, while it holds jobs or dead letters or a worker serves it. Only for a name
        that nobody else uses: whoever had a job acknowledged in it would have to call this a loss of data.
        """
        ...

    def waiting(self, queue: str, limit: int) -> list[WaitingRecord]:
        """The first unsettled jobs of a queue in ascending seq. Reads only."""
        ...

    def dead(self, queue: str, limit: int) -> list[DeadRecord]:
        """Dead letters, lowest seq first. Reads only."""
        ...

    def halted(self, queue: str, limit: int) -> list[HaltedRecord]:
        """Halted lanes, longest halted first. Reads only."""
        ...

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """One entry per name, in order. Reads only.

        All zeros, but for the workers that serve it, for a queue nothing was ever put into.
        """
        ...

    def lanes(self, queue: str, *, by: LaneOrder, limit: int, look: int) -> LanesSeen:
        """The first `limit` lanes of a queue that have jobs, the deepest, oldest or longest held up first, by
        name where they are alike; by `BLOCKED` only those that are held up. Reads only.

        At most `look` lanes are looked at, besides those that an index of the store puts first; the answer
        says whether that was enough. May take a round trip for every 50 of them, each in a moment of its own
        that keeps a server for no longer than any verb does.
        """
        ...

    def workers(self, queue: str) -> list[WorkerStats]:
        """Who serves a queue, and who is gone and still holds lanes of it, by name. Reads only; costs a read
        per held lane, and may take a round trip for every 50 of them."""
        ...

    def queues(self) -> list[str]:
        """The names of all queues anything was ever put into, sorted. Reads only."""
        ...

    def layouts(self) -> dict[str, Layout]:
        """How queues are cut into shards, by name; those that are not there are whole. Reads only.

        Each shard is a queue of its own to all other verbs, under a name of its own (`Layout.shards`).
        """
        ...

    def lay_out(self, queue: str, count: int) -> Layout:
        """Cut a queue into so many shards, if it is not cut so already; returns how it is cut now.

        Whoever comes first decides. Another number is `ShardsInUse` while any part of the queue holds a job
        or a dead letter, or a worker serves it; else the former parts are closed, in which nothing is
        appended any more (`QueueClosed`), whoever still tries.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections. Idempotent; afterwards every verb raises `StorageUnavailable`."""
        ...


class ShardedStorage(Storage, Protocol):
    """A storage to whom a queue is one queue, however many shards it is cut into.

    `append` takes jobs of one shard at a time, since what is atomic is atomic in a shard.
    """

    @property
    def inner(self) -> Storage:
        """The store itself, to which each shard is a queue of its own."""
        ...

    def shards(self, queue: str) -> Sequence[str]:
        """The shards of a queue that is put into, of which `model.layouts.shard_of` picks a lane's: one, its
        own name, when it is whole. A round trip when the queue was not asked for before."""
        ...
