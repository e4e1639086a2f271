"""`glassq halted`: lanes that stopped at a job that failed, and the two ways on."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.table import Table

from glassq.cli import cells, options
from glassq.cli.asking import confirm
from glassq.cli.audit import audited
from glassq.cli.escaping import printable
from glassq.cli.groups import Commands
from glassq.cli.stores import choose_store, search
from glassq.cli.terminal import grid, names, numbers, print_json, print_rows, sentences
from glassq.client.queues import Queue
from glassq.errors import JobNotFound
from glassq.model.jobs import HaltedLane

_WITHOUT_KEY = "the lane without a key"


@click.group(cls=Commands, short_help="Lanes that wait for a human: list, retry, skip.")
def halted() -> None:
    """See the lanes that stopped at a job that failed for good, and let them go on.

    \b
    Examples:
      glassq halted list payments
      glassq halted retry payments --key o-17
      glassq halted skip payments --key o-17
    """


@halted.command("list", short_help="Show halted lanes, longest halted first.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.store_url
@options.at_most(100, "lanes")
@options.as_json
def list_halted(words: tuple[str, ...], url: str | None, limit: int, as_json: bool) -> int:
    """Show halted lanes: the job each stopped at, its last error, and how many wait behind it.

    \b
    Examples:
      glassq halted list payments
      glassq halted list shop.jobs:app payments --json
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        lanes = store.queue(name).halted(limit)
    if as_json:
        print_json(lanes)
    elif lanes:
        print_rows(table(lanes))
    else:
        click.echo(f"no lane of queue {name} is halted")
    return 0


@halted.command(short_help="Run the job a lane stopped at again.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.lane_key(_WITHOUT_KEY)
@options.store_url
@options.as_json
def retry(words: tuple[str, ...], key: str | None, url: str | None, as_json: bool) -> int:
    """Run the job a lane stopped at again, at its place and with all its retries, then what waits behind it.

    \b
    Examples:
      glassq halted retry payments --key o-17
      glassq halted retry shop.jobs:app mails

    Exit codes: 0 done, 1 that lane is not halted, 2 wrong usage.
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        queue = store.queue(name)
        with audited("halted retry", store=store.storage.address, queue=name, key=key) as entry:
            try:
                queue.retry(key)
            except JobNotFound as error:
                raise _not_halted(name, key) from error
            entry.result = "ready"
    if as_json:
        print_json({"queue": name, "key": key, "result": "ready"})
    else:
        click.echo(f"{lane_named(key)} of queue {name} goes on with the job it stopped at")
    return 0


@halted.command(short_help="Give up the job a lane stopped at, and go on.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.lane_key(_WITHOUT_KEY)
@click.option("--job", metavar="ID", help="Skip this job or none (default: the one the lane stands at).")
@options.store_url
@options.yes
@options.as_json
def skip(
    words: tuple[str, ...], key: str | None, job: str | None, url: str | None, yes: bool, as_json: bool
) -> int:
    """End the job a lane stopped at as cancelled, for good, and go on with the next.

    Asks for the queue's name first, and then ends the job it asked about, or none: in the meantime the lane
    may have gone on and stopped at another one.

    \b
    Examples:
      glassq halted skip payments --key o-17
      glassq halted skip payments --key o-17 --job payments/9f2c41d07a6e:17 --yes

    Exit codes: 0 done, 1 that lane is not halted (at that job) or nobody confirmed, 2 wrong usage.
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        queue = store.queue(name)
        lane = _stopped(queue, key, job)
        confirm(name, _loss(lane), store=store.storage.address, yes=yes)
        with audited("halted skip", store=store.storage.address, queue=name, key=key, job=job) as entry:
            try:
                job = queue.skip(key, expected=lane.head)
            except JobNotFound as error:
                raise _not_halted(name, key, lane.head) from error
            entry.result = f"{job} cancelled"
    if as_json:
        print_json({"queue": name, "key": key, "id": job, "result": "cancelled"})
    else:
        click.echo(f"{job} is cancelled; {lane_named(key)} of queue {name} goes on with the next job")
    return 0


def _stopped(queue: Queue, key: str | None, job: str | None) -> HaltedLane:
    """The lane a skip is about, halted at this job if one was named."""
    lane = search(queue.halted, lambda lane: lane.key == key)
    if lane is None or job not in (None, lane.head):
        raise _not_halted(queue.name, key, job)
    return lane


def _loss(lane: HaltedLane) -> str:
    """What a skip would end, as the question says it."""
    return (
        f"This ends job {lane.head} ({printable(lane.task)}) of {lane_named(lane.key)} for good.\n"
        f"Its last error: {printable(lane.error.partition(chr(10))[0]) or 'none was recorded'}"
    )


def _not_halted(queue: str, key: str | None, job: str | None = None) -> click.ClickException:
    at = "" if job is None else f" at {printable(job)}"
    return click.ClickException(
        f"{lane_named(key)} of queue {queue} is not halted{at}; "
        f"`glassq halted list {queue}` shows those that are"
    )


def lane_named(key: str | None) -> str:
    """A lane in a sentence."""
    return _WITHOUT_KEY if key is None else f"the lane of key {printable(key)}"


def table(lanes: Sequence[HaltedLane]) -> Table:
    """One row per lane."""
    shown = grid(
        names("key", (lane.key or "(no key)" for lane in lanes), 12),
        names("stopped at", (lane.head for lane in lanes), 34),
        sentences("task, reason"),
        numbers("tries"),
        numbers("jobs"),
        numbers("since"),
    )
    for lane in lanes:
        shown.add_row(
            cells.key(lane.key),
            cells.word(lane.head),
            cells.explained(lane.task, lane.reason, lane.error),
            cells.count(lane.attempts),
            cells.count(lane.waiting),
            cells.since(lane.since),
        )
    return shown
