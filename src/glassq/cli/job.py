"""`glassq job`: one job, wherever it is, and what became of it as far as that is kept."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.table import Table

from glassq.cli import cells, options
from glassq.cli.escaping import printable
from glassq.cli.stores import choose_store
from glassq.cli.terminal import grid, numbers, print_json, print_rows, sentences
from glassq.client.history import find_history
from glassq.client.jobs import find_job
from glassq.codec import JsonSerializer
from glassq.codec.results import result_loader
from glassq.errors import GlassqError, ResultNotKept
from glassq.model.jobs import HistoryEntry, JobView
from glassq.storage import Storage


@click.command(short_help="Show one job: where it is, how far, what happened to it.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] ID")
@options.store_url
@click.option("--result", "with_result", is_flag=True, help="Show what it returned, too (JSON).")
@options.as_json
def job(words: tuple[str, ...], url: str | None, with_result: bool, as_json: bool) -> int:
    """Show one job by its id: its state, its progress, whether its result is kept, and what happened to it.

    Jobs that have ended are known for the result_ttl of their task, and so is what happened to them.
    Arguments are never shown, and what it returned only with --result: both may be secrets.

    \b
    Examples:
      glassq job payments/9f2c41d07a6e:17
      glassq job shop.jobs:app payments/9f2c41d07a6e:17 --result --json

    Exit codes: 0 shown, 1 there is no such job, or its result is not kept, 2 wrong usage.
    """
    choice, (job_id,) = choose_store(words, url, "ID")
    with choice.opened() as store:
        found = find_job(store.storage, job_id)
        history = _history(store.storage, job_id)
        result = [_result(store.storage, job_id)] if with_result else []
    if as_json:
        kept = {"result": result[0]} if with_result else {}
        print_json({**msgspec.structs.asdict(found), "history": history, **kept})
        return 0
    print_rows(page(found))
    if history:
        click.echo()
        print_rows(table(history))
    if with_result:
        click.echo()
        print_json(result[0])
    return 0


def _history(storage: Storage, job_id: str) -> list[HistoryEntry]:
    try:
        return find_history(storage, job_id)
    except ResultNotKept:
        return []


def _result(storage: Storage, job_id: str) -> Any:
    note = next(iter(storage.notes(job_id)), None)
    if note is None or note.result is None:
        raise click.ClickException(f"no result is kept of {job_id}")
    try:
        return result_loader(note.result, JsonSerializer())()
    except GlassqError as error:
        raise click.ClickException(str(error)) from error


def page(found: JobView) -> Table:
    """One field per line."""
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    shown.add_row("id", cells.word(found.id))
    shown.add_row("queue", cells.word(found.queue))
    shown.add_row("key", cells.key(found.key))
    shown.add_row("state", cells.word(found.state))
    shown.add_row("sequence", "-" if found.seq is None else str(found.seq))
    shown.add_row("task", cells.word(found.task))
    shown.add_row("priority", str(found.priority))
    shown.add_row("attempts", str(found.attempts))
    for name, moment in (("enqueued", found.enqueued_at), ("ended", found.ended_at)):
        if moment is not None:
            shown.add_row(name, cells.moment(moment))
    if found.reason:
        shown.add_row("reason", cells.word(found.reason))
    shown.add_row("progress", _progress(found))
    shown.add_row("result", "kept (--result shows it)" if found.has_result else "-")
    return shown


def _progress(found: JobView) -> str:
    told = found.progress
    if told is None:
        return "-"
    parts = ["" if told.done is None else f"{told.done:.0%}", printable(told.note)]
    return f"{', '.join(filter(None, parts)) or '-'} (attempt {told.attempt})"


def table(history: list[HistoryEntry]) -> Table:
    """One row per entry."""
    shown = grid(
        sentences("event"),
        numbers("attempt"),
        sentences("outcome"),
        numbers("took"),
        numbers("when"),
        sentences("worker"),
    )
    for each in history:
        took = "-" if each.began_at is None or each.at is None else cells.duration(each.at - each.began_at)
        shown.add_row(
            each.event,
            str(each.attempt or "-"),
            cells.word(": ".join(filter(None, (each.outcome, each.error))) or "-"),
            took,
            "-" if each.at is None else cells.since(each.at).append(" ago"),
            cells.word(each.worker or "-"),
        )
    return shown
