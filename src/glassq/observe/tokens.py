"""Watches that fencing tokens only grow: everything that keeps two owners of a lane apart rests on that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import repeat
from operator import attrgetter, gt

from glassq.model.events import LaneClaimed, OrderViolated
from glassq.model.leases import Lease
from glassq.model.runs import Run
from glassq.telemetry import Bus

MAX_LANES_REMEMBERED = 4096
_QUEUE, _LANE, _TOKEN = attrgetter("queue"), attrgetter("lane"), attrgetter("token")


def watch_tokens(bus: Bus) -> Callable[[], AbstractContextManager[None]]:
    """Report a store that hands a lane out under a token not above one it had before. Returns what is entered
    for as long as another store is used, whose tokens have nothing to do with these.

    A worker makes one claim after the other, in whichever thread, so what it was given for a lane must grow.
    Workers are not compared: what two of them hear may arrive in another order than it was said. Nor are the
    lanes of one claim, which may come in any order.
    """
    last: dict[tuple[str, str, str], int] = {}

    def look_at(worker: str, lease: Lease) -> None:
        known = (worker, lease.queue, lease.lane)
        if lease.token <= last.get(known, 0):
            bus.emit(OrderViolated(queue=lease.queue, kind="stale_token"))
        elif len(last) >= MAX_LANES_REMEMBERED:
            last.clear()  # a million keys must not make a million entries; what comes next is watched again
        last[known] = lease.token

    def claimed(event: LaneClaimed) -> None:
        look_at(event.worker, event.lease)

    def claimed_together(run: Run[LaneClaimed]) -> None:
        worker, leases = run.first("worker"), run.column("lease")
        lanes = zip(repeat(worker), map(_QUEUE, leases), map(_LANE, leases), strict=False)
        tokens = dict(zip(lanes, map(_TOKEN, leases), strict=True))
        have_grown = all(map(gt, tokens.values(), map(last.get, tokens, repeat(0))))
        if have_grown and len(tokens) == len(leases) <= MAX_LANES_REMEMBERED - len(last):
            last.update(tokens)
            return
        for lease in leases:
            look_at(worker, lease)

    @contextmanager
    def elsewhere() -> Iterator[None]:
        last.clear()
        try:
            yield
        finally:
            last.clear()

    bus.subscribe(claimed, LaneClaimed, together=claimed_together)
    return elsewhere
