"""What an expression of Prometheus names, held against the catalogue: metrics, labels, label values, buckets.

No parser of the language, which Prometheus itself is asked for: it reads the selectors and the lists of
labels. That is where a wrong name hides, for a series that does not exist is no error but an empty answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import msgspec

from glassq.observe.catalogue import BY_NAME, OTHER
from glassq.observe.specs import MetricSpec

SCRAPED = frozenset({"job", "instance"})
"""Labels that Prometheus adds to every series it scrapes."""

_SELECTOR = re.compile(r"(?<![\w:])((?:\w+:)?glassq_\w+(?::\w+)?)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_LABEL_LIST = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_PARTS = ("_bucket", "_count", "_sum")


class Matcher(msgspec.Struct, frozen=True):
    """One condition on a label; the values it names, for a regular expression its alternatives."""

    label: str
    values: tuple[str, ...]


class Selector(msgspec.Struct, frozen=True):
    """One place in an expression where series are selected."""

    name: str
    matchers: tuple[Matcher, ...]

    @property
    def recorded(self) -> bool:
        """Whether it names a recording rule: `level:metric:operations`."""
        return ":" in self.name

    @property
    def spec(self) -> MetricSpec | None:
        """The metric behind the series, also behind a recorded one that keeps its labels."""
        name = self.name.split(":")[1] if self.recorded else self.name
        for known in (name, f"{name}_total", *(name.removesuffix(part) for part in _PARTS)):
            if known in BY_NAME:
                return BY_NAME[known]
        return None


def selectors(expression: str) -> Iterator[Selector]:
    """All of them, in the order of the expression."""
    for name, inside in _SELECTOR.findall(expression):
        matchers = [
            Matcher(label, tuple(value.split("|")) if "~" in operator else (value,))
            for label, operator, value in _MATCHER.findall(inside)
        ]
        yield Selector(name, tuple(matchers))


def wrong_names(expression: str, recorded: Collection[str]) -> list[str]:
    """What an expression names that does not exist, in words; nothing when all is well. `recorded` are the
    names of the recording rules."""
    known = {label for spec in BY_NAME.values() for label in spec.labels} | SCRAPED | {"le"}
    lists = [label.strip() for inside in _LABEL_LIST.findall(expression) for label in inside.split(",")]
    found = [f"no metric has the label {label}" for label in lists if label and label not in known]
    for selector in selectors(expression):
        found += _wrong_series(selector, recorded)
    return found


def _wrong_series(selector: Selector, recorded: Collection[str]) -> Iterator[str]:
    name, spec = selector.name, selector.spec
    if selector.recorded:
        if name not in recorded:
            yield f"nothing records {name}"
            return
    elif spec is None:
        yield f"there is no metric {name}"
        return
    elif (spec.kind == "histogram") != (name != spec.name):
        yield f"{name}: a histogram has the series {', '.join(_PARTS)}, and nothing else has"
    for matcher in selector.matchers:
        yield from _wrong_values(selector, matcher)


def _wrong_values(selector: Selector, matcher: Matcher) -> Iterator[str]:
    label, spec = matcher.label, selector.spec
    if selector.recorded:
        labels = set(selector.name.partition(":")[0].split("_"))
    else:
        labels = set(spec.labels) if spec else set()
        labels |= {"le"} if selector.name.endswith("_bucket") else set()
    if label not in labels | SCRAPED:
        yield f"{selector.name} has no label {label}"
    elif label == "le" and spec is not None:
        bounds = {*map(str, spec.buckets), "+Inf"}
        yield from (f"{selector.name} has no bucket {le}" for le in matcher.values if le not in bounds)
    elif spec is not None and label in spec.values:
        closed = {*spec.values[label], OTHER}
        yield from (
            f"{selector.name} has no {label} {value}" for value in matcher.values if value not in closed
        )
