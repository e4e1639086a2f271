"""Every knob of a worker, each with what goes wrong without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from glassq.errors import BadOption
from glassq.model.names import check_name, nearest


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
    """Settlements of one lane that may be on their way while its next jobs run, where jobs are quick and the
    store takes such settlements. That many jobs run again when the store cannot be reached for longer than a
    lease; fewer cost rate."""
    max_crashes: int = 5
    """Deaths of a worker while running one job, after which the job is given up. Without a bound, a job
    that kills its process blocks its lane for ever."""
    callback_timeout: float = 30.0
    """A callback that runs longer is reported in the log."""

    def __post_init__(self) -> None:
        for queue in self.queues or ():
            check_name("queues", queue)
        for option in ("concurrency", "window", "max_in_flight", "max_crashes"):
            value = getattr(self, option)
            if not isinstance(value, int) or value < 1:
                raise BadOption(option, f"is a whole number from 1 up, got {value!r}")
        if self.lease_seconds < 1:
            raise BadOption("lease_seconds", f"is at least 1 second, got {self.lease_seconds!r}")


def worker_options(queues: Sequence[str] | None, concurrency: int, given: Mapping[str, Any]) -> WorkerOptions:
    """The options of a worker as a program gave them; `BadOption` for what is none, or cannot be."""
    known = WorkerOptions.__struct_fields__
    for option in given:
        if option == "turn":
            raise BadOption("turn", "is the queue's, the same for all its workers: app.queue(name, turn=32)")
        if option not in known:
            raise BadOption(option, "is not an option of a worker", nearest(option, known))
    return WorkerOptions(queues=None if queues is None else tuple(queues), concurrency=concurrency, **given)
