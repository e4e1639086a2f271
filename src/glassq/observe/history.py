"""Histories: what this process asked of a store, what it was answered, and what it ran, a line an event.

Each process appends to a file of its own, one write per event, so that a kill at any moment costs at most
the end of the last line. `glassq verify` reads such files and checks what strict order promises.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from glassq.context import JobContext
from glassq.errors import BadOption
from glassq.forking import begin_in_children
from glassq.model.events import AttemptStarted, DataLossDetected, LaneLeft, LaneLost
from glassq.model.names import DEFAULT_LANE, queue_of
from glassq.shielding import Log
from glassq.telemetry import NOTHING_AROUND, Attempting, Bus, Subject

log = Log("glassq.history")

FORMAT = 2
SUFFIX = ".jsonl"
CUT = ".cut"
"""Stands before the suffix of a file that lacks events: they could not be written."""


class HistoryFile:
    """This process' file in a directory of histories. Thread-safe; a forked child begins a file of its own.

    Writing never raises: a history that cannot be written is logged once, its file is renamed at once (a full
    disk allows that), and the next one says how many events are missing. `BadOption` for a directory that
    cannot be used.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BadOption("history", f"cannot make the directory {directory}: {error.strerror}") from error
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise BadOption("history", f"cannot write into the directory {directory}")
        self._missing = 0
        self._marked = self._complained = False
        self._calls = count(1)
        self._close: Callable[[], object] = lambda: None
        self._descriptor: int | None = None
        self.name = _new_name()
        begin_in_children(self)

    def begin(self) -> None:
        """Begin a new file with the next event. For a child after a fork: its parent's is not its own."""
        # A lock of its own, too: the parent's may have been held by another thread at the fork.
        # Reentrant, because a signal handler may enqueue in the middle of a write.
        self._lock = threading.RLock()
        self._leave_file()

    def now(self) -> float:
        """The clock of the field `m`: one for all processes of a host, and never set."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def call(self) -> str:
        """An id for one call, unique among all processes."""
        return f"{self.name}-{next(self._calls)}"

    def write(self, event: str, **fields: Any) -> None:
        """Append an event that happens now. Returns when the line is with the operating system."""
        with self._lock:
            try:
                if self._descriptor is None:
                    self._descriptor = self._open()
                self._append(self._descriptor, event, fields)
            except OSError as error:
                self._complain(error)

    def _append(self, descriptor: int, event: str, fields: dict[str, Any]) -> None:
        line = {"e": event, "t": round(time.time(), 6), "m": round(self.now(), 7), "p": self.name, **fields}
        data = _encode(line) + b"\n"
        if os.write(descriptor, data) != len(data):
            raise OSError("only a part of a line was written; is the disk full?")

    def _open(self) -> int:
        # A name nobody can guess, made new: a link planted in a shared directory is never followed.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path(), flags, 0o600)
        try:
            self._append(descriptor, "begin", {"v": FORMAT, "pid": os.getpid(), "host": _host()})
            if self._missing:
                self._append(descriptor, "incomplete", {"missing": self._missing})
        except OSError:
            os.close(descriptor)
            raise
        self._missing, self._marked = 0, False
        self._close = finalizer = weakref.finalize(self, os.close, descriptor)
        finalizer.atexit = False  # daemon threads write to the very end
        return descriptor

    def _leave_file(self) -> None:
        self._close()
        self._descriptor = None
        self.name = _new_name()

    def _complain(self, error: OSError) -> None:
        """Leave the file with what may be half a line behind: only the last line of a file may be torn."""
        self._missing += 1
        self._mark_cut()
        self._leave_file()
        if not self._complained:
            self._complained = True
            log.error("the history in %s cannot be written and is incomplete: %s", self._directory, error)

    def _mark_cut(self) -> None:
        """Say by the name of the file that events are missing: this process may be killed before it can write
        again. One such file is enough; further ones that were begun in vain are taken away."""
        try:
            if self._marked:
                self._path().unlink(missing_ok=True)
            else:
                self._path().rename(self._path(CUT))
                self._marked = True
        except OSError:
            pass  # no file, or a directory that takes nothing: the next line that can be written says so

    def _path(self, mark: str = "") -> Path:
        return self._directory / f"{self.name}{mark}{SUFFIX}"

    def __repr__(self) -> str:
        return f"<history {self._directory}>"


_encode = msgspec.json.Encoder().encode


def _new_name() -> str:
    return f"{os.getpid()}-{secrets.token_hex(6)}"


def _host() -> str:
    """What tells whether two processes share the clock of `m`: the machine, and its start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}/{boot}"


# -- what the bus tells --------------------------------------------------------------------------------


def record_attempts(bus: Bus, history: HistoryFile) -> None:
    """Write down starts and ends of attempts, lanes that were left or lost, and losses of data.

    The ends are heard of around attempts, so every job goes the general way: none is plain any more.
    """

    def started(event: AttemptStarted) -> None:
        lease = event.lease
        history.write(
            "start",
            queue=lease.queue,
            lane=lease.lane,
            token=lease.token,
            id=event.job_id,
            seq=event.seq,
            level=event.level,
            attempt=event.attempt,
            replayed=event.replayed,
        )

    bus.subscribe(started, AttemptStarted)
    bus.wrap(_Ends(history))
    record_stays(bus, history)


def record_stays(bus: Bus, history: HistoryFile) -> None:
    """Write down lanes that were left or lost, and losses of data: no job takes another way for that."""

    def left(event: LaneLeft) -> None:
        lease = event.lease
        history.write("lease.left", queue=lease.queue, lane=lease.lane, token=lease.token)

    def lost(event: LaneLost) -> None:
        lease = event.lease
        history.write(
            "lease.lost", queue=lease.queue, lane=lease.lane, token=lease.token, reason=event.reason
        )

    def loss(event: DataLossDetected) -> None:
        history.write("loss", **msgspec.structs.asdict(event))

    bus.subscribe(left, LaneLeft)
    bus.subscribe(lost, LaneLost)
    bus.subscribe(loss, DataLossDetected)


class _Ends:
    """An Around that writes down when user code ended, and how."""

    def __init__(self, history: HistoryFile) -> None:
        self._history = history

    def __call__(self, subject: Subject) -> AbstractContextManager[None]:
        return recorded_end(self._history, subject.job) if isinstance(subject, Attempting) else NOTHING_AROUND


@contextmanager
def recorded_end(history: HistoryFile, job: JobContext) -> Iterator[None]:
    """Write down when this code of a job ended, and how."""
    outcome = "returned"
    try:
        yield
    except BaseException as error:
        outcome = f"raised {type(error).__name__}"
        raise
    finally:
        history.write("end", **stay_of(job), id=job.id, attempt=job.attempt, outcome=outcome)


def stay_of(job: JobContext) -> dict[str, Any]:
    """The lane a job runs in, and under which token, as lines name it."""
    lane = DEFAULT_LANE if job.key is None else job.key
    return {"queue": queue_of(job.id), "lane": lane, "token": job.token}
