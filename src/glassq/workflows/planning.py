"""What was put together, checked as a whole before any of it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from glassq.client.injection import check_given
from glassq.client.options import MAX_PARENTS
from glassq.client.packing import Packed
from glassq.client.producer import Producer
from glassq.client.task import Signature
from glassq.codec import Place
from glassq.errors import BadOption, WorkflowCycle, WorkflowError
from glassq.model.compositions import Composable, Plan, TooManyEdges, plan_of
from glassq.model.edges import After, EdgePolicy
from glassq.model.names import gate_of
from glassq.policy.dag import find_cycle, topological

MAX_STEPS = 100_000
"""Steps of one workflow."""
MAX_EDGES = 400_000
"""Edges of one workflow: what it takes to make every step of 600 wait for each of 600 others."""


Steps = tuple[Signature[Any], ...]


class Shape(msgspec.Struct, frozen=True):
    """A workflow of a shape that can be submitted: its steps, and what each waits for, by the places in which
    they were written. None: nothing was said of what becomes of it if that fails."""

    steps: Steps
    parents: tuple[dict[int, EdgePolicy | None], ...]
    order: tuple[int, ...]
    """The places, each behind what it waits for."""


class Planned(msgspec.Struct, frozen=True):
    """A workflow that can be submitted, with its calls serialized."""

    shape: Shape
    packed: tuple[Packed, ...]
    parents: tuple[tuple[tuple[int, EdgePolicy], ...], ...]
    """What each step waits for inside of the workflow, and what becomes of it if that fails."""
    flow: str
    """The workflow's id."""

    def after(self, place: int, known: Mapping[int, str | int]) -> tuple[After, ...]:
        """What a step waits for, as a store is told: inside, outside, and for the gate where it waits for
        nothing inside. `known`: the parents' ids, or their positions in the same append."""
        steps = self.shape.steps
        inside = [After(known[parent], policy, steps[parent].name) for parent, policy in self.parents[place]]
        return (*(inside or (After(gate_of(self.flow)),)), *self.packed[place].after)


def shape_of(whole: object) -> Shape:
    """What was put together, if that can be a workflow; raises `BadOption`, `WorkflowCycle`, and
    `WorkflowError` over a bound."""
    plan = _plan(whole)
    steps = tuple(_signatures(plan))
    parents = [list(each) for each in plan.parents]
    order = topological(parents)
    if len(order) < len(steps):
        raise WorkflowCycle([steps[place].name for place in find_cycle(parents)])
    return Shape(steps, tuple(plan.parents), tuple(order))


def planned(shape: Shape, flow: str, on_failure: EdgePolicy, producer: Producer) -> Planned:
    """Serialize the calls of a workflow. Raises what a call of one of its steps would raise."""
    packed = tuple(_packed(shape, place, flow, producer) for place in range(len(shape.steps)))
    return Planned(shape, packed, _policies(shape, on_failure), flow)


def _plan(whole: object) -> Plan:
    if not isinstance(whole, Composable):
        what = type(whole).__name__
        raise BadOption("workflow", f"is made of signatures, as in a.s() >> b.s(); got {what}")
    try:
        plan = plan_of(whole, max_edges=MAX_EDGES)
    except TooManyEdges:
        raise WorkflowError(
            f"a workflow has at most {MAX_EDGES:,} edges; let many steps wait for one step between, "
            "instead of each for each"
        ) from None
    if len(plan.steps) > MAX_STEPS:
        raise WorkflowError(f"a workflow has at most {MAX_STEPS:,} steps, this one {len(plan.steps):,}")
    return plan


def _signatures(plan: Plan) -> Iterator[Signature[Any]]:
    """The steps as signatures, each looked at for what no step can be."""
    for step, parents in zip(plan.steps, plan.parents, strict=True):
        if not isinstance(step, Signature):
            raise BadOption("workflow", f"is made of signatures, got {type(step).__name__}")
        options = step.enclosed.options
        if options.delay is not None or options.eta is not None:
            raise BadOption("delay", f"step {step.name!r} waits for other steps, and not for a moment, too")
        if options.dedup_id is not None or options.unique:
            raise BadOption("dedup_id", f"step {step.name!r} is a job of its own, and cannot be a duplicate")
        if len(parents) + len(options.depends_on) > MAX_PARENTS:
            raise WorkflowError(f"a step waits for at most {MAX_PARENTS:,} others; {step.name!r} for more")
        yield step


def _packed(shape: Shape, place: int, flow: str, producer: Producer) -> Packed:
    step, parents = shape.steps[place], shape.parents[place]
    outside = step.enclosed.options.depends_on
    here = Place(flow=flow, step=step.name, behind=bool(parents or outside))
    packed = producer.pack(step.enclosed, here)
    if packed.place is not None and packed.place.given:
        names = {shape.steps[parent].name for parent in parents} | {name for _, name in outside}
        check_given(packed.place.given, names)
    return packed


def _policies(shape: Shape, otherwise: EdgePolicy) -> tuple[tuple[tuple[int, EdgePolicy], ...], ...]:
    """What is said of the edge holds, else what its child's options say, else what holds for the workflow."""
    return tuple(
        tuple(
            (parent, parents[parent] or step.enclosed.options.on_failure or otherwise)
            for parent in sorted(parents)
        )
        for step, parents in zip(shape.steps, shape.parents, strict=True)
    )
