"""Settlements of several lanes in one message, as stores make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter

from glassq.errors import StorageError
from glassq.model.leases import Leaving, Settled, Settlement
from glassq.model.turnends import TurnEnds
from glassq.settling import Settling, Together
from glassq.storage import MAX_TOGETHER

# Of messages with many settlements that are alike: asked of all at once.
_PLACE = attrgetter("lease.queue", "lease.lane")


def check_together(settlements: Sequence[Settlement]) -> None:
    """`ValueError` for settlements that may not go into one message."""
    count = len(settlements)
    if isinstance(settlements, TurnEnds):
        lanes, needs_answer = len({lease.lane for lease in settlements.leases}), False
    else:
        lanes = len(set(map(_PLACE, settlements)))
        needs_answer = not all(each.begun or each.leaving is Leaving.YIELD for each in settlements)
    if lanes < count:
        raise ValueError("at most one settlement per lane goes into one call")
    if count > MAX_TOGETHER:
        raise ValueError(f"one message takes {MAX_TOGETHER} settlements, got {count}")
    if needs_answer:
        raise ValueError(
            "only settlements that give their lane up (Leaving.YIELD) or whose next job has begun are sent"
            " together"
        )


def answered(count: int, settle: Callable[[], Sequence[Settled]]) -> Together:
    """A message that is answered at once, by results or by a failure."""
    together = Together(count, _at_once, settle)
    with suppress(StorageError):  # each of them tells it
        together.answers()
    return together


def _at_once() -> bool:
    return True


_QUEUE: Callable[[Settlement], str] = attrgetter("lease.queue")


def by_queue(told: Sequence[Settlement], send: Callable[[str, Sequence[Settlement]], Together]) -> Together:
    """Send a message for each queue that these are of: nearly always one."""
    if isinstance(told, TurnEnds):
        return send(told.queue, told)
    queues = dict.fromkeys(map(_QUEUE, told))
    if len(queues) == 1:
        return send(next(iter(queues)), told)
    sent: dict[int, Settling] = {}
    for queue in queues:
        places = [place for place, each in enumerate(told) if each.lease.queue == queue]
        sent.update(zip(places, send(queue, [told[each] for each in places]), strict=True))
    return Together.of([sent[place] for place in range(len(told))])
