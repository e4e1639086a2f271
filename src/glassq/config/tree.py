"""Values that know where they stand: what each kind of file, the environment and a dict become first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from glassq.errors import BadSetting

MAX_DEPTH = 20
"""A configuration is four values deep; what goes far beyond is none, and would exhaust the stack."""

_LONGEST_NAME = 128


class Origin(msgspec.Struct, frozen=True):
    """Where a value stands: in a line of a file, in a variable of the environment, or in code."""

    file: str | None = None
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable:
            return f"${self.variable}"
        if self.file is None:
            return "code"
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def wrong(self, path: str, problem: str, nearest: str | None = None) -> BadSetting:
        """The error about what stands here."""
        path = path or ("file" if self.file else "settings")
        return BadSetting(path, problem, nearest, file=self.file, line=self.line, variable=self.variable)


CODE = Origin()


class Node(msgspec.Struct, frozen=True):
    """A value: text, a number, a truth value or None; a tuple of nodes; or a dict of them by name."""

    value: Any
    origin: Origin = CODE
    key: Origin = CODE
    """Where its name stands; errors about the name point there."""
    loose: bool = False
    """Text of the environment, which has no types: it may stand for a number, and must not be shown."""


def plant(value: object, origin: Origin, path: str = "", depth: int = 0) -> Node:
    """The tree of plain values, all of one origin. `BadSetting` for what no configuration is made of."""
    if depth > MAX_DEPTH:
        raise origin.wrong(path, f"is more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        children = {}
        for name, child in value.items():
            if not isinstance(name, str):
                raise origin.wrong(path, f"has the name {name!r}; names are text")
            children[name] = plant(child, origin, join(path, name), depth + 1)
        return Node(children, origin, origin)
    if isinstance(value, list | tuple):
        items = (plant(item, origin, f"{path}[{place}]", depth + 1) for place, item in enumerate(value))
        return Node(tuple(items), origin, origin)
    if isinstance(value, str | int | float) or value is None:
        return Node(value, origin, origin)
    raise origin.wrong(path, f"has a {type(value).__name__}; use text, numbers, lists and mappings")


def join(path: str, name: str) -> str:
    """The path of what is called `name` in what is at `path`, fit to be printed whatever the name is."""
    shown = name if name.isprintable() else repr(name)
    if len(shown) > _LONGEST_NAME:
        shown = f"{shown[:_LONGEST_NAME]}..."
    return f"{path}.{shown}" if path else shown
