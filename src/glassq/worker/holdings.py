"""The lanes a worker holds, shared between the threads that run them and the one that renews them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter

import msgspec

from glassq.model.clock import Clock
from glassq.model.leases import Lease
from glassq.model.names import DEFAULT_LANE, whole


def _was_sent_nothing() -> bool:
    """Of a lane that is not run."""
    return True


class HeldLane(msgspec.Struct, eq=False):
    """One held lane. `deadline` is when the lease ends by this process's monotonic clock, counted from
    before the claim or renewal was sent: never later than the store thinks. `cancelled` are ids of jobs
    somebody asked to cancel while they run. While `leaving`, a settlement is under way or has given the
    lane up: that the store does not know the lease any more is no loss. `lapsed` once a job was kept from
    beginning, or told to stop, because the lease was over: a renewal that comes through later does not give
    this stay back. `catch_up` hears of all that was sent in it, and says whether it is still held; in other
    threads than the lane's it only says so."""

    lease: Lease
    deadline: float
    clock: Clock
    lost: bool = False
    lapsed: bool = False
    leaving: bool = False
    cancelled: frozenset[str] = frozenset()
    callback_since: float | None = None
    catch_up: Callable[[], bool] = _was_sent_nothing

    @property
    def queue(self) -> str:
        """What people know, of which the lease may name a shard."""
        return whole(self.lease.queue)

    @property
    def key(self) -> str | None:
        """What people know; None for jobs without one."""
        return None if self.lease.lane == DEFAULT_LANE else self.lease.lane

    def now(self) -> float:
        """The time by the clock that deadlines are told by."""
        return self.clock.monotonic()

    def ours(self) -> bool:
        """Whether the lane is this worker's, as far as it can know without asking the store."""
        return not (self.lost or self.lapsed) and self.clock.monotonic() < self.deadline


_LEASE: Callable[[HeldLane], Lease] = attrgetter("lease")


class Holdings:
    """All lanes a worker holds now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[Lease, HeldLane] = {}
        self._empty = threading.Condition(self._lock)

    def add(self, lanes: Sequence[HeldLane]) -> None:
        """Lanes were claimed."""
        with self._lock:
            self._lanes.update(zip(map(_LEASE, lanes), lanes, strict=True))

    def drop(self, leases: Iterable[Lease]) -> None:
        """Lanes' threads are done with them."""
        with self._lock:
            list(map(self._lanes.pop, leases, repeat(None)))
            if not self._lanes:
                self._empty.notify_all()

    def all(self) -> list[HeldLane]:
        """A snapshot."""
        with self._lock:
            return list(self._lanes.values())

    def wait_until_empty(self, timeout: float) -> None:
        """Return when no lane is held any more, or after `timeout` seconds."""
        with self._lock:
            if self._lanes:
                self._empty.wait(timeout)

    def __len__(self) -> int:
        return len(self._lanes)
