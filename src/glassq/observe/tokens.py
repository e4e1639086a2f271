"""Watches that fencing tokens only grow: everything that keeps two owners of a lane apart rests on that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import repeat
from operator import attrgetter, gt

from glassq.model.events import LaneClaimed, OrderViolated
from glassq.model.leases import Lease
from glassq.model.runs import Run
from glassq.telemetry import Bus

MAX_LANES_REMEMBERED = 4096
_LANE, _TOKEN = attrgetter("lane"), attrgetter("token")
_NOTHING: Mapping[str, int] = {}


def watch_tokens(bus: Bus) -> Callable[[], AbstractContextManager[None]]:
    """Report a store that hands a lane out under a token not above one it had before. Returns what is entered
    for as long as another store is used, whose tokens have nothing to do with these.

    A worker makes one claim after the other, in whichever thread, so what it was given for a lane must grow.
    Workers are not compared: what two of them hear may arrive in another order than it was said. Nor are the
    lanes of one claim, which may come in any order.
    """
    last: dict[tuple[str, str], dict[str, int]] = {}
    """By worker and queue: what is claimed together has both in common."""

    def remember(worker: str, queue: str, tokens: Mapping[str, int]) -> None:
        lanes = last.setdefault((worker, queue), {})
        before = len(lanes)
        lanes.update(tokens)
        if len(lanes) > before and sum(map(len, list(last.values()))) > MAX_LANES_REMEMBERED:
            last.clear()  # a million keys must not make a million entries; what comes next is watched again
            last[worker, queue] = {**tokens}

    def look_at(worker: str, lease: Lease) -> None:
        if lease.token <= last.get((worker, lease.queue), _NOTHING).get(lease.lane, 0):
            bus.emit(OrderViolated(queue=lease.queue, kind="stale_token"))
        remember(worker, lease.queue, {lease.lane: lease.token})

    def claimed(event: LaneClaimed) -> None:
        look_at(event.worker, event.lease)

    def claimed_together(run: Run[LaneClaimed]) -> None:
        worker, leases = run.first("worker"), run.column("lease")
        queue, tokens = leases[0].queue, dict(zip(map(_LANE, leases), map(_TOKEN, leases), strict=True))
        known = last.get((worker, queue), _NOTHING)
        have_grown = all(map(gt, tokens.values(), map(known.get, tokens, repeat(0))))
        if have_grown and len(tokens) == len(leases):
            remember(worker, queue, tokens)
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
