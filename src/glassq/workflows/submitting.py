"""A workflow on its way into the store: all of it waits behind a gate until all of it is there.

The gate is opened last, in each queue (or shard) that has first steps: until then nothing runs, and whatever
fails before takes everything back out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from glassq.client.batches import ENVELOPE_BYTES
from glassq.client.producer import Producer
from glassq.errors import EnqueueError, EnqueueUncertain, JobNotFound, StorageError, SubmitFailed
from glassq.flowstorage import MAX_DELIVERIES
from glassq.model.flows import Delivered, Delivery
from glassq.model.jobs import JobState
from glassq.model.layouts import shard_of
from glassq.model.names import gate_of, nth_id, queue_of
from glassq.relaying import relay
from glassq.storage import MAX_APPEND_BYTES, MAX_APPEND_JOBS, ShardedStorage
from glassq.workflows.graph import Graph, GraphEdge, GraphStep, pack_graph
from glassq.workflows.planning import Planned

_MAX_CHUNK_EDGES = 2_000
"""Edges that one append takes at most, but for a single job that has more: its call has to stay short."""
_MAX_RELAYS = 100
"""Calls of `relay` that a submit makes at most for first steps beyond the first hundred; workers go on."""


class Chunk(msgspec.Struct):
    """Steps that go into one append, by their places."""

    shard: str
    places: list[int] = msgspec.field(default_factory=list)
    size: int = 0
    edges: int = 0

    def has_room(self, size: int, edges: int) -> bool:
        """Whether one more fits."""
        return not self.places or (
            len(self.places) < MAX_APPEND_JOBS
            and self.size + size <= MAX_APPEND_BYTES
            and self.edges + edges <= _MAX_CHUNK_EDGES
        )

    def add(self, place: int, size: int, edges: int) -> None:
        """One more."""
        self.places.append(place)
        self.size += size
        self.edges += edges


def chunks_of(planned: Planned, shards: Sequence[str]) -> Iterable[Chunk]:
    """What goes into one append each, in an order in which everything is there before what waits for it.

    `shards` says where each step goes. A chunk may wait for others to fill up only while nobody of another
    shard needs the ids of its jobs.
    """
    filling: dict[str, Chunk] = {}
    for place in planned.shape.order:
        shard = shards[place]
        for parent, _ in planned.parents[place]:
            other = filling.get(shards[parent])
            if shards[parent] != shard and other is not None and parent in other.places:
                yield filling.pop(shards[parent])
        size = len(planned.packed[place].payload) + ENVELOPE_BYTES
        edges = len(planned.parents[place]) + len(planned.packed[place].after)
        chunk = filling.get(shard)
        if chunk is not None and not chunk.has_room(size, edges):
            yield chunk
            chunk = None
        if chunk is None:
            chunk = filling[shard] = Chunk(shard)
        chunk.add(place, size, edges)
    yield from filling.values()


class Submission:
    """One workflow on its way."""

    def __init__(self, storage: ShardedStorage, producer: Producer, planned: Planned) -> None:
        self._storage = storage
        self._producer = producer
        self._planned = planned
        self._flow = planned.flow
        self._jobs: dict[int, str] = {}
        self._sending: list[int] = []

    def submit(self, *, name: str, keep: float) -> Graph:
        """Store it whole and let it go. `SubmitFailed`, and nothing of it runs, when that cannot be done.

        A round trip for each chunk of up to 100 steps of one shard (fewer where steps of several shards wait
        for each other), one for each step that is waited for in another shard, one for the record, and one
        for each shard that has first steps. `JobNotFound`, and nothing is stored, when a step comes after a
        job that never was.
        """
        self._producer.homes.check(
            self._storage, [after for packed in self._planned.packed for after in packed.after]
        )
        shards = [shard_of(self._storage.shards(each.queue), each.lane) for each in self._planned.packed]
        try:
            for chunk in chunks_of(self._planned, shards):
                self._append(chunk)
            graph = self._graph()
            self._storage.open_flow(
                self._flow, name=name, total=len(self._jobs), body=pack_graph(graph), keep_seconds=keep
            )
            open_gate(self._storage, gate_of(self._flow), first_shards(graph))
        except (StorageError, EnqueueError, JobNotFound) as error:
            self._note_uncertain(error)
            raise SubmitFailed(f"{type(error).__name__}: {error}", self._take_back()) from error
        return graph

    def _append(self, chunk: Chunk) -> None:
        positions: dict[int, str | int] = {place: at for at, place in enumerate(chunk.places)}
        self._sending = chunk.places
        receipts = self._producer.send(
            [
                msgspec.structs.replace(
                    self._planned.packed[place],
                    after=self._planned.after(place, {**self._known(place), **positions}),
                )
                for place in chunk.places
            ]
        )
        self._sending = []
        self._jobs.update(zip(chunk.places, (receipt.id for receipt in receipts), strict=True))

    def _known(self, place: int) -> dict[int, str | int]:
        return {
            parent: self._jobs[parent] for parent, _ in self._planned.parents[place] if parent in self._jobs
        }

    def _graph(self) -> Graph:
        planned = self._planned
        steps = (
            GraphStep(name=step.name, task=packed.call.task.name, queue=packed.queue, job=self._jobs[place])
            for place, (step, packed) in enumerate(zip(planned.shape.steps, planned.packed, strict=True))
        )
        edges = (
            GraphEdge(parent, child, policy)
            for child, parents in enumerate(planned.parents)
            for parent, policy in parents
        )
        outside = {
            place: tuple(str(each.job) for each in packed.after)
            for place, packed in enumerate(planned.packed)
            if packed.after
        }
        return Graph(steps=tuple(steps), edges=tuple(edges), outside=outside)

    # -- when it fails -----------------------------------------------------------------------------------

    def _note_uncertain(self, error: Exception) -> None:
        """Jobs whose answer was lost may be there, too: their numbers follow one another."""
        if isinstance(error, EnqueueUncertain) and error.job_id:
            for at, place in enumerate(self._sending):
                self._jobs[place] = nth_id(error.job_id, at)

    def _take_back(self) -> list[str]:
        """Cancel what was stored, the last first, so that nothing begins meanwhile; what could not be."""
        left = []
        for job in reversed(self._jobs.values()):
            try:
                self._storage.cancel(job)
            except StorageError:
                left.append(job)
        return left


def first_shards(graph: Graph) -> list[str]:
    """Where a workflow has steps that wait for none of its others, each once."""
    behind = {edge.child for edge in graph.edges}
    return list(
        dict.fromkeys(queue_of(step.job) for place, step in enumerate(graph.steps) if place not in behind)
    )


def open_gate(storage: ShardedStorage, gate: str, shards: Iterable[str]) -> None:
    """Let the first steps of a workflow go. Idempotent. A round trip per shard; those beyond a hundred in one
    shard are relayed."""
    opening = Delivery(to=gate, parent=gate, outcome=JobState.SUCCEEDED)
    for shard in shards:
        more = storage.deliver(shard, [opening]).relay
        for _ in range(_MAX_RELAYS):
            if not more:
                break
            more = relay(storage, shard, _nobody) >= MAX_DELIVERIES


def _nobody(_queue: str, _delivered: Delivered) -> None:
    """Whoever submits has nobody to tell: nothing of a workflow has ended yet."""
