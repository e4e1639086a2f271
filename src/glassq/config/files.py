"""From a path to a tree: which language a file is in, and everything that may be wrong with it as a file."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glassq.config.tree import Node, Origin, plant
from glassq.errors import BadSetting, MissingExtra
from glassq.model.names import nearest

MAX_BYTES = 1 << 20
"""Larger files are refused before they are read; hundreds of workers fit into a tenth of that."""

_PLACE = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)")


def read_file(path: str | os.PathLike[str], problems: list[BadSetting]) -> Node:
    """The tree of a file ending in .yaml, .yml, .toml or .json.

    Names that stand twice are added to `problems`. Raises `BadSetting` for what cannot be read at all, and
    `MissingExtra` for YAML without PyYAML.
    """
    file = os.fspath(path)
    origin = Origin(file)
    suffix = Path(file).suffix.lower()
    if suffix not in _LANGUAGES:
        raise origin.wrong(
            "file", f"ends in {suffix or 'nothing'}, and is read as .yaml, .yml, .toml or .json",
            nearest(suffix, _LANGUAGES),
        )  # fmt: skip
    text = _text(file, origin)
    tree = _LANGUAGES[suffix](text, file, problems) if text.strip() else None
    if tree is None or tree.value is None:
        raise origin.wrong("file", "is empty; the least is a line like `app: shop.jobs:app`")
    if not isinstance(tree.value, dict):
        kind = "a list" if isinstance(tree.value, tuple) else "a single value"
        raise tree.origin.wrong("file", f"is {kind}; it should be a mapping, like `app: shop.jobs:app`")
    return tree


def _text(file: str, origin: Origin) -> str:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise origin.wrong("file", f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise origin.wrong("file", "has a name that no file can have") from None
    if len(data) > MAX_BYTES:
        raise origin.wrong("file", f"is larger than {MAX_BYTES:,} bytes; is it a configuration at all?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Origin(file, line).wrong("file", "is not UTF-8 in this line; save it as UTF-8") from None


def _read_yaml(text: str, file: str, problems: list[BadSetting]) -> Node | None:
    try:
        from glassq.config.yamlfile import read_yaml
    except ImportError:
        raise MissingExtra("a configuration file in YAML", "cli") from None
    return read_yaml(text, file, problems)


def _read_toml(text: str, file: str, _: list[BadSetting]) -> Node:
    try:
        return plant(tomllib.loads(text), Origin(file))
    except ValueError as error:  # of its own, or of Python for a number of thousands of digits
        found = _PLACE.search(str(error))
        line = int(found[1] or text.count("\n") + 1) if found else None
        raise Origin(file, line).wrong("syntax", _PLACE.sub("", str(error))) from None
    except RecursionError:
        raise Origin(file).wrong("syntax", "is nested too deep") from None


def _read_json(text: str, file: str, problems: list[BadSetting]) -> Node:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names: dict[str, Any] = {}
        for name, value in pairs:
            if name in names:
                problems.append(Origin(file).wrong(name, "stands twice in one object"))
            names.setdefault(name, value)
        return names

    try:
        return plant(json.loads(text, object_pairs_hook=once), Origin(file))
    except json.JSONDecodeError as error:
        raise Origin(file, error.lineno).wrong("syntax", error.msg) from None
    except ValueError as error:  # a number of thousands of digits
        raise Origin(file).wrong("syntax", str(error)) from None
    except RecursionError:
        raise Origin(file).wrong("syntax", "is nested too deep") from None


_LANGUAGES: dict[str, Callable[[str, str, list[BadSetting]], Node | None]] = {
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".toml": _read_toml,
    ".json": _read_json,
}
