"""`glassq workflow`: how a workflow goes, step by step; and `glassq cancel` of a whole one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import click
import msgspec
from rich.table import Table

from glassq.cli import cells, options
from glassq.cli.asking import confirm
from glassq.cli.audit import audited
from glassq.cli.cells import counted
from glassq.cli.escaping import printable
from glassq.cli.stores import OpenStore, choose_store
from glassq.cli.terminal import grid, names, numbers, print_json, print_rows, sentences
from glassq.client.jobs import find_job
from glassq.codec.accounts import read_account
from glassq.errors import JobNotFound
from glassq.model.edges import EdgePolicy
from glassq.model.flows import FlowRecord
from glassq.model.jobs import JobState
from glassq.model.names import queue_of, whole
from glassq.storage import Storage
from glassq.workflows.graph import OPEN, Graph, GraphStep
from glassq.workflows.records import cancel_flow, check_flow_id, find_flow, graph_now

_MOST_LOOKUPS = 20
"""Steps without an end whose jobs are looked up: each look may read a queue."""
_NAMES_SHOWN = 3


class Awaited(msgspec.Struct, frozen=True):
    """What a step comes after: a step, by its name, or with none a job outside of the workflow."""

    job: str
    name: str = ""
    on_failure: EdgePolicy = EdgePolicy.CANCEL


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One step as it stands. `took`: seconds of its last attempt, where that is kept."""

    name: str
    task: str
    queue: str
    job: str
    state: str
    waits_for: tuple[Awaited, ...]
    took: float | None


@click.command(short_help="Show one workflow: how it goes, step by step.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] ID")
@options.store_url
@options.at_most(100, "steps")
@options.as_json
def workflow(words: tuple[str, ...], url: str | None, limit: int, as_json: bool) -> int:
    """Show how a workflow goes: its status, and its steps in the order they were written, each with its job,
    its state and what it comes after.

    A workflow is known for seven days after its end, or for as long as app.submit(keep=) said; `glassq cancel
    ID` takes out what has not ended. A step that waits for others is deferred; of those that do not, the
    first twenty are looked up, the others just open. How long a step took is known for the result_ttl of its
    task. Quote the id: to a shell, a word that begins with ~ may be somebody's home.

    \b
    Examples:
      glassq workflow '~files/5f0c2be1a9d34e77'
      glassq workflow shop.jobs:app '~files/5f0c2be1a9d34e77' --limit 1000 --json

    Exit codes: 0 shown, 1 there is no such workflow, 2 wrong usage.
    """
    choice, (flow,) = choose_store(words, url, "ID")
    check_flow_id(flow)
    with choice.opened() as store:
        record = find_flow(store.storage, flow)
        graph = graph_now(store.storage, flow)
        steps = list(_steps(store.storage, graph, limit))
    if as_json:
        print_json({**_told(record), "steps": steps})
        return 0
    print_rows(page(record))
    click.echo()
    print_rows(table(steps))
    if record.total > len(steps):
        click.echo(f"\nthe first {len(steps):,} of {record.total:,} steps; --limit N shows more")
    return 0


def cancel_workflow(store: OpenStore, flow: str, *, yes: bool, as_json: bool) -> int:
    """Take out all jobs of a workflow that have not ended, once its name was typed."""
    check_flow_id(flow)
    record = find_flow(store.storage, flow)
    if record.ended_at is not None:
        raise click.ClickException(f"{flow} has ended: {record.status}; `glassq workflow '{flow}'` shows it")
    left = counted(record.total - sum(record.ended.values()), "job")
    consequence = f"This cancels what has not ended of workflow {flow} ({printable(record.name)}): {left}."
    confirm(record.name, consequence, store=store.storage.address, yes=yes, of="workflow")
    queue = whole(queue_of(flow))
    with audited("cancel", store=store.storage.address, queue=queue, ids=flow) as entry:
        cancelled = cancel_flow(store.storage, flow)
        entry.result = f"{cancelled} removed or asked"
    if as_json:
        print_json({"id": flow, "name": record.name, "cancelled": cancelled})
    else:
        click.echo(
            f"{counted(cancelled, 'job')} of workflow {flow} removed or, where they run, asked to stop"
        )
    return 0


def _told(record: FlowRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "began_at": record.began_at,
        "ended_at": record.ended_at,
        "total": record.total,
        "ended": record.ended,
    }


def _steps(storage: Storage, graph: Graph, limit: int) -> Iterator[StepView]:
    """The first steps, looked up as far as that is not dear."""
    awaited: dict[int, list[Awaited]] = {}
    held_up: set[int] = set()
    for edge in graph.edges:
        parent = graph.steps[edge.parent]
        awaited.setdefault(edge.child, []).append(Awaited(parent.job, parent.name, edge.on_failure))
        if parent.state == OPEN:
            held_up.add(edge.child)
    lookups = iter(range(_MOST_LOOKUPS))
    for place, step in enumerate(graph.steps[:limit]):
        state = step.state
        if state == OPEN and place in held_up:
            state = JobState.DEFERRED
        elif state == OPEN and next(lookups, None) is not None:
            state = _state_of(storage, step)
        yield StepView(
            name=step.name,
            task=step.task,
            queue=step.queue,
            job=step.job,
            state=state,
            waits_for=(*awaited.get(place, ()), *(Awaited(job) for job in graph.outside.get(place, ()))),
            took=None if step.state == OPEN else _took(storage, step.job),
        )


def _state_of(storage: Storage, step: GraphStep) -> str:
    try:
        return find_job(storage, step.job).state
    except JobNotFound:
        return OPEN  # it has ended meanwhile


def _took(storage: Storage, job: str) -> float | None:
    note = next(iter(storage.notes(job)), None)
    said = read_account(b"" if note is None else note.said)
    return said.seconds if said.ran else None


def page(record: FlowRecord) -> Table:
    """One field per line."""
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    shown.add_row("id", cells.word(record.id))
    shown.add_row("name", cells.word(record.name))
    shown.add_row("status", record.status)
    shown.add_row("jobs", f"{record.total:,} ({_ends(record.ended, record.total)})")
    shown.add_row("submitted", cells.moment(record.began_at))
    if record.ended_at is not None:
        shown.add_row("ended", cells.moment(record.ended_at))
        shown.add_row("took", cells.duration(record.ended_at - record.began_at))
    return shown


def _ends(ended: Mapping[JobState, int], total: int) -> str:
    counts = [*((state, ended.get(state, 0)) for state in JobState), (OPEN, total - sum(ended.values()))]
    return ", ".join(f"{number:,} {state}" for state, number in counts if number)


def table(steps: list[StepView]) -> Table:
    """One row per step."""
    shown = grid(
        names("step", (step.name for step in steps), 20),
        names("job", (step.job for step in steps), 34),
        sentences("state"),
        sentences("waits for"),
        numbers("took"),
    )
    for step in steps:
        shown.add_row(
            cells.word(step.name),
            cells.word(step.job),
            step.state,
            cells.word(_named(step.waits_for) or "-"),
            "-" if step.took is None else cells.duration(step.took),
        )
    return shown


def _named(awaited: tuple[Awaited, ...]) -> str:
    """The first of them; what is of one name once, and what a failure means where it does not cancel."""
    said = Counter(
        (each.name or each.job) + ("" if each.on_failure is EdgePolicy.CANCEL else f" ({each.on_failure})")
        for each in awaited
    )
    shown = [name if number == 1 else f"{number:,} {name}" for name, number in said.items()]
    more = len(shown) - _NAMES_SHOWN
    return ", ".join(shown[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
