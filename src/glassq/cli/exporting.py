"""`... export DIR`: files that come with glassq, written where Prometheus, Alertmanager or Grafana read them.

They are the user's own from then on: one that was changed is not overwritten unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

Files = Mapping[str, bytes]
"""What is to be written: the path below the directory, with `/`, and the content."""

destination = click.argument(
    "directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), required=True
)
force = click.option("--force", is_flag=True, help="Overwrite files that are there and differ.")


def packaged(package: str) -> Files:
    """Every file in the folder `files` of a package, however deep, sorted by its path."""
    return dict(sorted(_below(files(package).joinpath("files"), "")))


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _below(each, f"{path}{each.name}/")
        else:
            yield f"{path}{each.name}", each.read_bytes()


def export(found: Files, directory: Path, *, force: bool) -> int:
    """Write the files, and say for each what was done; all of them, or none where one may not be replaced."""
    there = {path: _content(directory / path) for path in found}
    changed = [path for path, content in found.items() if there[path] not in (None, content)]
    if changed and not force:
        names = ", ".join(str(directory / path) for path in changed)
        raise click.ClickException(f"nothing written: {names} would be overwritten; add --force if it may be")
    for path, content in found.items():
        target = directory / path
        if there[path] == content:
            click.echo(f"unchanged  {target}")
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise click.ClickException(f"cannot write {target}: {error.strerror}") from error
        click.echo(f"{'replaced' if path in changed else 'written':<9}  {target}")
    return 0


def _content(target: Path) -> bytes | None:
    """What stands there now; None when there is no such file."""
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.ClickException(f"cannot write {target}: {error.strerror}") from error
