"""A workflow by its id: what is stored of it, and how to stop it."""

from __future__ import annotations

from contextlib import suppress

from glassq.client.jobs import cancel_job
from glassq.errors import BadOption, JobNotFound, WorkflowNotFound
from glassq.model.flows import FlowRecord
from glassq.model.names import check_id, is_flow_id
from glassq.policy.dag import topological
from glassq.storage import ShardedStorage
from glassq.workflows.graph import OPEN, Graph, GraphStep, read_graph


def check_flow_id(workflow_id: object) -> str:
    """A workflow's id; `BadOption` for what is none."""
    known = check_id("workflow_id", "a workflow's id", workflow_id)
    if not is_flow_id(known):
        raise BadOption("workflow_id", f"{known!r} is no workflow's id; see Workflow.id")
    return known


def find_flow(storage: ShardedStorage, flow: str) -> FlowRecord:
    """What is stored of it; `WorkflowNotFound`. One round trip."""
    record = storage.flow(flow)
    if record is None:
        raise WorkflowNotFound(
            f"no workflow has the id {flow!r}: it was never submitted whole, or ended longer ago than it is "
            "kept (app.submit(..., keep=seconds))"
        )
    return record


def graph_now(storage: ShardedStorage, flow: str, known: Graph | None = None) -> Graph:
    """Its graph with how its jobs ended; `WorkflowNotFound`. Two round trips. `known`: the same without."""
    graph = known or read_graph(find_flow(storage, flow).body)
    outcomes = storage.flow_outcomes(flow)
    if not outcomes:
        find_flow(storage, flow)  # nothing has ended yet, or it is not there any more
    return graph.with_states(outcomes)


def cancel_flow(storage: ShardedStorage, flow: str, known: Graph | None = None) -> int:
    """Take out all of its jobs that have not ended, the last first, so that nothing more begins; how many.
    `WorkflowNotFound`. Two round trips for each of them."""
    graph = graph_now(storage, flow, known)
    storage.cancel_flow(flow)
    cancelled = 0
    for step in reversed(_in_order(graph)):
        if step.state == OPEN:
            with suppress(JobNotFound):  # it has ended meanwhile
                cancel_job(storage, step.job)
                cancelled += 1
    return cancelled


def _in_order(graph: Graph) -> list[GraphStep]:
    """Its steps, each behind what it waits for."""
    parents: list[list[int]] = [[] for _ in graph.steps]
    for edge in graph.edges:
        parents[edge.child].append(edge.parent)
    return [graph.steps[place] for place in topological(parents)]
