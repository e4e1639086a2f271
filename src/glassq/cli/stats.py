"""`glassq stats`: what is in the queues, as a table for people or JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from glassq.cli import options, standouts
from glassq.cli.cells import age, count, counted
from glassq.cli.stores import choose_store
from glassq.cli.terminal import open_console, print_json
from glassq.model.stats import QueueStats
from glassq.storage import Storage

_UNBOUNDED = 10_000
"""Columns no table of figures has: what it needs is measured without a limit."""

_ALWAYS = ("ready", "leased", "waiting_retry", "halted")
"""States with a column of their own; the others get one when a queue has jobs in them."""

_HEADINGS = {"leased": "running", "waiting_retry": "retry"}
_ALARMING = frozenset({"halted"})


@click.command(short_help="Show what is in the queues.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] [QUEUE]...")
@standouts.options
@options.store_url
@options.as_json
def stats(words: tuple[str, ...], url: str | None, as_json: bool, **asked: Any) -> int:
    """Show depth by state, lanes, oldest job, blocked heads, dead letters and settled jobs.

    Or of one queue the keys that stand out (--keys), or who serves it (--workers).

    The store is that of MODULE:APP or --url, else $GLASSQ_URL, else sqlite:///glassq.db.
    Without names, all queues of the store are shown. Nothing is changed by looking.

    \b
    Examples:
      glassq stats
      glassq stats shop.jobs:app payments
      glassq stats payments --keys --by blocked --top 5
      glassq stats payments --workers
      glassq stats --url sqlite:////var/lib/shop/jobs.db --json
    """
    choice, names = choose_store(words, url, more="QUEUE")
    wanted = standouts.Wanted.checked(names, **asked)
    if wanted is not None:
        return standouts.show(choice, wanted, as_json=as_json)
    with choice.opened() as store:
        found = read(store.storage, names)
    if as_json:
        print_json([as_object(each) for each in found])
    elif found:
        console = open_console()
        console.print(fitting(found, console))
    else:
        click.echo("no queues yet: nothing was ever enqueued into this store")
    return 0


def read(storage: Storage, names: Sequence[str]) -> list[QueueStats]:
    """The statistics of the named queues, in that order, else of all of them by name."""
    return storage.stats(list(names) or sorted(storage.queues()))


def as_object(one: QueueStats) -> dict[str, Any]:
    """Every field of the statistics, with the depth that people ask for first."""
    return {"queue": one.queue, "depth": one.depth, **msgspec.to_builtins(one)}


def fitting(found: Sequence[QueueStats], console: Console) -> RenderableType:
    """The table where its rows fit, closer together on a narrow screen; in words where they do not."""
    for gap in (2, 1):
        rows = table(found, gap)
        if Measurement.get(console, console.options.update(width=_UNBOUNDED), rows).maximum <= console.width:
            return rows
    return Group(*map(paragraph, found))


def table(found: Sequence[QueueStats], gap: int = 2) -> Table:
    """One row per queue, `gap` spaces between columns; states nobody is in leave no column."""
    states = [
        state
        for state in found[0].by_state()
        if state in _ALWAYS or any(one.by_state()[state] for one in found)
    ]
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    grid.add_column("queue", overflow="fold")
    for heading in ("depth", *(_HEADINGS.get(state, state) for state in states)):
        grid.add_column(heading, justify="right", no_wrap=True)
    for heading in ("lanes", "oldest", "blocked", "dead", "settled"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        grid.add_row(
            _name(one),
            count(one.depth),
            *(count(one.by_state()[state], alarming=state in _ALARMING) for state in states),
            count(sum(one.lanes.values())),
            age(one.oldest_job_age),
            age(one.head_blocked, alarming=True),
            count(one.dead_letters, alarming=True),
            count(sum(one.settled.values())),
        )
    return grid


def paragraph(one: QueueStats) -> Group:
    """The same figures in words, where a row does not fit: cut numbers would be wrong numbers."""
    jobs = [
        Text.assemble(count(number, alarming=state in _ALARMING), f" {_HEADINGS.get(state, state)}")
        for state, number in one.by_state().items()
        if number
    ]
    rest = (
        (count(sum(one.lanes.values())), " lanes"),
        ("oldest ", age(one.oldest_job_age)),
        ("blocked ", age(one.head_blocked, alarming=True)),
        (count(one.dead_letters, alarming=True), " dead"),
        (count(sum(one.settled.values())), " settled"),
    )
    depth = Text.assemble("depth ", count(one.depth), ": " if jobs else "", Text(", ").join(jobs))
    figures = Text("; ").join([depth, *(Text.assemble(*each) for each in rest)])
    return Group(_name(one), Padding(figures, (0, 0, 0, 2)))


def _name(one: QueueStats) -> Text:
    """The queue's name, and below it what a human has stopped: it explains why nothing moves."""
    shown = Text(one.queue)
    if one.paused_whole:
        shown.append("\npaused", "bold yellow")
    elif one.paused_keys:
        shown.append(f"\n{counted(one.paused_keys, 'lane')} paused", "yellow")
    return shown
