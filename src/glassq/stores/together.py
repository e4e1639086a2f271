"""Settlements of several lanes in one message, as stores make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from glassq.errors import StorageError
from glassq.model.leases import Settled, Settlement
from glassq.settling import Settling, Together


def answered(count: int, settle: Callable[[], Sequence[Settled]]) -> Together:
    """A message that is answered at once, by results or by a failure."""
    together = Together(count, _at_once, settle)
    with suppress(StorageError):  # each of them tells it
        together.answers()
    return together


def _at_once() -> bool:
    return True


def by_queue(told: Sequence[Settlement], send: Callable[[Sequence[Settlement]], Together]) -> Together:
    """Send a message for each queue that these are of: nearly always one."""
    queues = {each.lease.queue: None for each in told}
    if len(queues) == 1:
        return send(told)
    sent: dict[int, Settling] = {}
    for queue in queues:
        places = [place for place, each in enumerate(told) if each.lease.queue == queue]
        sent.update(zip(places, send([told[each] for each in places]), strict=True))
    return Together.of([sent[place] for place in range(len(told))])
