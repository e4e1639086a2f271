"""`glassq stats QUEUE --keys` and `--workers`: the keys of one queue that stand out, and who serves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import click
import msgspec
from rich.table import Table
from rich.text import Text

from glassq.cli import cells
from glassq.cli.escaping import printable
from glassq.cli.stores import StoreChoice
from glassq.cli.terminal import grid, names, numbers, print_json, print_rows
from glassq.model.lanes import KeyStats, LaneOrder, TopKeys, WorkerStats
from glassq.model.stats import LaneState

Command = TypeVar("Command", bound=Callable[..., Any])

_TOP, _LOOK = 20, 10_000
_STATES = {LaneState.LEASED: "running", LaneState.WAITING_RETRY: "retry"}
_STYLES = {LaneState.HALTED: "bold red", LaneState.PAUSED: "yellow", LaneState.WAITING_RETRY: "red"}
_ORDERS = {
    LaneOrder.DEPTH: "the deepest",
    LaneOrder.AGE: "the oldest",
    LaneOrder.BLOCKED: "the longest held up",
}


def options(command: Command) -> Command:
    """What `glassq stats` can be asked about one queue."""
    some = click.IntRange(1)
    for option in (  # the last is shown first
        click.option(
            "--look", type=some, metavar="N", help=f"Look at so many lanes for --keys (default: {_LOOK:,})."
        ),
        click.option("--top", type=some, metavar="N", help=f"Show so many keys (default: {_TOP})."),
        click.option(
            "--by",
            type=click.Choice([each.value for each in LaneOrder]),
            help="The keys' order (default: depth).",
        ),
        click.option("--workers", is_flag=True, help="Show who serves the queue, and what each holds."),
        click.option("--keys", is_flag=True, help="Show the keys that have most jobs, or wait longest."),
    ):
        command = option(command)
    return command


class Wanted(msgspec.Struct, frozen=True):
    """What is to be shown of a queue: its workers, or its keys by some order."""

    queue: str
    workers: bool
    by: LaneOrder
    top: int
    look: int

    @classmethod
    def checked(
        cls,
        queues: Sequence[str],
        *,
        keys: bool,
        workers: bool,
        by: str | None,
        top: int | None,
        look: int | None,
    ) -> Self | None:
        """What the options ask for, None where that is the queues' own figures; `UsageError` for what does
        not go together."""
        context = click.get_current_context(silent=True)
        for option, given in (("--by", by), ("--top", top), ("--look", look)):
            if given is not None and not keys:
                raise click.UsageError(f"{option} is about keys; add --keys", context)
        if not (keys or workers):
            return None
        if keys and workers:
            raise click.UsageError("--keys and --workers are two tables; ask for one of them", context)
        if len(queues) != 1:
            option = "--keys" if keys else "--workers"
            raise click.UsageError(f"{option} is about one queue; name it, and no other", context)
        return cls(queues[0], workers, LaneOrder(by or LaneOrder.DEPTH), top or _TOP, look or _LOOK)


def show(choice: StoreChoice, wanted: Wanted, *, as_json: bool) -> int:
    """Read and print it; an exit code."""
    with choice.opened() as store:
        queue = store.queue(wanted.queue)
        if wanted.workers:
            workers = queue.workers()
            if as_json:
                print_json({"queue": queue.name, "workers": workers})
            else:
                _print_workers(queue.name, workers)
            return 0
        found = queue.keys(wanted.top, wanted.by.value, look=wanted.look)
    if as_json:
        print_json(found)
    else:
        _print_keys(found, wanted.top)
    return 0


def _print_keys(found: TopKeys, top: int) -> None:
    if found.keys:
        print_rows(keys_table(found.keys))
        rest = said_of_the_rest(found, top)
        if rest:
            click.echo(f"\n{rest}")
    elif not found.exact:
        click.echo(said_of_the_rest(found, top))
    elif found.lanes:
        click.echo(f"no key of queue {found.queue} is held up; it has {cells.counted(found.lanes, 'lane')}")
    else:
        click.echo(f"queue {found.queue} has no lanes: no job waits or runs in it")


def said_of_the_rest(found: TopKeys, top: int) -> str:
    """Of keys that are not shown: how many there are, and whether some might belong before those that are."""
    if not found.exact:
        return (
            f"looked at {found.looked_at:,} of {cells.counted(found.lanes, 'lane')}: "
            "others may come before these; --look N looks at more"
        )
    if len(found.keys) == found.lanes or len(found.keys) < top:
        return ""
    return f"{_ORDERS[found.by]} of {cells.counted(found.lanes, 'lane')}; --top N shows more"


def keys_table(keys: Sequence[KeyStats]) -> Table:
    """One row per key."""
    shown = grid(
        names("key", (each.key or "(no key)" for each in keys), 16),
        names("state", map(_state, keys), 8),
        numbers("jobs"),
        numbers("oldest"),
        numbers("blocked"),
        numbers("tries"),
        names("head", (each.head for each in keys), 30),
    )
    for each in keys:
        state = Text(_state(each), _STYLES.get(each.state, ""))
        if each.owner:
            state.append(f"\nby {printable(each.owner)}", "dim")
        shown.add_row(
            cells.key(each.key),
            state,
            cells.count(each.depth),
            cells.age(each.oldest_age),
            cells.age(each.blocked, alarming=True),
            cells.count(each.attempts),
            cells.word(each.head),
        )
    return shown


def _state(each: KeyStats) -> str:
    return _STATES.get(each.state, each.state.value)


def _print_workers(queue: str, workers: Sequence[WorkerStats]) -> None:
    if workers:
        print_rows(workers_table(workers))
    else:
        click.echo(f"nobody serves queue {queue}; `glassq worker MODULE:APP` does")


def workers_table(workers: Sequence[WorkerStats]) -> Table:
    """One row per worker."""
    shown = grid(
        names("worker", (each.owner for each in workers), 30),
        names("runs on", map(_place, workers), 16),
        numbers("heard of"),
        numbers("lanes"),
        numbers("running"),
    )
    for each in workers:
        heard = Text("gone", "bold red") if not each.alive else cells.word("-")
        if each.alive and each.heard is not None:
            heard = Text(f"{cells.duration(each.heard)} ago")
        shown.add_row(
            cells.word(each.owner),
            cells.word(_place(each)),
            heard,
            cells.count(each.lanes, alarming=not each.alive),
            cells.count(each.running, alarming=not each.alive),
        )
    return shown


def _place(worker: WorkerStats) -> str:
    return "-" if worker.host is None else f"{worker.host}, pid {worker.pid}"
