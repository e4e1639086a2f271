"""Dead letters on the screen: a row each in a list, or a page for one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.table import Table
from rich.text import Text

from glassq.cli import cells
from glassq.cli.escaping import printable_lines
from glassq.cli.stores import search
from glassq.cli.terminal import grid, names, numbers, sentences
from glassq.client.shown import error_shown, key_shown, task_named_in
from glassq.codec import read_failure
from glassq.errors import JobNotFound
from glassq.model.jobs import DeadLetter
from glassq.storage import Storage


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter with all that is known about it but its arguments. Times are epoch seconds."""

    id: str
    queue: str
    key: str | None
    seq: int
    task: str
    priority: int
    reason: str
    attempts: int
    error: str
    traceback: str
    size: int
    replayed: bool
    enqueued_at: float
    buried_at: float


def find(storage: Storage, queue: str, job_id: str) -> Page:
    """The dead letter of this id; `JobNotFound` when there is none. Reads the list up to its place."""
    record = search(lambda limit: storage.dead(queue, limit), lambda record: record.job.id == job_id)
    if record is None:
        raise JobNotFound(
            f"no dead letter of queue {queue} has the id {job_id!r}; "
            f"`glassq dead list {queue}` shows those there are"
        )
    return Page(
        id=job_id,
        queue=queue,
        key=key_shown(record.lane),
        seq=record.job.seq,
        task=task_named_in(record.job.body),
        priority=record.job.level,
        reason=record.reason,
        attempts=record.attempts,
        error=error_shown(record.error),
        traceback=read_failure(record.error).traceback,
        size=len(record.job.body),
        replayed=record.job.replayed,
        enqueued_at=record.job.eligible_at,
        buried_at=record.buried_at,
    )


def page(letter: Page) -> Table:
    """One field per line; the traceback is left to the caller, because its lines must not be folded."""
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    shown.add_row("id", cells.word(letter.id))
    shown.add_row("queue", cells.word(letter.queue))
    shown.add_row("key", cells.key(letter.key))
    shown.add_row("sequence", str(letter.seq))
    shown.add_row("task", cells.word(letter.task))
    shown.add_row("priority", str(letter.priority))
    shown.add_row("size", f"{letter.size:,} bytes")
    shown.add_row("enqueued", cells.moment(letter.enqueued_at))
    shown.add_row("buried", cells.moment(letter.buried_at))
    shown.add_row("reason", cells.word(letter.reason))
    shown.add_row("attempts", str(letter.attempts))
    shown.add_row("replayed", "yes, it was brought back before" if letter.replayed else "no")
    shown.add_row("error", Text(printable_lines(letter.error)) if letter.error else "-")
    return shown


def table(letters: Sequence[DeadLetter]) -> Table:
    """One row per dead letter."""
    shown = grid(
        names("job", (letter.id for letter in letters), 34),
        names("key", (letter.key or "(no key)" for letter in letters), 12),
        sentences("task, reason"),
        numbers("tries"),
        numbers("buried"),
    )
    for letter in letters:
        shown.add_row(
            cells.word(letter.id),
            cells.key(letter.key),
            cells.explained(letter.task, letter.reason, letter.error),
            cells.count(letter.attempts),
            cells.since(letter.buried_at).append(" ago"),
        )
    return shown
