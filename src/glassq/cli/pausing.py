"""`glassq pause` and `glassq resume`: let nothing further begin, and let it begin again."""

from __future__ import annotations

import click

from glassq.cli import options
from glassq.cli.audit import audited
from glassq.cli.cells import counted
from glassq.cli.escaping import printable
from glassq.cli.stores import choose_store
from glassq.cli.terminal import print_json
from glassq.model.stats import QueueStats

_WITHOUT_KEY = "the whole queue"


@click.command(short_help="Let no further job of a queue, or of one lane, begin.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.lane_key(_WITHOUT_KEY)
@options.store_url
@options.as_json
def pause(words: tuple[str, ...], key: str | None, url: str | None, as_json: bool) -> int:
    """Let no further job of a queue, or of one lane, begin. Jobs that run are not disturbed.

    Jobs may still be enqueued; they wait. Nothing is lost, so nobody is asked.

    \b
    Examples:
      glassq pause payments
      glassq pause payments --key o-17
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        queue = store.queue(name)
        with audited("pause", store=store.storage.address, queue=name, key=key) as entry:
            queue.pause(key)
            entry.result = "paused"
    if as_json:
        print_json({"queue": name, "key": key, "paused": True})
    else:
        click.echo(f"{_scope(name, key)} is paused; `glassq resume` lets it go on")
    return 0


@click.command(short_help="Undo `pause`.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.lane_key(_WITHOUT_KEY)
@options.store_url
@options.as_json
def resume(words: tuple[str, ...], key: str | None, url: str | None, as_json: bool) -> int:
    """Undo `pause` of the same scope. A lane paused by its key stays paused when the queue is resumed.

    \b
    Examples:
      glassq resume payments
      glassq resume payments --key o-17

    Exit codes: 0 done, 1 it was not paused, 2 wrong usage.
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        queue = store.handle(name)  # not `queue`: what was paused ahead of its first job is resumed, too
        with audited("resume", store=store.storage.address, queue=name, key=key) as entry:
            if not queue.resume(key):
                store.queue(name)  # most likely the name is misspelt; this knows the nearest one
                raise click.ClickException(f"{_scope(name, key)} is not paused")
            entry.result = "resumed"
        left = queue.stats()
    if as_json:
        print_json({"queue": name, "key": key, "paused": False})
    else:
        click.echo(f"{_scope(name, key)} goes on{_still_paused(left, key)}")
    return 0


def _scope(queue: str, key: str | None) -> str:
    return f"queue {queue}" if key is None else f"the lane of key {printable(key)} of queue {queue}"


def _still_paused(left: QueueStats, key: str | None) -> str:
    """What another pause still holds back: the first thing to wonder about when nothing moves."""
    if left.paused_whole:
        return ", once the queue is resumed: that is paused, too" if key is not None else ""
    lanes = left.paused_keys
    if not lanes or key is not None:
        return ""
    return f"; {counted(lanes, 'lane')} of it paused by key {'stays' if lanes == 1 else 'stay'} paused"
