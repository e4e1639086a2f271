"""How an expression of Prometheus puts the instances of each series together."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from tests.promql import Selector, selectors

AGGREGATORS = ("sum", "max", "min", "avg", "count", "group")
_SERIES = re.compile(r"(?:\w+:)?glassq_\w+(?::\w+)?\{")
_GROUPED = re.compile(r"(\w+) by \(([^)]*)\) \(")


class Aggregated(msgspec.Struct, frozen=True):
    """A selector and the aggregation that is nearest around it."""

    selector: Selector
    how: str
    by: frozenset[str]


def aggregated(expression: str) -> Iterator[Aggregated]:
    """Every selector of the expression; each has its braces."""
    places = [found.start() for found in _SERIES.finditer(expression)]
    for selector, start in zip(selectors(expression), places, strict=True):
        how, *by = _around(expression[:start])
        yield Aggregated(selector, how, frozenset(by))


def _around(before: str) -> list[str]:
    """The innermost aggregation that is still open at the end of this text, and what it groups by."""
    # `sum by (queue, state) (` becomes `sum@queue@state(`: one word before its parenthesis.
    words = _GROUPED.sub(lambda found: "@".join((found[1], *found[2].split(", "))) + "(", before)
    opened: list[str] = []
    for word, parenthesis in re.findall(r"([\w@]*)([()])", re.sub(r"\{[^}]*\}", "", words)):
        if parenthesis == "(":
            opened.append(word)
        else:
            opened.pop()
    inner = (word.split("@") for word in reversed(opened))
    return next((word for word in inner if word[0] in AGGREGATORS), [""])
