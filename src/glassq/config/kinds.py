"""What a field holds, and how it is read. Types are strict where they are known: a number in quotes is text.

Text from the environment has no type, so that it may stand for any of them; and as it may be a secret, no
message shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from glassq.config.tree import Node
from glassq.errors import BadOption
from glassq.model.names import nearest
from glassq.model.quantities import check_seconds

_SHOWN = 60
"""Characters of a value that a message shows."""
_MOST = 1e15
"""Numbers beyond it are slips; up to it, floats are exact to the whole."""

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)\Z")
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?\Z")


class Kind(msgspec.Struct, frozen=True):
    """`says` completes "this field is ..."; `read` gives the plain value, or raises `BadOption`."""

    says: str
    read: Callable[[Node], Any]


def shown(node: Node) -> str:
    """A value as a message may show it."""
    if node.loose:
        return f"what {node.origin} holds" if node.origin.variable else "what its variable holds"
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, tuple):
        return "a list"
    text = repr(node.value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _misfit(node: Node, says: str, advice: str = "", near: str | None = None) -> BadOption:
    return BadOption("", f"is {says}, got {shown(node)}{advice}", near)


def _read_text(node: Node) -> str:
    if isinstance(node.value, str):
        return node.value
    advice = "; put it in quotes" if isinstance(node.value, int | float) else ""
    raise _misfit(node, "text", advice)


def _read_whole(node: Node) -> int:
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    number = isinstance(node.value, str) and _WHOLE.match(node.value)
    if number and node.loose:
        return int(node.value)
    raise _misfit(node, "a whole number", "; leave the quotes out" if number and not node.loose else "")


def _read_number(node: Node) -> float:
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        if abs(node.value) <= _MOST:
            return float(node.value)
        raise _misfit(node, "a number that can be counted with")
    number = isinstance(node.value, str) and _NUMBER.match(node.value)
    if number and node.loose:
        return float(node.value)
    raise _misfit(node, "a number", "; leave the quotes out" if number and not node.loose else "")


def _read_seconds(node: Node) -> float:
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return check_seconds("", node.value)
    if isinstance(node.value, str):
        if node.loose and _NUMBER.match(node.value):
            return check_seconds("", float(node.value))
        found = _QUANTITY.match(node.value)
        if found and found[2] in _UNITS:
            return check_seconds("", float(found[1]) * _UNITS[found[2]])
    raise _misfit(node, f"seconds, as a number or with a unit ({', '.join(_UNITS)}) as in 1.5 or 2m")


def _read_bytes(node: Node) -> int:
    if isinstance(node.value, str) and (found := _QUANTITY.match(node.value)) and found[2] in _SIZES:
        size = float(found[1]) * _SIZES[found[2]]
        if size.is_integer():
            return int(size)
    try:
        return _read_whole(node)
    except BadOption:
        raise _misfit(
            node, f"a whole number of bytes, or with a unit ({', '.join(_SIZES)}) as in 256KiB"
        ) from None


def _read_truth(node: Node) -> bool:
    if isinstance(node.value, bool):
        return node.value
    if node.loose and node.value in ("true", "false"):
        return bool(node.value == "true")
    advice = ""
    if isinstance(node.value, str) and node.value.lower() in (
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "true",
        "false",
    ):
        advice = "; write true or false, without quotes"
    raise _misfit(node, "true or false", advice)


def one_of(*words: str) -> Kind:
    """One of a few words."""

    def read(node: Node) -> str:
        if node.value in words:
            return str(node.value)
        near = nearest(node.value, words) if isinstance(node.value, str) and not node.loose else None
        raise _misfit(node, f"one of {', '.join(words)}", near=near)

    return Kind(f"one of {', '.join(words)}", read)


def keyed(each: Kind) -> Kind:
    """A mapping from ordering keys to values of one kind."""

    def read(node: Node) -> dict[str, Any]:
        if not isinstance(node.value, dict):
            raise _misfit(node, f"a mapping from keys, each to {each.says}")
        return {key: each.read(child) for key, child in node.value.items()}

    return Kind(f"keys, each with {each.says}", read)


TEXT = Kind("text", _read_text)
WHOLE = Kind("a whole number", _read_whole)
NUMBER = Kind("a number", _read_number)
SECONDS = Kind("seconds", _read_seconds)
BYTES = Kind("bytes", _read_bytes)
TRUTH = Kind("true or false", _read_truth)
