"""A workflow's graph: as it is stored with it, and as people and programs see it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from glassq.errors import CorruptRecord, FormatMismatch
from glassq.model.edges import EdgePolicy
from glassq.model.jobs import JobState

GRAPH_VERSION = 1

OPEN = "open"
"""The state of a step that has not ended: it waits, is deferred, or runs."""


class GraphStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step: its name, the task it calls, its job. `state` is how it ended, or "open"."""

    name: str
    task: str
    queue: str
    job: str
    state: str = OPEN


class GraphEdge(msgspec.Struct, frozen=True, array_like=True):
    """`child` comes after `parent` (places in `steps`); `on_failure`: what becomes of it if that fails."""

    parent: int
    child: int
    on_failure: EdgePolicy = EdgePolicy.CANCEL


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of a workflow in the order they were written, and who comes after whom. Steps may also come
    after jobs outside of it: `outside` names those, by the place of the step."""

    steps: tuple[GraphStep, ...]
    edges: tuple[GraphEdge, ...]
    outside: dict[int, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        plain: dict[str, Any] = msgspec.to_builtins(
            {
                "steps": self.steps,
                "edges": [
                    {"parent": edge.parent, "child": edge.child, "on_failure": edge.on_failure}
                    for edge in self.edges
                ],
                "outside": {str(place): list(jobs) for place, jobs in self.outside.items()},
            }
        )
        return plain

    def json(self) -> str:
        """`as_dict` as a JSON text."""
        return msgspec.json.encode(self.as_dict()).decode()

    def mermaid(self) -> str:
        """A Mermaid flowchart. Edges of which a failure does not cancel are dotted and say what it does."""
        lines = ["flowchart LR"]
        lines += [f'  s{place}["{_escaped(step.name)}"]' for place, step in enumerate(self.steps)]
        lines += [_mermaid_edge(edge) for edge in self.edges]
        for place, jobs in self.outside.items():
            for number, job in enumerate(jobs):
                lines += [f'  o{place}_{number}(["{_escaped(job)}"])', f"  o{place}_{number} --> s{place}"]
        by_state: dict[str, list[str]] = {}
        for place, step in enumerate(self.steps):
            by_state.setdefault(step.state, []).append(f"s{place}")
        for state, places in by_state.items():
            lines += [f"  classDef {state} {_LOOKS[state]}", f"  class {','.join(places)} {state}"]
        return "\n".join(lines) + "\n"

    def with_states(self, states: Mapping[str, JobState]) -> Graph:
        """The same with how its jobs ended, by their ids."""
        return msgspec.structs.replace(
            self,
            steps=tuple(
                msgspec.structs.replace(step, state=str(states.get(step.job, OPEN))) for step in self.steps
            ),
        )


_LOOKS = {
    OPEN: "fill:#eceff1,stroke:#607d8b",
    JobState.SUCCEEDED: "fill:#c8e6c9,stroke:#2e7d32",
    JobState.BURIED: "fill:#ffcdd2,stroke:#c62828",
    JobState.EXPIRED: "fill:#ffe0b2,stroke:#ef6c00",
    JobState.CANCELLED: "fill:#e0e0e0,stroke:#757575,stroke-dasharray:4",
}


def _mermaid_edge(edge: GraphEdge) -> str:
    if edge.on_failure is EdgePolicy.CANCEL:
        return f"  s{edge.parent} --> s{edge.child}"
    return f"  s{edge.parent} -. {edge.on_failure} .-> s{edge.child}"


def _escaped(text: str) -> str:
    """Text that ends no label of Mermaid's."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A graph as it is stored: what many steps share is there once, and all is compressed."""

    tasks: tuple[tuple[str, str], ...]
    """Names of tasks with their queues."""
    steps: tuple[tuple[int, str, str], ...]
    """By the task's place: name and job."""
    edges: tuple[GraphEdge, ...]
    outside: dict[int, tuple[str, ...]]


_DECODER = msgspec.msgpack.Decoder(_Stored)


def pack_graph(graph: Graph) -> bytes:
    """The body of a workflow's record."""
    tasks: dict[tuple[str, str], int] = {}
    steps = tuple(
        (tasks.setdefault((step.task, step.queue), len(tasks)), step.name, step.job) for step in graph.steps
    )
    stored = _Stored(tuple(tasks), steps, graph.edges, graph.outside)
    return bytes([GRAPH_VERSION]) + zlib.compress(msgspec.msgpack.encode(stored), 6)


def read_graph(body: bytes) -> Graph:
    """What `pack_graph` was given. `FormatMismatch` for a newer one, `CorruptRecord` for other bytes."""
    if body and body[0] > GRAPH_VERSION:
        raise FormatMismatch("a workflow's graph", body[0], GRAPH_VERSION)
    try:
        stored = _DECODER.decode(zlib.decompress(body[1:]))
        steps = [_step(stored.tasks, each) for each in stored.steps]
    except (zlib.error, msgspec.MsgspecError, ValueError, IndexError) as error:
        raise CorruptRecord(f"a workflow's graph of {len(body)} bytes cannot be read: {error}") from error
    return Graph(steps=tuple(steps), edges=stored.edges, outside=stored.outside)


def _step(tasks: Sequence[tuple[str, str]], stored: tuple[int, str, str]) -> GraphStep:
    place, name, job = stored
    task, queue = tasks[place]
    return GraphStep(name=name, task=task, queue=queue, job=job)
