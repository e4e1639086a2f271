"""FemtoQueue's class and calls, on a SQLite file in its directory."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from glassq.codec import failure_bytes
from glassq.compat.femtofiles import RESERVED, refuse_unmoved
from glassq.compat.femtotasks import DATABASE, FAILED, QUEUE, job_of, task_in
from glassq.errors import BadOption, CorruptRecord, FormatMismatch, LeaseLost
from glassq.forking import begin_in_children
from glassq.model.leases import ClaimCause, Grant, Lease, Owner, Settlement, SettleStatus
from glassq.model.names import check_name
from glassq.model.quantities import check_seconds
from glassq.model.verdicts import Action, Failure
from glassq.shielding import Log
from glassq.stores.sqlite.location import Location
from glassq.stores.sqlite.store import SqliteStorage
from glassq.systemclock import SystemClock
from glassq.worker.options import WorkerOptions

log = Log("glassq.compat")

MAX_CRASHES: Final = WorkerOptions().max_crashes
"""Times a task is left unfinished before it is given up, as with a worker: else one that kills its process
would be the first after each restart, for ever."""

_HANDLES = "femtoqueue"
"""The incarnation under which all handles of a node hold tasks: none takes another's by merely popping."""


@dataclass
class FemtoTask:
    """A task that was handed out: `id` is what `push` or `schedule` returned. `lease` is the right to end it,
    and goes with the object, also into another process; a task made by hand has none."""

    id: str
    data: bytes
    lease: Lease | None = field(default=None, repr=False, compare=False)


class _Taken(msgspec.Struct, frozen=True):
    """A grant, and when it becomes stale (epoch seconds). `behind`: it was taken back with others before it,
    and perhaps it was one of those that left it unfinished."""

    grant: Grant
    stale_at: float
    behind: bool = False


class _Process:
    """What each process has for itself: a lock, and what it took back and has not handed out yet. One that
    was forked is not the node come back: whoever forked it may have tasks out."""

    def __init__(self) -> None:
        self._made_in = os.getpid()
        begin_in_children(self)

    def begin(self) -> None:
        """See `begin_in_children`."""
        self.lock = threading.RLock()
        self.returned: deque[_Taken] = deque()
        self.came_back = os.getpid() != self._made_in


class FemtoQueue:
    """A queue in a directory, shared by the processes of one machine; usable by several threads.

    `data_dir`: the directory, made if it is missing. `node_id`: a stable name of this worker; a new handle
    of that name gets the tasks back that the one before left unfinished. `timeout_stale_ms`: how long a task
    that this handle takes is its own, from the take. `sync_after_write`: survive a loss of power (an fsync
    each).

    `push`, `schedule`, `done` and `fail` are one transaction each, `pop` one per task it looks at, and a few
    more the first time. Nothing runs in the background. Raises `BadOption` for what cannot be used,
    `ConfigurationError` for a directory with tasks in femtoqueue's own files, `StorageError` when the file
    cannot be used; each call may raise the latter.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        node_id: str,
        timeout_stale_ms: int = 30_000,
        sync_after_write: bool = False,  # noqa: FBT001, FBT002 - the signature that is promised
    ) -> None:
        self.data_dir = data_dir
        self.node_id = check_name("node_id", node_id)
        if node_id in RESERVED:
            raise BadOption(
                "node_id", f"{node_id!r} is no node's name; not one of {', '.join(sorted(RESERVED))}"
            )
        self.timeout_stale_ms = timeout_stale_ms
        self._timeout = check_seconds("timeout_stale_ms", timeout_stale_ms, above_zero=True) / 1000
        self.sync_after_write = sync_after_write
        directory = Path(data_dir)
        refuse_unmoved(directory)
        self._storage = SqliteStorage(
            Location(
                path=directory / DATABASE,
                synchronous="full" if sync_after_write else "normal",
                grace=False,  # a task is stale when it is stale; nobody renews
            )
        )
        self._owner = Owner(self.node_id, _HANDLES)
        self._clock = SystemClock()
        self._process = _Process()
        self._out: dict[str, Lease] = {}
        self._close = weakref.finalize(self, self._storage.close)

    def close(self) -> None:
        """Close the file. It is closed with the last reference to this handle, too."""
        self._close()

    # -- putting in ----------------------------------------------------------------------------------------

    def push(self, data: bytes) -> str:
        """Add a task at the end; returns its id. `PayloadTooLarge` above about 1 MiB."""
        return self._append(data, None)

    def schedule(self, data: bytes, time_us: int) -> str:
        """Add a task at the end once it is `time_us` microseconds since the epoch; returns its id."""
        return self._append(data, time_us)

    def _append(self, data: bytes, due_us: int | None) -> str:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"a task is bytes, got {type(data).__name__}; encode it")
        return self._storage.append(QUEUE, [job_of(bytes(data), due_us=due_us)])[0].id

    # -- taking out ----------------------------------------------------------------------------------------

    def pop(self) -> FemtoTask | None:
        """The next task, or None when none is due and free: first those this node left unfinished, then those
        that became stale, then the oldest. Each is handed out once, however many are out. Does not wait."""
        with self._process.lock:
            while (taken := self._next()) is not None:
                task = self._opened(taken)
                if task is not None:
                    return task
        return None

    def done(self, task: FemtoTask) -> None:
        """End a task: nothing is left of it. `LeaseLost` when it is not in progress under this node."""
        self._end(task, Action.ACK)

    def fail(self, task: FemtoTask) -> None:
        """Give a task up: it becomes a dead letter, which `glassq dead` lists and replays. `LeaseLost` when
        it is not in progress under this node."""
        self._end(task, Action.BURY, *FAILED)

    # -- inside --------------------------------------------------------------------------------------------

    def _next(self) -> _Taken | None:
        own = self._process
        if not own.came_back:
            self._take_back()
        while own.returned:
            taken = own.returned.popleft()
            if self._clock.wall() < taken.stale_at:
                return taken  # otherwise it is whoever's comes first
        return self._claim(self._owner)

    def _take_back(self) -> None:
        """Take all that earlier handles of this node left unfinished.

        Not in one step: another node that pops in this moment may get one of them, which is then in good
        hands, too. To have them in one step would be to hold others' tasks for that moment, out of order.
        """
        own, others = self._process, list[Lease]()
        own.returned.clear()
        # A claim of no lanes by another incarnation frees the node's: behind those that became stale, before
        # all others, in their order.
        self._claim(Owner(self.node_id, secrets.token_hex(6)), lanes=0)
        cause: ClaimCause | None = None
        while cause is not ClaimCause.READY and (taken := self._claim(self._owner)) is not None:
            cause = taken.grant.cause
            if cause is ClaimCause.HANDOVER:
                own.returned.append(msgspec.structs.replace(taken, behind=bool(own.returned)))
            else:
                others.append(taken.grant.lease)
        self._storage.release(self._owner, others[::-1])  # the last one released is the first again
        own.came_back = True

    def _claim(self, owner: Owner, lanes: int = 1) -> _Taken | None:
        claimed = self._storage.claim(owner, [QUEUE], lanes=lanes, window=1, lease_seconds=self._timeout)
        return next((_Taken(grant, claimed.now + self._timeout) for grant in claimed.grants), None)

    def _opened(self, taken: _Taken) -> FemtoTask | None:
        """The task that was taken; None when it is ended instead, for a reason that the log tells."""
        grant = taken.grant
        job, lease = grant.jobs[0], grant.lease
        if grant.cancelled:
            self._settle(lease, job.id, Action.CANCEL, ran=False)
            return None
        if grant.crashes >= MAX_CRASHES and not taken.behind:
            self._give_up(grant, "crashed", f"it was left unfinished {grant.crashes} times")
            return None
        try:
            task = task_in(job)
        except CorruptRecord as error:
            self._give_up(grant, "undecodable", str(error))
            return None
        except FormatMismatch:
            self._storage.release(self._owner, [lease])
            raise
        if task.failed:
            self._settle(lease, job.id, Action.BURY, *FAILED)
            return None
        self._out[job.id] = lease
        return FemtoTask(job.id, task.data, lease)

    def _give_up(self, grant: Grant, reason: str, why: str) -> None:
        log.warning("task %s is given up: %s; `glassq dead` shows it", grant.jobs[0].id, why)
        error = failure_bytes(Failure(reason, why))
        self._settle(grant.lease, grant.jobs[0].id, Action.BURY, reason, error, ran=False)

    def _end(self, task: FemtoTask, action: Action, reason: str = "", error: bytes = b"") -> None:
        lease = task.lease or self._out.get(task.id)
        if lease is None or not self._settle(lease, task.id, action, reason, error):
            raise LeaseLost(
                f"task {task.id} is not in progress under node {self.node_id}: it was ended before, or was "
                f"taken again since, as may be done {self.timeout_stale_ms} ms after it was popped"
            )
        self._out.pop(task.id, None)

    def _settle(
        self,
        lease: Lease,
        job_id: str,
        action: Action,
        reason: str = "",
        error: bytes = b"",
        *,
        ran: bool = True,
    ) -> bool:
        """Whether it is ended by this call."""
        settlement = Settlement(
            lease=lease, job_id=job_id, action=action, reason=reason, error=error, ran=ran
        )
        return self._storage.settle(self._owner, [settlement])[0].status is SettleStatus.DONE
