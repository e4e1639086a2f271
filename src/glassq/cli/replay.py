"""`glassq dead replay`: bring dead letters back, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import click
from rich.table import Table

from glassq.cli import cells, options
from glassq.cli.asking import confirm
from glassq.cli.audit import audited
from glassq.cli.cells import counted
from glassq.cli.stores import choose_store
from glassq.cli.terminal import grid, names, numbers, print_json, print_rows, sentences
from glassq.client.queues import Queue
from glassq.errors import ReplayRefused
from glassq.model.jobs import ReplayedJob

_ROWS = 20
"""Rows of a replay that are shown to people; programs get all of them."""

End = Literal["front", "tail"]


@click.command(short_help="Bring dead letters back, in order.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE [ID]...")
@click.option(
    "--to",
    "end",
    type=click.Choice(["front", "tail"]),
    default="front",
    show_default=True,
    help="Before all that waits in their lane, at their old place; or behind it, at a new one.",
)
@click.option("--dry-run", is_flag=True, help="Say what would come back, and change nothing.")
@click.option("--force", is_flag=True, help="Bring a job back even before a lower one that stays dead.")
@options.store_url
@options.yes
@options.as_json
def replay(
    words: tuple[str, ...], end: End, dry_run: bool, force: bool, url: str | None, yes: bool, as_json: bool
) -> int:
    """Bring the named dead letters back, or all of the queue, lowest sequence first.

    They keep their ids and get all their retries again. Bringing a job back to the front while a lower
    dead letter of its lane stays dead would give up their order, so it is refused; with --force it asks
    for the queue's name instead.

    \b
    Examples:
      glassq dead replay payments --dry-run
      glassq dead replay payments
      glassq dead replay payments payments/9f2c41d07a6e:17 --to tail

    Exit codes: 0 done, 1 refused or there is no such dead letter, 2 wrong usage.
    """
    choice, (name, *ids) = choose_store(words, url, "QUEUE", more="ID")
    with choice.opened() as store:
        queue = store.queue(name)
        if dry_run:
            jobs = _replayed(queue, ids, end, dry_run=True, force=force)
        else:
            if force and end == "front":
                _confirm_disorder(queue, ids, store=store.storage.address, yes=yes)
            asked = {"ids": ",".join(ids) or "all", "to": end, "force": "yes" if force else None}
            with audited("dead replay", store=store.storage.address, queue=name, **asked) as entry:
                jobs = _replayed(queue, ids, end, force=force)
                entry.result = f"{len(jobs)} replayed"
    if as_json:
        print_json({"queue": name, "to": end, "dry_run": dry_run, "replayed": jobs})
    else:
        _print(name, jobs, dry_run=dry_run)
    return 0


def _replayed(
    queue: Queue, ids: Sequence[str], end: End, *, dry_run: bool = False, force: bool
) -> list[ReplayedJob]:
    try:
        return queue.replay(list(ids) or None, end, dry_run=dry_run, force=force)
    except ReplayRefused as refused:
        raise click.ClickException(
            f"refused: {_disorder(refused)}; name that id as well, or use --to tail, or --force"
        ) from refused


def _confirm_disorder(queue: Queue, ids: Sequence[str], *, store: str, yes: bool) -> None:
    """Ask only where `--force` makes a difference."""
    try:
        queue.replay(list(ids) or None, "front", dry_run=True)
    except ReplayRefused as refused:
        consequence = f"The order of a lane is given up: {_disorder(refused)}."
        confirm(queue.name, consequence, store=store, yes=yes)


def _disorder(refused: ReplayRefused) -> str:
    return (
        f"{refused.job_id} would come before {refused.left_behind} (sequence {refused.seq}) "
        "of the same lane, which stays dead"
    )


def _print(queue: str, jobs: Sequence[ReplayedJob], *, dry_run: bool) -> None:
    if not jobs:
        click.echo(f"queue {queue} has no dead letters")
        return
    print_rows(table(jobs[:_ROWS]))
    if len(jobs) > _ROWS:
        click.echo(f"... and {len(jobs) - _ROWS:,} more")
    done = "would come back; nothing was changed" if dry_run else "came back"
    click.echo(f"\n{counted(len(jobs), 'dead letter')} of queue {queue} {done}")


def table(jobs: Sequence[ReplayedJob]) -> Table:
    """One row per job: the place it had and the one it has."""
    shown = grid(
        names("job", (job.id for job in jobs), 34),
        names("key", (job.key or "(no key)" for job in jobs), 12),
        sentences("task"),
        numbers("was"),
        numbers("is"),
    )
    for job in jobs:
        seq = "new" if job.seq is None else str(job.seq)
        shown.add_row(cells.word(job.id), cells.key(job.key), cells.word(job.task), str(job.was_seq), seq)
    return shown
