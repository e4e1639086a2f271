"""How one example is compared: answers, then the dumps, then whether what had to ring has rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec
from hypothesis.stateful import RuleBasedStateMachine

from glassq.model.lanes import LaneOrder
from glassq.model.leases import Owner
from glassq.model.stats import QueueStats
from glassq.model.watermarks import Watermark
from tests.model import picture
from tests.model.driving import Side, Time, caught, plain
from tests.model.model import Model
from tests.model.world import World

EAR = Owner("ear", "1")
"""Listens, and never holds a lane: so none is taken from it when its process seems to end."""


class Comparison(RuleBasedStateMachine):
    """Two queues of one example's own on all stores, and the world they should be like."""

    count = 0
    met: ClassVar[Counter[str]] = Counter()
    """How often something came about that a comparison must not do without."""

    def __init__(self, targets: Sequence[str], *, runs_ahead: bool = False) -> None:
        super().__init__()
        Comparison.count += 1
        self.queues = (f"q{Comparison.count}.a", f"q{Comparison.count}.b")
        self.time = Time()
        self.world = World(self.queues, runs_ahead=runs_ahead)
        self.sides = [Side(target, self.time) for target in targets]
        self.names: list[str] = []
        self.listened: tuple[str, ...] = ()
        self.served: dict[str, bool] = dict.fromkeys(self.queues, False)

    def teardown(self) -> None:
        """The handles are not kept."""
        for side in self.sides:
            side.close()

    def models(self) -> list[Model]:
        """Both queues."""
        return list(self.world.queues.values())

    # -- answers -----------------------------------------------------------------------------------------

    def ask(self, about: Sequence[str], expected: Callable[[], Any], call: Callable[[Side], Any]) -> Any:
        """The same question to all, about these queues; the answer."""
        answer = caught(expected)
        answers = [caught(lambda side=side: call(side)) for side in self.sides]  # type: ignore[misc]
        self.agree(about, answer, answers)
        return answer

    def agree(
        self, about: Sequence[str], expected: Any, answers: Sequence[Any], *, may_ring: bool = True
    ) -> None:
        """All the same; then the dumps, too."""
        expected = plain(expected)
        for side, answer in zip(self.sides, answers, strict=True):
            found = side.named(answer)
            assert found == expected, f"{side.store.kind} answered\n{found!r}, the model\n{expected!r}"
        self.compare_dumps(about)
        self.compare_rings(must=may_ring)

    # -- dumps -------------------------------------------------------------------------------------------

    def compare_dumps(self, about: Sequence[str] | None = None) -> None:
        """What is unsettled, dead and halted in the queues a call was about; the figures of both."""
        for side in self.sides:
            found = side.store.stats(self.queues)
            for model, theirs in zip(self.models(), found, strict=True):
                self.compare_figures(side, model, theirs)
        for queue in self.queues if about is None else about:
            self.compare_lists(queue, self.world.queues[queue])

    def compare_figures(self, side: Side, model: Model, found: QueueStats) -> None:
        """Exactly, but for workers that were silent for long."""
        least, most = self.world.workers.count(self.time.now, model.queue)
        assert least <= found.workers <= most, (
            f"{found.workers} workers on {side.store.kind}, in the model {least} to {most}"
        )
        named = side.named(msgspec.structs.replace(found, workers=0))
        expected = plain(picture.figures(model, self.time.now))
        assert named == expected, f"figures on {side.store.kind}:\n{named!r}, in the model\n{expected!r}"

    def compare_lists(self, queue: str, model: Model) -> None:
        """Every job of a queue, wherever it is."""
        later = [each.id for each in model.scheduled]
        expected = {
            "waiting": picture.waiting(model),
            "dead": picture.letters(model),
            "halted": picture.halted(model),
            "scheduled": [picture.find(model, job) for job in later],
            "lanes": picture.lanes(model),
            "lanes by age": picture.by_age(model),
        }
        self.met["a scheduled job looked at"] += len(later)
        for side in self.sides:
            found = {
                "waiting": side.store.waiting(queue, 1000),
                "dead": side.store.dead(queue, 1000),
                "halted": side.store.halted(queue, 1000),
                "scheduled": [side.store.get(side.ids[job]) for job in later],
                "lanes": [
                    (each.lane, each.state, each.depth, each.head, each.attempts, each.owner)
                    for each in side.store.lanes(queue, by=LaneOrder.DEPTH, limit=1000, look=1000).lanes
                ],
                "lanes by age": [
                    each.lane
                    for each in side.store.lanes(queue, by=LaneOrder.AGE, limit=1000, look=1000).lanes
                ],
            }
            for part, theirs in found.items():
                named = side.named(theirs)
                assert named == expected[part], (
                    f"{part} on {side.store.kind}:\n{named!r}, in the model\n{expected[part]!r}"
                )

    # -- rings -------------------------------------------------------------------------------------------

    def compare_rings(self, *, must: bool) -> None:
        """Who listens to a queue is woken when it has something to serve and had nothing before. What a claim
        brings about need not ring: who claims is awake, and told of what it leaves. More rings than that are
        allowed; all that came are heard, so that none is taken for a later one."""
        before, self.served = self.served, {model.queue: model.others() for model in self.models()}
        woken = [queue for queue in self.listened if self.served[queue] and not before[queue]]
        for side in self.sides:
            rang = side.bell is not None and side.bell.wait(0)
            assert rang or not (must and woken), f"{side.store.kind} did not ring for {woken}"
        self.met["a ring that had to come"] += bool(must and woken)

    def listen(self, queues: tuple[str, ...]) -> None:
        """Make the listener known on all sides; its call is a report, too."""
        self.world.report(self.time.now, EAR, queues)
        for side in self.sides:
            side.listen(EAR, queues)
        self.listened = queues
        self.compare_dumps(queues)
        self.compare_rings(must=False)  # one's own coming may ring

    def be_deaf(self) -> None:
        """Say goodbye, after a last report: whether the goodbye itself is seen by a queue as time that passes
        is free."""
        self.ask(
            self.listened,
            lambda: self.reported(EAR, self.listened),
            lambda side: side.report(EAR, self.listened),
        )
        self.world.workers.leave(EAR, self.listened)
        for side in self.sides:
            side.be_deaf()
        self.listened = ()

    def reported(self, owner: Owner, queues: Sequence[str]) -> dict[str, Watermark]:
        """What the model answers to a heartbeat."""
        return self.world.report(self.time.now, owner, queues)
