"""YAML as configurations use it, with the line of every value.

Built on the parser's events rather than on its loader. The loader forgets lines, lets the last of two equal
keys win, and takes `yes`, `on`, `010` and `22:22` for what nobody meant; and what is nested too deep ends it
with a RecursionError. Here a plain word is true, false, null or a decimal number, and text otherwise; a
number is what YAML 1.1 and 1.2 both call one, so that text which either writes without quotes stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from glassq.config.tree import MAX_DEPTH, Node, Origin, join
from glassq.errors import BadSetting

MAX_VALUES = 100_000
"""Values a file may have once its aliases are written out: a few lines could make billions."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_DECIMAL = re.compile(r"([-+]?[0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?\Z")


def read_yaml(text: str, file: str, problems: list[BadSetting]) -> Node | None:
    """The one document of a text; None when it has none. Keys that stand twice are added to `problems`.

    Raises `BadSetting` for what is no YAML, or YAML that no configuration needs.
    """
    try:
        return _Document(yaml.parse(text, Loader=yaml.SafeLoader), file, problems).read()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character {chr(error.character)!r}" if isinstance(error.character, int) else error.reason
        raise Origin(file, line).wrong("syntax", f"{what} is not allowed in YAML") from None
    except yaml.MarkedYAMLError as error:
        # Its own text quotes the line, which may hold a password.
        problem = error.problem or "it is no YAML"
        if "\\t" in problem:
            problem += "; indent with spaces, YAML takes no tabs"
        mark = error.problem_mark or error.context_mark
        raise Origin(file, mark.line + 1 if mark else None).wrong("syntax", problem) from None


class _Anchored(msgspec.Struct, frozen=True):
    """What an alias stands for, and how many values that is. Without a node it is not complete yet."""

    node: Node | None = None
    size: int = 0


class _Document:
    """Builds the tree from the parser's events, one after the other."""

    def __init__(self, events: Iterator[Any], file: str, problems: list[BadSetting]) -> None:
        self._events = events
        self._file = file
        self._problems = problems
        self._anchors: dict[str, _Anchored] = {}
        self._size = 0

    def read(self) -> Node | None:
        """The document; None when there is none."""
        root: Node | None = None
        for event in self._events:
            if not isinstance(event, DocumentStartEvent):
                continue
            if root is not None:
                raise self._at(event).wrong("syntax", "a second document begins; a file has one")
            root = self._node(next(self._events), "", 0)
        return root

    def _at(self, event: Any) -> Origin:
        return Origin(self._file, event.start_mark.line + 1)

    def _node(self, event: Any, path: str, depth: int) -> Node:
        """The value that this event begins."""
        origin = self._at(event)
        if isinstance(event, AliasEvent):
            return self._alias(str(event.anchor), origin, path)
        before = self._count(1, origin, path)
        if depth > MAX_DEPTH:
            raise origin.wrong(path, f"is more than {MAX_DEPTH} levels deep")
        if event.tag not in (None, "!"):
            raise origin.wrong(
                path, "has a tag; leave it out, and write text that looks like a number in quotes"
            )
        if event.anchor:
            self._anchors[event.anchor] = _Anchored()
        if isinstance(event, ScalarEvent):
            plain = event.implicit[0] and event.style is None
            node = Node(_plain(event.value) if plain else event.value, origin, origin)
        elif isinstance(event, SequenceStartEvent):
            node = Node(tuple(self._items(path, depth)), origin, origin)
        else:
            node = Node(self._pairs(path, depth), origin, origin)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(node, self._size - before)
        return node

    def _count(self, more: int, origin: Origin, path: str) -> int:
        """Note that there are more values; how many there were."""
        before = self._size
        self._size += more
        if self._size > MAX_VALUES:
            raise origin.wrong(path, f"with its aliases written out the file has over {MAX_VALUES:,} values")
        return before

    def _alias(self, anchor: str, origin: Origin, path: str) -> Node:
        known = self._anchors.get(anchor)
        if known is None:
            raise origin.wrong(path, f"*{anchor} stands for nothing; there is no &{anchor} before it")
        if known.node is None:
            raise origin.wrong(path, f"*{anchor} contains itself")
        self._count(known.size, origin, path)
        return known.node

    def _items(self, path: str, depth: int) -> Iterator[Node]:
        place = 0
        while not isinstance(event := next(self._events), SequenceEndEvent):
            yield self._node(event, f"{path}[{place}]", depth + 1)
            place += 1

    def _pairs(self, path: str, depth: int) -> dict[str, Node]:
        pairs: dict[str, Node] = {}
        inherited: list[Node] = []
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._at(event)
            if not isinstance(event, ScalarEvent):
                raise key.wrong(path or "syntax", "has a name that is no text")
            name = event.value
            value = self._node(next(self._events), join(path, name), depth + 1)
            if name == "<<" and event.style is None:
                inherited += self._merged(value, key, path)
            elif name in pairs:
                first = pairs[name].key.line
                self._problems.append(key.wrong(join(path, name), f"stands twice, first in line {first}"))
            else:
                pairs[name] = Node(value.value, value.origin, key)
        for each in inherited:
            for name, value in each.value.items():
                pairs.setdefault(name, value)
        return pairs

    @staticmethod
    def _merged(value: Node, key: Origin, path: str) -> list[Node]:
        """The mappings that `<<` takes over, the first of them first."""
        mappings = list(value.value) if isinstance(value.value, tuple) else [value]
        if not all(isinstance(each.value, dict) for each in mappings):
            raise key.wrong(
                join(path, "<<"), "takes a mapping over, as in `<<: *defaults`, or a list of some"
            )
        return mappings


def _plain(text: str) -> str | int | float | bool | None:
    """What a word without quotes is."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.match(text):
        return int(text)
    return float(text) if _DECIMAL.match(text) else text
