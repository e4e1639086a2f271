"""What commands print: tables for people, on a terminal as wide as it is or a pipe wide enough for every
line, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Column, Table

_PIPE_COLUMNS = 120
_ROW_COLUMNS = (80, 100)
"""Rows with sentences in them need some width to be read, and are not spread over a wide screen."""


def open_console() -> Console:
    """Standard output, without guessing at numbers and paths to colour."""
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no right edge to wrap at
        console.width = max(console.width, _PIPE_COLUMNS)
    return console


def print_json(value: Any) -> None:
    """One document: a record, a list of them, or a plain object. Field names are those of the records."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2))


def print_rows(rows: RenderableType) -> None:
    """A table whose rows hold text, from 80 to 100 columns wide."""
    console = open_console()
    least, most = _ROW_COLUMNS
    console.width = min(max(console.width, least), most)
    console.print(rows)


def grid(*columns: Column) -> Table:
    """An empty table without lines."""
    return Table(*columns, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))


def names(heading: str, values: Iterable[str], most: int) -> Column:
    """A column of ids or keys: kept whole up to `most` characters, so that they can be copied; longer ones
    fold."""
    longest = max(map(cell_len, values), default=0)
    return Column(heading, overflow="fold", min_width=min(longest, most))


def sentences(heading: str) -> Column:
    """A column that gives way to the others, and folds."""
    return Column(heading, overflow="fold")


def numbers(heading: str) -> Column:
    """A column that stands to the right and is never cut."""
    return Column(heading, justify="right", no_wrap=True)
