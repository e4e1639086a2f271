"""The lines of a history, one type an event. Times (`m`) are readings of one clock per host."""

from __future__ import annotations

from typing import Any

import msgspec

PLACE_BITS = 40
"""How much of a place is the number of the line within its file."""

FINAL = frozenset({"ack", "bury", "expire", "cancel"})
"""Actions that end a job; the others end an attempt."""

Mark = tuple[str, int, int, int, str, int, int]
"""Where a queue stood when a call came: its life, seq, jobs accepted, jobs settled; the server's run, and the
seq and the settlements with which that run began."""


class Line(msgspec.Struct, kw_only=True, gc=False, tag_field="e"):
    """Root of all lines. `where` is its place in the history, filled in by the reader: one number, because
    there are millions of lines."""

    m: float
    where: int = 0

    @property
    def file(self) -> int:
        """The number of its file."""
        return self.where >> PLACE_BITS


class Begin(Line, kw_only=True, gc=False, tag="begin"):
    """The first line of each file."""

    v: int
    pid: int
    host: str


class Incomplete(Line, kw_only=True, gc=False, tag="incomplete"):
    """So many events could not be written before this one."""

    missing: int


class EnqueueInvoked(Line, kw_only=True, gc=False, tag="enqueue.invoked"):
    """An append is about to be sent."""

    call: str
    queue: str
    n: int


class EnqueueOk(Line, kw_only=True, gc=False, tag="enqueue.ok"):
    """The store has the jobs: of each id, seq, lane, level, digest of its body, 1 for a duplicate; and of
    those that wait for others, these, with what becomes of them when such a one fails."""

    call: str
    queue: str
    jobs: list[tuple[str, int | None, str, int, str, int]]
    after: dict[str, list[tuple[str, str]]] = {}
    found: Mark | None = None


class EnqueueFailed(Line, kw_only=True, gc=False, tag="enqueue.failed"):
    """Nothing was stored."""

    call: str
    queue: str
    error: str


class EnqueueUnknown(Line, kw_only=True, gc=False, tag="enqueue.unknown"):
    """Perhaps something was stored."""

    call: str
    queue: str
    error: str
    ids: list[str] = []


class LeaseLine(Line, kw_only=True, gc=False):
    """Something about one lease."""

    queue: str
    lane: str
    token: int


class LeaseTaken(LeaseLine, kw_only=True, gc=False, tag="lease.taken"):
    """A worker became a lane's owner; `sent` is when it asked, `now` the store's clock when it answered."""

    cause: str
    seconds: float
    sent: float
    owner: str
    now: float
    found: Mark | None = None


class Listening(Line, kw_only=True, gc=False, tag="worker.listening"):
    """A worker is about to ask for lanes for the first time; `owner` is its node, incarnation and number."""

    owner: str


class LeaseRenewed(Line, kw_only=True, gc=False, tag="lease.renewed"):
    """Leases that were extended, and those that were lost."""

    seconds: float
    sent: float
    leases: list[tuple[str, str, int]]
    lost: list[tuple[str, str, int]] = []


class LeaseLost(LeaseLine, kw_only=True, gc=False, tag="lease.lost"):
    """A worker noticed that it does not own a lane any more."""

    reason: str


class LeaseReleasing(LeaseLine, kw_only=True, gc=False, tag="lease.releasing"):
    """A worker is about to give a lane up unsettled."""


class LeaseLeft(LeaseLine, kw_only=True, gc=False, tag="lease.left"):
    """A worker gave a lane up, or its last job was settled."""


class Start(LeaseLine, kw_only=True, gc=False, tag="start"):
    """User code is about to run. Where it says so itself it does not know whether its job was `replayed`;
    then the calls that replayed it tell (`Facts`)."""

    id: str
    seq: int
    level: int
    attempt: int
    replayed: bool | None = None


class End(LeaseLine, kw_only=True, gc=False, tag="end"):
    """User code ended."""

    id: str
    attempt: int
    outcome: str


class SettleLine(LeaseLine, kw_only=True, gc=False):
    """Something about one settlement."""

    id: str
    action: str


class SettleInvoked(SettleLine, kw_only=True, gc=False, tag="settle.invoked"):
    """A settlement is about to be sent."""

    reason: str = ""
    error: str = ""
    ran: bool = True
    leaving: str = "stay"


class SettleOk(SettleLine, kw_only=True, gc=False, tag="settle.ok"):
    """The store answered: done, or already (done by an earlier call). `held` is whether the lane is still
    this worker's, `now` the store's clock."""

    ordinal: int
    status: str
    held: bool
    now: float
    found: Mark | None = None


class SettleFenced(SettleLine, kw_only=True, gc=False, tag="settle.fenced"):
    """The store refused: the lane is another's."""


class SettleUnknown(SettleLine, kw_only=True, gc=False, tag="settle.unknown"):
    """No answer came."""

    error: str


class Verb(Line, kw_only=True, gc=False):
    """What somebody asked for besides the normal course of jobs."""

    call: str


class ReplayInvoked(Verb, kw_only=True, gc=False, tag="replay.invoked"):
    """Dead letters are about to be brought back."""

    queue: str
    ids: list[str]


class ReplayOk(Verb, kw_only=True, gc=False, tag="replay.ok"):
    """Dead letters were brought back: id, lane, seq they had, seq they have."""

    queue: str
    jobs: list[tuple[str, str, int, int]]


class ReplayUnknown(Verb, kw_only=True, gc=False, tag="replay.unknown"):
    """Perhaps dead letters were brought back."""

    error: str


class CancelInvoked(Verb, kw_only=True, gc=False, tag="cancel.invoked"):
    """A job is about to be cancelled."""

    id: str


class CancelOk(Verb, kw_only=True, gc=False, tag="cancel.ok"):
    """Removed, asked, or nothing of that id."""

    id: str
    result: str | None


class CancelUnknown(Verb, kw_only=True, gc=False, tag="cancel.unknown"):
    """Perhaps a job was cancelled."""

    error: str


class SkipInvoked(Verb, kw_only=True, gc=False, tag="skip.invoked"):
    """A halted lane's head is about to be skipped."""

    queue: str
    lane: str


class SkipOk(Verb, kw_only=True, gc=False, tag="skip.ok"):
    """The head that was skipped, if any."""

    queue: str
    lane: str
    id: str | None


class SkipUnknown(Verb, kw_only=True, gc=False, tag="skip.unknown"):
    """Perhaps a head was skipped."""

    error: str


class PurgeInvoked(Verb, kw_only=True, gc=False, tag="purge.invoked"):
    """Waiting jobs, or dead letters, are about to be dropped, of a queue or of one lane."""

    queue: str
    dead: bool
    lane: str | None = None


class PurgeOk(Verb, kw_only=True, gc=False, tag="purge.ok"):
    """So many were dropped."""

    queue: str
    dead: bool
    lane: str | None = None
    count: int


class PurgeUnknown(Verb, kw_only=True, gc=False, tag="purge.unknown"):
    """Perhaps some were dropped."""

    error: str


class ForgetInvoked(Verb, kw_only=True, gc=False, tag="forget.invoked"):
    """A queue is about to be taken out of its store, if it holds nothing."""

    queue: str


class ForgetOk(Verb, kw_only=True, gc=False, tag="forget.ok"):
    """It is gone; or, not `forgotten`, it held something, or somebody served it."""

    queue: str
    forgotten: bool


class ForgetUnknown(Verb, kw_only=True, gc=False, tag="forget.unknown"):
    """Perhaps it is gone."""

    error: str


class PauseInvoked(Verb, kw_only=True, gc=False, tag="pause.invoked"):
    """A queue, or one lane, is about to be paused."""

    queue: str
    lane: str | None


class PauseOk(Verb, kw_only=True, gc=False, tag="pause.ok"):
    """It is paused; `already`: it was before."""

    queue: str
    lane: str | None
    already: bool


class PauseUnknown(Verb, kw_only=True, gc=False, tag="pause.unknown"):
    """Perhaps it is paused."""

    error: str


class ResumeInvoked(Verb, kw_only=True, gc=False, tag="resume.invoked"):
    """A pause is about to be undone."""

    queue: str
    lane: str | None


class ResumeOk(Verb, kw_only=True, gc=False, tag="resume.ok"):
    """It goes on; `resumed`: it was paused before."""

    queue: str
    lane: str | None
    resumed: bool


class ResumeUnknown(Verb, kw_only=True, gc=False, tag="resume.unknown"):
    """Perhaps it goes on."""

    error: str


class RetryInvoked(Verb, kw_only=True, gc=False, tag="retry.invoked"):
    """A halted lane's head is about to be tried again."""

    queue: str
    lane: str


class RetryOk(Verb, kw_only=True, gc=False, tag="retry.ok"):
    """The lane goes on with its head; `retried`: it was halted."""

    queue: str
    lane: str
    retried: bool


class RetryUnknown(Verb, kw_only=True, gc=False, tag="retry.unknown"):
    """Perhaps the lane goes on."""

    error: str


class LossTold(Line, kw_only=True, gc=False, tag="loss"):
    """This process was told of a loss of data."""

    queue: str
    kind: str
    missing: int


class Left(msgspec.Struct, kw_only=True, gc=False):
    """An unsettled job of a dump."""

    id: str
    seq: int
    lane: str
    level: int
    body: str
    replayed: bool


class Dead(Left, kw_only=True, gc=False):
    """A dead letter of a dump."""

    eligible_at: float
    reason: str
    attempts: int
    error: str
    buried_at: float


class Dump(Line, kw_only=True, gc=False, tag="dump"):
    """What the store held of a queue in the end."""

    queue: str
    unsettled: list[Left]
    dead: list[Dead]
    stats: dict[str, Any]


class DumpEnd(Line, kw_only=True, gc=False, tag="dump.end"):
    """The dump is complete: these are all queues of the store."""

    queues: list[str]


AnyLine = (
    Begin
    | Incomplete
    | EnqueueInvoked
    | EnqueueOk
    | EnqueueFailed
    | EnqueueUnknown
    | Listening
    | LeaseTaken
    | LeaseRenewed
    | LeaseLost
    | LeaseReleasing
    | LeaseLeft
    | Start
    | End
    | SettleInvoked
    | SettleOk
    | SettleFenced
    | SettleUnknown
    | ReplayInvoked
    | ReplayOk
    | ReplayUnknown
    | CancelInvoked
    | CancelOk
    | CancelUnknown
    | SkipInvoked
    | SkipOk
    | SkipUnknown
    | PurgeInvoked
    | PurgeOk
    | PurgeUnknown
    | ForgetInvoked
    | ForgetOk
    | ForgetUnknown
    | PauseInvoked
    | PauseOk
    | PauseUnknown
    | ResumeInvoked
    | ResumeOk
    | ResumeUnknown
    | RetryInvoked
    | RetryOk
    | RetryUnknown
    | LossTold
    | Dump
    | DumpEnd
)
