"""`glassq peek`, `glassq cancel` and `glassq purge`: jobs that are not settled yet."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.table import Table

from glassq.cli import cells, options
from glassq.cli.asking import confirm
from glassq.cli.audit import audited
from glassq.cli.cells import counted
from glassq.cli.escaping import printable
from glassq.cli.stores import choose_store, queue_in
from glassq.cli.terminal import grid, names, numbers, print_json, print_rows, sentences
from glassq.cli.workflow import cancel_workflow
from glassq.client.jobs import cancel_job, find_job
from glassq.client.queues import Queue
from glassq.model.jobs import Cancellation, JobState, JobView, PeekedJob
from glassq.model.names import is_flow


@click.command(short_help="Show the first jobs of a queue.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.store_url
@options.at_most(10, "jobs")
@options.as_json
def peek(words: tuple[str, ...], url: str | None, limit: int, as_json: bool) -> int:
    """Show the first jobs of a queue by sequence: what waits, and what runs now.

    Arguments are never shown: they may be secrets. Nothing is changed by looking.

    \b
    Examples:
      glassq peek payments
      glassq peek shop.jobs:app payments --limit 50 --json
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        jobs = store.queue(name).peek(limit)
    if as_json:
        print_json(jobs)
    elif jobs:
        print_rows(table(jobs))
    else:
        click.echo(f"no job waits or runs in queue {name}")
    return 0


@click.command(short_help="Take one job out before it runs, or a whole workflow.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] ID")
@options.store_url
@options.yes
@options.as_json
def cancel(words: tuple[str, ...], url: str | None, yes: bool, as_json: bool) -> int:
    """Take one job out that is not settled yet. Its id names its queue, whose name is asked for first.

    A job that waits, is scheduled, or holds up a halted lane is removed. One that is running is asked to
    stop: it ends as cancelled only if its task looks, by current_job().check().

    Of a workflow, given by its id, every job is taken out that has not ended; its name is asked for.

    \b
    Examples:
      glassq cancel payments/9f2c41d07a6e:17
      glassq cancel '~files/5f0c2be1a9d34e77'
      glassq cancel shop.jobs:app payments/9f2c41d07a6e:17 --yes --json

    Exit codes: 0 removed or asked, 1 there is no such job or workflow or nobody confirmed, 2 wrong usage.
    """
    choice, (job_id,) = choose_store(words, url, "ID")
    if is_flow(job_id):
        with choice.opened() as store:
            return cancel_workflow(store, job_id, yes=yes, as_json=as_json)
    name = queue_in(job_id)
    with choice.opened() as store:
        job = find_job(store.storage, job_id)
        if job.state is JobState.BURIED:
            raise click.ClickException(f"{job_id} is a dead letter; `glassq dead show {job_id}` says why")
        if job.ended_at is not None:
            raise click.ClickException(f"{job_id} has ended: {job.state}; `glassq job {job_id}` shows it")
        confirm(name, _consequence(job), store=store.storage.address, yes=yes)
        with audited("cancel", store=store.storage.address, queue=name, ids=job_id, key=job.key) as entry:
            result = cancel_job(store.storage, job_id)
            entry.result = result
    if as_json:
        print_json({"id": job_id, "queue": name, "key": job.key, "result": result})
    elif result is Cancellation.REMOVED:
        click.echo(f"{job_id} is removed: it will not run")
    else:
        click.echo(f"{job_id} is running and was asked to stop; that it stops is up to its task")
    return 0


def _consequence(job: JobView) -> str:
    """What the question says is about to happen."""
    lane = "" if job.key is None else f" of key {printable(job.key)}"
    return f"This cancels job {job.id} ({printable(job.task)}){lane}, which is {job.state} now."


@click.command(short_help="End all jobs of a queue, or of one key, that wait.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] QUEUE")
@options.lane_key("the whole queue")
@options.store_url
@options.yes
@options.as_json
def purge(words: tuple[str, ...], key: str | None, url: str | None, yes: bool, as_json: bool) -> int:
    """End every job of a queue, or of one key, that waits or is scheduled as cancelled, for good.

    Halted ones too. Asks for the queue's name first. Jobs that run are left alone, and so are dead letters,
    which `glassq dead purge` drops.

    \b
    Examples:
      glassq purge payments
      glassq purge payments --key o-17
      glassq purge shop.jobs:app payments --yes --json

    Exit codes: 0 done, 1 there is no such queue or nobody confirmed, 2 wrong usage.
    """
    choice, (name,) = choose_store(words, url, "QUEUE")
    with choice.opened() as store:
        queue = store.queue(name)
        confirm(name, _loss(queue, key), store=store.storage.address, yes=yes)
        with audited("purge", store=store.storage.address, queue=name, key=key) as entry:
            ended = queue.purge(key)
            entry.result = f"{ended} cancelled"
    if as_json:
        print_json({"queue": name, "key": key, "cancelled": ended})
    else:
        of_key = "" if key is None else f" of key {printable(key)}"
        click.echo(f"{counted(ended, 'job')}{of_key} of queue {name} cancelled")
    return 0


def _loss(queue: Queue, key: str | None) -> str:
    """What a purge would end, as the question says it. How many jobs one key has is not told by any index."""
    if key is not None:
        whose = f"key {printable(key)} of queue {queue.name}"
        return f"This ends every job of {whose} for good that waits or is scheduled."
    stood = queue.stats()
    waiting = counted(stood.depth - stood.leased, "job")
    return f"This ends {waiting} of queue {queue.name} for good: all that wait or are scheduled."


def table(jobs: Sequence[PeekedJob]) -> Table:
    """One row per job."""
    shown = grid(
        names("job", (job.id for job in jobs), 34),
        names("key", (job.key or "(no key)" for job in jobs), 12),
        sentences("task"),
        numbers("seq"),
        numbers("prio"),
        numbers("bytes"),
        numbers("age"),
    )
    for job in jobs:
        shown.add_row(
            cells.word(job.id),
            cells.key(job.key),
            cells.word(job.task),
            str(job.seq),
            str(job.priority),
            cells.count(job.size),
            cells.since(job.enqueued_at),
        )
    return shown
