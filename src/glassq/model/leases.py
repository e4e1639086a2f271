"""Who may run a lane's head, and what a store answers about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from glassq.model.flows import FlowEnded
from glassq.model.jobs import StoredJob
from glassq.model.verdicts import Action
from glassq.model.waits import NO_WAITS, Waits
from glassq.model.watermarks import Watermark


class Owner(msgspec.Struct, frozen=True):
    """One running worker. `node` is the stable name of its instance, `incarnation` is new with every
    start of that instance, `worker` tells apart several workers inside it."""

    node: str
    incarnation: str
    worker: int = 0

    def __str__(self) -> str:
        return f"{self.node}/{self.incarnation}/{self.worker}"


class Lease(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """The time-limited, exclusive right to run one lane's head. `token` is the fencing number: it
    grows with every claim of the queue shard, and a store refuses writes under an older one."""

    queue: str
    lane: str
    token: int


class ClaimCause(StrEnum):
    """Why a lane could be claimed: it was simply ready, or it was taken back from an owner."""

    READY = "ready"
    LEASE_EXPIRED = "lease_expired"
    OWNER_DIED = "owner_died"
    HANDOVER = "handover"


_READY = ClaimCause.READY  # as often as it is asked for, an enum's attribute costs too much


class Grant(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A claimed lane with a window of its head. The counters are those of the head alone."""

    lease: Lease
    jobs: tuple[StoredJob, ...]
    cause: ClaimCause = ClaimCause.READY
    attempts: int = 0
    """Executions the head has had, crashed ones included: its next attempt is number `attempts + 1`."""
    failures: int = 0
    """Attempts that failed and count against `max_retries`."""
    crashes: int = 0
    """Times the worker died while this job was its current one."""
    cancelled: bool = False
    """Whether somebody asked to cancel the head while it was running: it must not run again."""
    change: int = 0
    """The lane's change counter: a settlement that reports another one makes the window stale."""
    begun: bool = True
    """Whether the head is taken to have begun; otherwise the worker says when it does."""
    ahead: int = 0
    """How far the worker may run ahead of the store from the start (see `Settlement.ahead`)."""
    waits: Waits = NO_WAITS
    """When nobody held the lane, and why, as far back as its jobs go: what they have waited for so far."""
    stolen: bool = False
    """Whether it was taken from those that the worker may steal from, and was not its own before."""

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is noted of the head, and nobody held the lane before."""
        noted = self.attempts or self.failures or self.crashes or self.cancelled
        return not noted and self.cause is _READY


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a claim."""

    grants: tuple[Grant, ...]
    now: float
    """The store's clock, in epoch seconds."""
    others: Mapping[str, int] = {}
    """Queues in which further lanes are ready: how many at least."""
    alone: bool = False
    """Whether it is known that nobody else serves any of the queues that were looked into."""
    next_due: float | None = None
    """Seconds until a retry is due or a lease ends, when nothing may ring before that. Where lanes
    were granted and others wait for them, ready or in the worker, a store may leave out the leases."""
    found: Mapping[str, Watermark] = {}
    """Where the queues stood that were looked into."""
    looked: Mapping[str, str] = {}
    """How far queues were looked through by whoever wants certain lanes; the next claim goes on there."""


class Renewed(msgspec.Struct, frozen=True):
    """The answer to a renewal."""

    lost: frozenset[Lease] = frozenset()
    """Leases that are no longer this owner's."""
    cancelled: frozenset[str] = frozenset()
    """Ids of current jobs of the renewed lanes that somebody asked to cancel."""
    found: Mapping[str, Watermark] = {}
    """Where the queues of the leases stood."""
    unheard: frozenset[Lease] = frozenset()
    """Leases about which nothing was heard, since a part of the store is away: repeat them soon."""


class Leaving(StrEnum):
    """What happens to the lease after a settlement."""

    STAY = "stay"
    """Go on with the lane's next job; a lane that has none vanishes, and the lease with it."""
    KEEP = "keep"
    """Hold the lane, empty or not, with no current job: a callback runs before what comes next. The
    settlement is then repeated with what is really to happen, which is answered as `already`."""
    YIELD = "yield"
    """Give the lane up to the tail of the ready lanes: its turn is over."""
    RELEASE = "release"
    """Give the lane up at the front: this worker stops, and a standby goes on at once."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The end of an attempt. It names the job after it (`cur` of the lane), so that a later crash is
    blamed on the right one. With `next_id=None`, or when the lane changed since the worker's window was
    read (`change` is not the lane's), the store names the next job itself and answers with a new window."""

    lease: Lease
    job_id: str
    action: Action
    reason: str = ""
    wait: float = 0.0
    error: bytes = b""
    ran: bool = True
    """Whether user code ran: only then does it count as one of the job's attempts."""
    leaving: Leaving = Leaving.STAY
    next_id: str | None = None
    change: int = 0
    window: int = 1
    ahead: int = 0
    """How many settlements this worker may send, once this is answered and until another one says otherwise,
    before it hears of the first of them. The store leaves so many jobs to it: what would take one of them
    away asks the worker instead, and what would come before them comes behind."""
    begun: bool = False
    """Whether the job that is named begins before this is answered, in a lane that is run ahead: the store
    goes on with it, whatever has changed, and gives no new window."""
    begins: Lease | None = None
    """Of one that gives its lane up (`Leaving.YIELD`): another lane of the queue, granted to begin later,
    whose head begins now."""
    result: bytes | None = None
    """What a job that succeeded returned: kept with the settlement where that is kept, and for those who wait
    for this job (see `FlowStorage.upstream`)."""
    keep: float = 0.0
    """Seconds for which this settlement is kept under the job's id (see `Keeping.notes`), in the same step:
    what was done, when, `note`, and the result or the error. A retry's end its wait later. 0: not at all."""
    note: bytes = b""
    """What is kept with it besides; opaque to the store."""


class SettleStatus(StrEnum):
    """What a settlement did."""

    DONE = "done"
    ALREADY = "already"
    """The job was settled before under this very lease: by the first of repeated calls, or by one without an
    answer of its own, of which a later answer tells."""
    FENCED = "fenced"
    """The lane has another owner or token: nothing changed."""


class Settled(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer to a settlement."""

    status: SettleStatus
    now: float
    ordinal: int = 0
    """The place of this settlement among all of its queue shard, given by the store."""
    held: bool = False
    """Whether the lane is still this worker's."""
    others: bool = False
    """Whether other lanes of the queue are ready and wait."""
    paused: bool = False
    """Whether the queue is paused: a worker that holds lanes of it which have not begun gives them back."""
    change: int = 0
    jobs: tuple[StoredJob, ...] = ()
    """A new window that replaces the worker's, or nothing: go on with the job that was named."""
    found: Watermark | None = None
    """Where the queue stood before this call; the same for all settlements of one queue."""
    released: int = 0
    """Deferred jobs that this end of their parent let into their lanes, or cancelled, in this very step."""
    ended: tuple[FlowEnded, ...] = ()
    """The workflow whose last job this was."""
    relay: bool = False
    """Whether others have to be told of it: the queue's outbox has something that was not there before."""
