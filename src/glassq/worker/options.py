"""Every knob of a worker, each with what goes wrong without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from glassq.errors import BadOption
from glassq.model.names import check_key, check_name, nearest
from glassq.policy.assignment import is_pattern


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works. Times are seconds."""

    queues: tuple[str, ...] | None = None
    """Served queues; None serves all of the application, those declared later too."""
    concurrency: int = 4
    """Lanes run at the same time, one thread each. Too few: lanes wait for one another."""
    lease_seconds: float = 15.0
    """Length of a lease, renewed every third of it. Too short: a busy machine loses lanes it is running.
    Too long: on Redis a crashed worker's lanes stand still for as long."""
    window: int = 64
    """Jobs read ahead per lane. Fewer cost a wait each time the window is used up; more need memory, as
    payloads are read with them."""
    max_in_flight: int = 16
    """Jobs of one lane that may have begun and are not known to be settled, with the one that runs, where
    jobs are quick and the store takes settlements nobody waits for; 1 counts as 2. That many jobs run again
    when the store cannot be reached for longer than a lease; fewer cost rate."""
    max_crashes: int = 5
    """Deaths of a worker while running one job, after which the job is given up. Without a bound, a job
    that kills its process blocks its lane for ever. With 1, short turns are settled one by one: together, a
    death would be blamed on all of them."""
    callback_timeout: float = 30.0
    """A callback that runs longer is reported in the log."""
    assigned: tuple[str, ...] = ()
    """Keys, and patterns with a `*`, whose lanes this worker takes before any others."""
    steal_from: tuple[str, ...] = ()
    """Keys and patterns of other workers, in whose order it helps out when it has nothing of its own."""
    exclusive: bool = False
    """Whether it leaves alone what is not assigned to it. Then nobody else may ever run the rest."""

    schedules: bool | None = None
    """Whether this worker may lead the schedules; None: when its application declares any. If no process may,
    no slot is enqueued."""

    def __post_init__(self) -> None:
        for queue in self.queues or ():
            check_name("queues", queue)
        for option in ("concurrency", "window", "max_in_flight", "max_crashes"):
            value = getattr(self, option)
            if not isinstance(value, int) or value < 1:
                raise BadOption(option, f"is a whole number from 1 up, got {value!r}")
        self._check_keys()
        if self.schedules not in (None, True, False):
            raise BadOption("schedules", f"is True, False or None, got {self.schedules!r}")
        if self.lease_seconds < 1:
            raise BadOption("lease_seconds", f"is at least 1 second, got {self.lease_seconds!r}")

    @property
    def chooses(self) -> bool:
        """Whether it wants certain keys rather than others."""
        return bool(self.assigned or self.steal_from)

    @property
    def most_unheard(self) -> int:
        """Settlements of one lane that may be on their way while its next job runs."""
        return max(1, self.max_in_flight - 1)

    @property
    def patience(self) -> float:
        """Seconds for which settlements are sent without an answer from the store: as long as leases are
        renewed."""
        return self.lease_seconds / 3

    def _check_keys(self) -> None:
        for option, keys in (("assigned", self.assigned), ("steal_from", self.steal_from)):
            for key in keys:
                _check_entry(option, key)
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                raise BadOption(option, f"names {twice!r} twice")
            if sum(map(is_pattern, keys)) > _MOST_PATTERNS or len(keys) > _MOST_KEYS:
                raise BadOption(
                    option,
                    f"has at most {_MOST_KEYS:,} entries, {_MOST_PATTERNS} of them with a *;"
                    " a pattern names all keys with a common beginning",
                )
        if both := next((key for key in self.assigned if key in self.steal_from), None):
            raise BadOption(
                "steal_from", f"names {both!r}, which is assigned to this worker; take it out of one"
            )
        if not isinstance(self.exclusive, bool):
            raise BadOption("exclusive", f"is True or False, got {self.exclusive!r}")
        if self.exclusive and self.steal_from:
            raise BadOption(
                "exclusive", "and steal_from exclude each other: it leaves alone what is not assigned"
            )
        if self.exclusive and not self.assigned:
            raise BadOption("exclusive", "needs assigned=[...]: without keys this worker would run nothing")


class WorkerOption(TypedDict, total=False):
    """What `app.worker(...)` takes beside the queues and the concurrency, for type checkers: the other fields
    of `WorkerOptions`."""

    lease_seconds: float
    window: int
    max_in_flight: int
    max_crashes: int
    callback_timeout: float
    assigned: list[str] | tuple[str, ...]
    steal_from: list[str] | tuple[str, ...]
    exclusive: bool
    schedules: bool | None


_MOST_KEYS = 1000
_MOST_PATTERNS = 20


def _check_entry(option: str, key: object) -> None:
    try:
        check_key(key)
    except BadOption as error:
        raise BadOption(option, f"has {key!r}; {str(error).removeprefix('key: ')}") from None


def worker_options(queues: Sequence[str] | None, said: Mapping[str, Any]) -> WorkerOptions:
    """The options of a worker for these queues, of what a program said; `BadOption` for what is none."""
    known = WorkerOptions.__struct_fields__
    if "turn" in said:
        raise BadOption("turn", "is the queue's, the same for all its workers: app.queue(name, turn=32)")
    for option in said:
        if option not in known:
            raise BadOption(option, "is not an option of a worker", nearest(option, known))
    keys = {
        option: _key_list(option, said[option]) for option in ("assigned", "steal_from") if option in said
    }
    return WorkerOptions(queues=None if queues is None else tuple(queues), **{**said, **keys})


def _key_list(option: str, value: object) -> tuple[str, ...]:
    """Keys and patterns as a tuple, in their order; `BadOption` for what is no list."""
    if not isinstance(value, list | tuple):
        raise BadOption(option, f"is a list of keys and patterns, got {value!r}")
    return tuple(value)
