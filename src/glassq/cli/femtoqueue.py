"""`glassq import-femtoqueue`: the tasks in a femtoqueue's files, moved into a store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import msgspec

from glassq.cli import options
from glassq.cli.audit import audited
from glassq.cli.cells import counted
from glassq.cli.escaping import printable
from glassq.cli.terminal import print_json
from glassq.compat.femtofiles import MOVED, require_femtoqueue
from glassq.compat.femtomoving import Moved, move
from glassq.compat.femtotasks import QUEUE, url_of
from glassq.stores.open import open_storage


@click.command("import-femtoqueue", short_help="Move the tasks of a femtoqueue's directory into a store.")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@options.store_url
@options.as_json
def import_femtoqueue(directory: Path, url: str | None, as_json: bool) -> int:
    """Move the tasks of a femtoqueue's directory into the store that glassq.compat.femtoqueue keeps there.

    Stop the programs that use it first. Pending tasks and those in progress go in by their time, then the
    scheduled ones; failed ones become dead letters. Each file is put aside, into DIR/imported, once its task
    is in the store, so a run that was stopped may simply be repeated. Damaged files stay where they are and
    are named.

    With --url they go into the queue `femtoqueue` of another store.

    \b
    Examples:
      glassq import-femtoqueue /var/lib/app/queue
      glassq import-femtoqueue old-queue --url sqlite:////var/lib/app/queue/glassq.db

    Exit codes: 0 all moved, 1 some files were left, 2 wrong usage or no directory of femtoqueue.
    """
    require_femtoqueue(directory)  # before a store is made there
    with closing(open_storage(url or url_of(directory))) as storage:
        with audited(
            "import-femtoqueue", store=storage.address, queue=QUEUE, directory=str(directory)
        ) as entry:
            moved = move(storage, directory, QUEUE)
            entry.result = f"{moved.total} moved, {len(moved.left)} left"
        if as_json:
            print_json({"store": storage.address, "queue": QUEUE, **msgspec.to_builtins(moved)})
        else:
            _tell(moved, storage.address, directory)
    return 1 if moved.left else 0


def _tell(moved: Moved, address: str, directory: Path) -> None:
    click.echo(
        f"{counted(moved.total, 'task')} moved into queue {QUEUE} of {address}: {moved.pending:,} pending, "
        f"{moved.in_progress:,} in progress, {moved.scheduled:,} scheduled, {moved.failed:,} failed"
    )
    if moved.total:
        click.echo(f"the files are kept in {printable(str(directory / MOVED))}; nothing reads them")
    if moved.unfinished:
        click.echo(f"{counted(moved.unfinished, 'file')} in creating, whose push never returned, left alone")
    for each in moved.left:
        click.echo(f"left where it is: {printable(each.file)}: {printable(each.why)}", err=True)
