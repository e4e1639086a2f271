"""`glassq dead`: the jobs that were given up. Look at them, bring them back in order, or drop them."""

from __future__ import annotations

import click

from glassq.cli import deadletters, options
from glassq.cli.asking import confirm
from glassq.cli.audit import audited
from glassq.cli.cells import counted
from glassq.cli.escaping import printable, printable_lines
from glassq.cli.groups import Commands
from glassq.cli.replay import replay
from glassq.cli.stores import choose_store, queue_in
from glassq.cli.terminal import print_json, print_rows


@click.group(cls=Commands, short_help="Jobs that were given up: list, show, replay, purge.")
def dead() -> None:
    """Look at dead letters, the jobs that were given up, and bring them back in order or drop them.

    \b
    Examples:
      glassq dead list payments
      glassq dead show payments/9f2c41d07a6e:17
      glassq dead replay payments --dry-run
      glassq dead purge payments
    """


@dead.command("list", short_help="Show dead letters, lowest sequence first.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.store_url
@options.at_most(100, "dead letters")
@options.as_json
def list_dead(words: tuple[str, ...], url: str | None, limit: int, as_json: bool) -> int:
    """Show dead letters with the reason, the number of attempts and the last error.

    \b
    Examples:
      glassq dead list payments
      glassq dead list shop.jobs:app payments --limit 1000 --json
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        queue = store.queue(name)
        letters = queue.dead_letters(limit)
        total = queue.stats().dead_letters
    if as_json:
        print_json(letters)
    elif letters:
        print_rows(deadletters.table(letters))
        if total > len(letters):
            click.echo(f"\nthe first {len(letters):,} of {total:,}; --limit N shows more")
    else:
        click.echo(f"queue {name} has no dead letters")
    return 0


@dead.command(short_help="Show one dead letter with its traceback.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] ID")
@options.store_url
@options.as_json
def show(words: tuple[str, ...], url: str | None, as_json: bool) -> int:
    """Show one dead letter: its place, why it was given up, its last error with the traceback.

    Its id names its queue. Arguments are never shown: they may be secrets.

    \b
    Examples:
      glassq dead show payments/9f2c41d07a6e:17
      glassq dead show shop.jobs:app payments/9f2c41d07a6e:17 --json

    Exit codes: 0 shown, 1 there is no such dead letter, 2 wrong usage.
    """
    choice, (job,) = choose_store(words, url, "ID")
    name = queue_in(job)
    with choice.opened() as store:
        found = deadletters.find(store.storage, store.queue(name).name, job)
    if as_json:
        print_json(found)
    else:
        print_rows(deadletters.page(found))
        if found.traceback:
            click.echo(f"\n{printable_lines(found.traceback.rstrip())}")
    return 0


dead.add_command(replay)


@dead.command(short_help="Drop all dead letters of a queue, or of one key, for good.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.lane_key("the whole queue")
@options.store_url
@options.yes
@options.as_json
def purge(words: tuple[str, ...], key: str | None, url: str | None, yes: bool, as_json: bool) -> int:
    """Drop all dead letters of a queue, or of one key. They cannot be had back.

    Asks for the queue's name first.

    \b
    Examples:
      glassq dead purge payments
      glassq dead purge payments --key o-17
      glassq dead purge shop.jobs:app payments --yes

    Exit codes: 0 done, 1 there is no such queue or nobody confirmed, 2 wrong usage.
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        queue = store.queue(name)
        letters = counted(queue.stats().dead_letters, "dead letter")
        of_key = "" if key is None else f" of key {printable(key)}"
        loss = f"every dead letter{of_key}" if key is not None else letters
        confirm(name, f"This drops {loss} of queue {name} for good.", store=store.storage.address, yes=yes)
        with audited("dead purge", store=store.storage.address, queue=name, key=key) as entry:
            dropped = queue.purge_dead(key)
            entry.result = f"{dropped} dropped"
    if as_json:
        print_json({"queue": name, "key": key, "dropped": dropped})
    else:
        click.echo(f"{counted(dropped, 'dead letter')}{of_key} of queue {name} dropped")
    return 0
