"""What a shard has to tell others about ended jobs is in its outbox; this carries it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glassq.flowstorage import MAX_DELIVERIES
from glassq.model.flows import Delivered, Delivery
from glassq.model.names import queue_of
from glassq.storage import Storage


def relay(storage: Storage, queue: str, told: Callable[[str, Delivered], None]) -> int:
    """Deliver what is in the outbox of a queue, or shard, at most `MAX_DELIVERIES`; returns how many it were.

    Each delivery is taken out once it has arrived, so one that is interrupted is repeated, which changes
    nothing: by whoever, and by as many at once as like. `told` hears of what was done, and where. A round
    trip to look, and two for each shard that something goes to.
    """
    waiting = storage.outbox(queue, MAX_DELIVERIES)
    if not waiting:
        return 0
    by_home: dict[str, list[Delivery]] = {}
    for delivery in waiting:
        by_home.setdefault(queue_of(delivery.to), []).append(delivery)
    for home, deliveries in by_home.items():
        _deliver(storage, queue, home, deliveries, told)
    return len(waiting)


def _deliver(
    storage: Storage,
    queue: str,
    home: str,
    deliveries: Sequence[Delivery],
    told: Callable[[str, Delivered], None],
) -> None:
    # order: what is told of one parent to one child is told in its order, and taken out only then.
    told(home, storage.deliver(home, deliveries))
    storage.delivered(queue, [each.number for each in deliveries])
