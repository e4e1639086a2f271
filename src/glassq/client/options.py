"""What one call may ask for: `task.options(...)`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

import msgspec

from glassq.errors import BadOption
from glassq.model.edges import After, EdgePolicy
from glassq.model.jobs import Priority, Receipt
from glassq.model.names import UNORDERED, Key, check_id, check_key, is_job_id, nearest
from glassq.model.quantities import YEAR_9999, check_priority, check_seconds

DEFAULT_DEDUP_WINDOW = 300.0
"""Seconds a `dedup_id` is remembered (the window of Amazon SQS)."""
MAX_DEDUP_ID = 256
MAX_PARENTS = 10_000
"""Jobs that one job may come after."""


class CallOption(TypedDict, total=False):
    """What `task.options(...)` takes, for type checkers."""

    key: Key
    delay: float | timedelta | None
    eta: float | datetime | None
    ttl: float | timedelta | None
    dedup_id: str | None
    dedup_window: float
    unique: bool
    priority: Priority | None
    result_ttl: float | None
    depends_on: Sequence[Receipt | str] | Mapping[str, Receipt | str]
    on_failure: Literal["cancel", "run", "wait"] | None


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Checked options of a call; None where the task's own decide. Times are seconds, `eta` is epoch time."""

    key: Key = None
    delay: float | None = None
    eta: float | None = None
    ttl: float | None = None
    dedup_id: str | None = None
    dedup_window: float = DEFAULT_DEDUP_WINDOW
    unique: bool = False
    priority: int | None = None
    result_ttl: float | None = None
    depends_on: tuple[tuple[str, str], ...] = ()
    """Ids of jobs that it comes after, with the names it knows them by."""
    on_failure: EdgePolicy | None = None

    def after(self) -> tuple[After, ...]:
        """The jobs that it comes after."""
        policy = self.on_failure or EdgePolicy.CANCEL
        return tuple([After(job, policy, name) for job, name in self.depends_on])

    def with_(self, given: Mapping[str, Any]) -> CallOptions:
        """These with `given` over them; `BadOption` for what is unknown or cannot be."""
        for option in given:
            if option not in _CHECKS:
                raise BadOption(option, "is not an option of a call", nearest(option, _CHECKS))
        merged = msgspec.structs.replace(
            self, **{option: _CHECKS[option](option, value) for option, value in given.items()}
        )
        if merged.delay is not None and merged.eta is not None:
            raise BadOption("eta", "and delay exclude each other; give one of them")
        if "dedup_window" in given and merged.dedup_id is None:
            raise BadOption("dedup_window", "says how long a dedup_id is remembered; give one with it")
        if merged.unique and "dedup_window" in given:
            raise BadOption(
                "dedup_window", "and unique exclude each other: unique lasts until the job is settled"
            )
        if merged.depends_on and (merged.delay is not None or merged.eta is not None):
            option = "eta" if merged.delay is None else "delay"
            raise BadOption(option, "and depends_on exclude each other: wait for jobs, or for a moment")
        return merged


def _delay(option: str, value: object) -> float | None:
    if value is None:
        return None
    return check_seconds(option, value.total_seconds() if isinstance(value, timedelta) else value)


def _eta(option: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise BadOption(option, "needs a time zone, or it would mean another moment on another machine")
        return value.timestamp()
    return check_seconds(option, value, at_most=YEAR_9999)


def _ttl(option: str, value: object) -> float | None:
    return None if value is None else check_ttl(option, value)


def check_ttl(option: str, value: object) -> float:
    """Seconds above 0, or a timedelta."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return check_seconds(option, seconds, above_zero=True)


def _dedup_id(option: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_DEDUP_ID:
        raise BadOption(option, f"is text of 1 to {MAX_DEDUP_ID} characters, got {value!r}")
    return check_id(option, "a dedup_id", value)


def _window(option: str, value: object) -> float:
    return check_seconds(option, value, above_zero=True)


def _unique(option: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadOption(option, f"is True or False, got {value!r}")
    return value


def _depends_on(option: str, value: object) -> tuple[tuple[str, str], ...]:
    """Jobs by receipt or id, in a list, or under the names that their child knows them by."""
    named = [(str(name), job) for name, job in value.items()] if isinstance(value, Mapping) else None
    if named is None:
        if not isinstance(value, list | tuple):
            what = "is a list of receipts or job ids, or a mapping of names to them"
            raise BadOption(option, f"{what}; got {type(value).__name__}")
        named = [("", job) for job in value]
    if len(named) > MAX_PARENTS:
        raise BadOption(option, f"has at most {MAX_PARENTS:,} jobs, got {len(named):,}")
    jobs = tuple((_id_of(option, job), name) for name, job in named)
    for job, times in Counter(job for job, _ in jobs).items():
        if times > 1:
            raise BadOption(option, f"has {job} twice; name each job once")
    return jobs


def _id_of(option: str, job: object) -> str:
    if isinstance(job, Receipt):
        return job.id
    known = check_id(option, "a job's id", job)
    if not is_job_id(known):
        raise BadOption(option, f"{known!r} is no job's id; give the receipt, or its id")
    return known


def check_failure_policy(option: str, value: object) -> EdgePolicy | None:
    """What becomes of a job when one that it comes after did not succeed; `BadOption` for anything else."""
    if value is None:
        return None
    try:
        return EdgePolicy(str(value))
    except ValueError:
        raise BadOption(option, f"is one of {', '.join(EdgePolicy)}, got {value!r}") from None


_CHECKS: dict[str, Any] = {
    "key": lambda _, value: value if value is None or value is UNORDERED else check_key(value),
    "delay": _delay,
    "eta": _eta,
    "ttl": _ttl,
    "dedup_id": _dedup_id,
    "dedup_window": _window,
    "unique": _unique,
    "result_ttl": lambda option, value: None if value is None else check_seconds(option, value),
    "priority": lambda option, value: None if value is None else check_priority(option, value),
    "depends_on": _depends_on,
    "on_failure": check_failure_policy,
}
