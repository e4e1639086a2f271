"""What a server's or a connection's failure means: the one boundary at which Redis errors become glassq's."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import msgspec
from redis import exceptions

from glassq.errors import CorruptRecord, FormatMismatch, QueueClosed, StorageError, StorageUnavailable

FORMAT = 1
"""The format version the scripts read and write; `lua/opening.lua` checks it."""


class Unanswered(StorageUnavailable):
    """When a request was sent and no answer came: it may have been carried out."""


class NeverSent(Exception):
    """The cause of an error that came before the request: while a connection was made."""


class Full(StorageError):
    """When an append would exceed the queue's `max_length`."""

    def __init__(self, depth: int) -> None:
        super().__init__(f"the queue holds {depth} unsettled jobs")
        self.depth = depth


class Never(StorageError):
    """When a job was to wait for one whose id, as scripts of its queue have it, was not given out."""

    def __init__(self, job: str) -> None:
        super().__init__(f"no job ever was {job}")
        self.job = job


class Diagnosis(msgspec.Struct, frozen=True):
    """`reason` is one of `StorageUnavailable`'s; `passing` failures are worth a retry; after a `lost` answer
    the request may have been carried out; `advice` says what to do."""

    reason: str
    passing: bool = False
    lost: bool = False
    advice: str = "see the server's log"


_LATER = "it is retried by itself; check that the server is up"
_REFUSED_CODES: dict[str, Diagnosis] = {
    "LOADING": Diagnosis("connection", passing=True, advice="the server is still loading its data"),
    "BUSY": Diagnosis("timeout", passing=True, advice="a script of another program blocks the server"),
    "TRYAGAIN": Diagnosis("cluster", passing=True, advice=_LATER),
    "CLUSTERDOWN": Diagnosis("cluster", passing=True, advice="the cluster has no owner for these keys"),
    "MASTERDOWN": Diagnosis("cluster", passing=True, advice="the replica lost its master"),
    "MOVED": Diagnosis("cluster", passing=True, advice="these keys are on another node of the cluster"),
    "ASK": Diagnosis("cluster", passing=True, advice="these keys are on their way to another node"),
    "READONLY": Diagnosis("readonly", passing=True, advice="this is a replica; name the master"),
    "UNBLOCKED": Diagnosis("connection", passing=True, advice=_LATER),
    "OOM": Diagnosis("oom", advice="the server's memory is full; settle what is queued or raise maxmemory"),
    "MISCONF": Diagnosis("io", advice="the server cannot write its data to disk"),
    "NOREPLICAS": Diagnosis("readonly", advice="the server wants replicas and has too few of them"),
    "NOAUTH": Diagnosis("auth", advice="put the password into the URL: redis://:password@host"),
    "WRONGPASS": Diagnosis("auth", advice="check the user and password in the URL"),
    "NOPERM": Diagnosis("auth", advice="give the user the rights to run scripts and to use glassq's keys"),
}
_REFUSED_TYPES: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.AuthorizationError, "NOPERM"),
    (exceptions.AuthenticationError, "WRONGPASS"),
    (exceptions.AuthenticationWrongNumberOfArgsError, "WRONGPASS"),
)
# Redis 6.2 wraps what went wrong inside a script, and names missing rights in words only.
_CODE = re.compile(r"\b(" + "|".join(_REFUSED_CODES) + r")\b")
_NO_RIGHTS = re.compile(r"can't run this command|can't access at least one of the keys|ACL failure in script")
_NEVER_CONNECTED = (NeverSent, ConnectionRefusedError, FileNotFoundError, PermissionError, socket.gaierror)


def diagnose(error: exceptions.RedisError) -> Diagnosis:
    """What this failure means for the request that met it."""
    message = _message(error)
    if "Authentication required" in message:
        return _REFUSED_CODES["NOAUTH"]
    for kind, code in _REFUSED_TYPES:
        if isinstance(error, kind):
            return _REFUSED_CODES[code]
    if isinstance(error, (exceptions.TimeoutError, exceptions.ConnectionError)):
        sent = not any(isinstance(cause, _NEVER_CONNECTED) for cause in _causes(error))
        reason = "timeout" if isinstance(error, exceptions.TimeoutError) else "connection"
        return Diagnosis(reason, passing=True, lost=sent, advice=_LATER)
    if _NO_RIGHTS.search(message):
        return _REFUSED_CODES["NOPERM"]
    found = _CODE.search(message)
    return _REFUSED_CODES[found[1]] if found else Diagnosis("other")


def translated(error: exceptions.RedisError, address: str, *, lost: bool) -> StorageError:
    """The glassq error for a failure that is not retried (any more); `lost` when one of the tries may have
    been carried out."""
    message = _message(error)
    closed = re.search(r"GLASSQFORMAT closed:(\w+)", message)
    if closed:
        return QueueClosed("a part of the queue", closed[1])
    if "GLASSQ" in message:
        return _refused(message, address, lost=lost)
    if "WRONGTYPE" in message:
        return CorruptRecord(
            f"{address}: a key of glassq's holds something else ({message}); another program uses the same "
            "names: give glassq a database or a namespace of its own"
        )
    diagnosis = diagnose(error)
    kind = Unanswered if lost else StorageUnavailable
    return kind(f"{address}: {message or type(error).__name__}; {diagnosis.advice}", diagnosis.reason)


def _refused(message: str, address: str, *, lost: bool) -> StorageError:
    """What one of our own scripts has refused, by the word it says."""
    found = re.search(r"GLASSQ([A-Z]+) (\S*)", message)
    word, about = (found[1], found[2]) if found else ("", "")
    if word == "FORMAT" and about.startswith("closed:"):
        return QueueClosed(f"a part of a queue in {address}", about.partition(":")[2])
    if word == "FORMAT":
        return FormatMismatch(address, about, FORMAT)
    if word == "NOTHEAD":
        return StorageError(f"{about} is not the head of its lane; only the head can be settled")
    if word == "NEVER":
        return Never(about)
    if word == "FULL":
        return _full(int(about), address, lost=lost)
    return StorageError(f"{address}: an append arrived after a later one of the same session: {message}")


def _full(depth: int, address: str, *, lost: bool) -> StorageError:
    if not lost:
        return Full(depth)
    # A server that carried the first try out would have known it again; one that took over from it, or came
    # back without its last moments, does not.
    return Unanswered(
        f"{address}: the first try was not answered, and the queue is full ({depth} unsettled jobs) at the "
        "second; look whether the job is there before you enqueue it again",
        "connection",
    )


def _message(error: exceptions.RedisError) -> str:
    return " ".join(str(part) for part in error.args)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
