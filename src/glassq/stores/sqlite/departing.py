"""Lanes whose owners are gone, for all one can know on this host: they wait for no lease to end."""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection

from glassq.model.leases import ClaimCause, Owner
from glassq.stores.sqlite import claiming
from glassq.stores.sqlite.liveness import Liveness


def take_from_the_gone(
    cx: Connection, liveness: Liveness, owner: Owner, times: Mapping[int, int], now: int
) -> None:
    """Take lanes back from dead processes, and from an earlier incarnation of this node. `times` tells what
    time it is in the queues that were looked at, `now` in the others."""
    holders = {holder for queue in times for holder in claiming.holders(cx, queue)} - {str(owner)}
    parts = {holder: holder.rsplit("/", 2) for holder in holders}
    former = [
        holder
        for holder, (node, incarnation, _) in parts.items()
        if node == owner.node and incarnation != owner.incarnation
    ]

    def time_of(queue: int) -> int:
        return times.get(queue, now)

    claiming.reclaim_from(cx, former, time_of, ClaimCause.HANDOVER, queues=times)
    departed = liveness.departed(cx, holders)
    claiming.reclaim_from(cx, departed, time_of, ClaimCause.OWNER_DIED)
    for gone in departed:
        liveness.clear_away(cx, gone, now)
