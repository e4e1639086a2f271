"""Just enough of PromQL to see what an expression asks for: its series, and how they are put together."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

AGGREGATORS = ("sum", "max", "min", "avg", "count", "group")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_GROUPED = re.compile(r"(\w+) by \(([^)]*)\) \(")


class Selected(msgspec.Struct, frozen=True):
    """One selector: its metric, its matchers, and the aggregation that is nearest around it."""

    name: str
    matchers: dict[str, str]
    aggregator: str
    by: frozenset[str]

    def values(self, label: str) -> set[str]:
        """The values of a label that are asked for by name; none where the reader chooses."""
        wanted = self.matchers.get(label, "$")
        return set() if "$" in wanted else set(wanted.split("|"))


def selected(expr: str) -> Iterator[Selected]:
    """Every selector of an expression."""
    for found in _SELECTOR.finditer(expr):
        yield Selected(found[1], dict(_MATCHER.findall(found[2])), *_around(expr[: found.start()]))


def _around(before: str) -> tuple[str, frozenset[str]]:
    """The innermost aggregation that is still open at the end of this text, and what it groups by."""
    # `sum by (queue, state) (` becomes `sum@queue@state(`: one word before its parenthesis.
    words = _GROUPED.sub(lambda found: "@".join((found[1], *found[2].split(", "))) + "(", before)
    opened: list[str] = []
    for word, parenthesis in re.findall(r"([\w@]*)([()])", re.sub(r"\{[^}]*\}", "", words)):
        if parenthesis == "(":
            opened.append(word)
        else:
            opened.pop()
    for word in reversed(opened):
        name, *labels = word.split("@")
        if name in AGGREGATORS:
            return name, frozenset(labels)
    return "", frozenset()
