"""Watches that fencing tokens only grow: everything that keeps two owners of a lane apart rests on that."""

from __future__ import annotations

from threading import get_ident

from glassq.model.events import LaneClaimed, OrderViolated
from glassq.telemetry import Bus


def watch_tokens(bus: Bus) -> None:
    """Report a store that hands out a token not above one it gave before. A worker claims in one thread, one
    call after the other, so what a thread was given for a queue must grow; threads are not compared, because
    what two of them hear may arrive in another order than it was said."""
    last: dict[tuple[int, str], int] = {}

    def claimed(event: LaneClaimed) -> None:
        lease = event.lease
        known = (get_ident(), lease.queue)
        if lease.token <= last.get(known, 0):
            bus.emit(OrderViolated(queue=lease.queue, kind="stale_token"))
        last[known] = lease.token

    bus.subscribe(claimed, LaneClaimed)
