"""How the queues of a worker share its slots, and how long the turns of their lanes are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from glassq.model.leases import Claimed
from glassq.model.names import DEFAULT_LANE, whole
from glassq.policy.fairness import Weights, in_need, should_yield, slots_of, weight_of
from glassq.registry import Registry
from glassq.shielding import Log
from glassq.storage import Terms
from glassq.worker.assignment import Assignment
from glassq.worker.holdings import Holdings

log = Log("glassq.worker")


class Shares:
    """What the registry says of queues, held against what the worker holds of them. A queue's shards are one
    queue here.

    The order of queues and what each may take belong to the thread that claims; `fits` and `should_yield` may
    be asked by any.
    """

    def __init__(
        self, registry: Registry, holdings: Holdings, slots: int, assignment: Assignment | None = None
    ) -> None:
        self._registry = registry
        self._holdings = holdings
        self._all_slots = slots
        self._assignment = assignment
        self._slots: dict[str, int] = {}
        self.bounded = False
        """Whether any queue may have fewer than all slots."""
        self._served: dict[str, int] = {}
        self._claims = 0
        self._waiting: dict[str, set[str]] = {}
        """Where lanes wait: shards by their queues. A whole queue is its own one."""
        self.several = False
        """Whether more than one queue, or shard, is served: no store tells in one who waits in another."""
        self._warned: set[str] = set()

    def ordered(self, queues: tuple[str, ...]) -> tuple[str, ...]:
        """The queues, those in need of a slot first."""
        self._slots = {queue: self._slots_of(queue, len(queues)) for queue in queues}
        self.bounded = min(self._slots.values()) < self._all_slots
        return queues if len(queues) == 1 else tuple(in_need(queues, self._held(), self._served))

    def terms(self, queues: Iterable[str], ahead: int, *, together: bool = False) -> dict[str, Terms]:
        """What each of these may be granted, where so many lanes may wait for a thread besides. With
        `together` those that wait in a queue of short turns may begin at once."""
        held = self._held() if self.bounded else {}
        return {queue: self._terms(queue, held, ahead, together=together) for queue in queues}

    def look(self, claimed: Claimed) -> None:
        """What was granted, and where lanes wait for more."""
        self._claims += 1
        if self._assignment is not None:
            self._assignment.look(claimed)
        for queue in {grant.lease.queue for grant in claimed.grants}:
            self._served[whole(queue)] = self._claims
        self.several = len(claimed.others.keys() | claimed.found.keys()) > 1
        waiting: dict[str, set[str]] = {}
        # What was not asked for counts as waiting somewhere else: here it would end every turn.
        for shard in claimed.others.keys() & claimed.found.keys() if self.several else ():
            waiting.setdefault(whole(shard), set()).add(shard)
        self._waiting = waiting

    def should_yield(self, shard: str) -> bool:
        """Whether a lane of this queue, or shard, is to make room for other ones when its turn is over."""
        waiting = self._waiting
        if not waiting:
            return False
        queue = whole(shard)
        return bool(waiting.get(queue, set()) - {shard}) or should_yield(
            queue, waiting, self._held(), self._slots
        )

    def fits(self, queue: str, running: Iterable[str]) -> bool:
        """Whether a lane of this queue may have a slot beside lanes of those that have one."""
        return self._slots.get(whole(queue), self._all_slots) > sum(
            whole(each) == whole(queue) for each in running
        )

    def turn(self, queue: str) -> int:
        """Jobs of a plain lane's turn."""
        return self._registry.options(whole(queue)).turn

    def turns_of(self, shard: str, lanes: Sequence[str]) -> list[int]:
        """Jobs of the turn of each of these lanes."""
        queue = whole(shard)
        options = self._registry.options(queue)
        if options.weights is None:
            return [options.turn] * len(lanes)
        return [options.turn * self._weight(queue, options.weights, lane) for lane in lanes]

    def _weight(self, queue: str, weights: Weights, lane: str) -> int:
        try:
            return weight_of(weights, None if lane == DEFAULT_LANE else lane)
        except Exception:  # licensed: user code, which must not keep its queue from being served
            if queue not in self._warned:
                self._warned.add(queue)
                log.exception("weights of queue %s failed; such keys weigh 1", queue)
            return 1

    def _terms(self, queue: str, held: Mapping[str, int], ahead: int, *, together: bool) -> Terms:
        turn, slots = self.turn(queue), self._slots[queue]
        choice = None if self._assignment is None else self._assignment.choice(queue)
        together = together and ahead > 0
        if slots == self._all_slots:
            return Terms(turn=turn, choice=choice, together=together)
        room = max(0, slots - held.get(queue, 0))
        return Terms(turn=turn, lanes=room + ahead, begin=room, choice=choice, together=together)

    def _slots_of(self, queue: str, queues: int) -> int:
        return slots_of(self._registry.options(queue).slots, all_slots=self._all_slots, queues=queues)

    def _held(self) -> Counter[str]:
        return Counter([lane.queue for lane in self._holdings.all()])
