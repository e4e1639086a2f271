"""From a tree to settings: every field read by its row of the table, every mistake noted, none the last."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from glassq.config.kinds import Kind
from glassq.config.shapes import ByName, Either, Field, Group, InOrder, Several, Shape
from glassq.config.tree import Node, Origin, join
from glassq.errors import BadOption, BadSetting
from glassq.model.names import nearest

_GOT = re.compile(r"[,;] got ('.*'|\".*\"|[^,;]*)")


class Reader:
    """Reads one tree. `problems` and `origins` (by path) grow as it goes."""

    def __init__(self, problems: list[BadSetting]) -> None:
        self.problems = problems
        self.origins: dict[str, Origin] = {}

    def read(self, node: Node, group: Group) -> dict[str, Any]:
        """The settings of a whole configuration: what was given and can be used. Top-level names that begin
        with `x-` are the user's own, for values that aliases repeat."""
        own = {name: child for name, child in node.value.items() if not name.startswith("x-")}
        return self._group(Node(own, node.origin, node.key), group, "")

    def _refuse(self, origin: Origin, path: str, problem: str, near: str | None = None) -> None:
        self.problems.append(origin.wrong(path, problem, near))

    def _refuse_value(self, node: Node, path: str, error: BadOption, *, hidden: bool = False) -> None:
        problem = _veiled(error, node) if hidden or node.loose else error.problem
        if error.nearest and error.option and not path.endswith(error.option):
            problem = f"{error.option} {problem}"  # it is about a part of the value
        self._refuse(node.origin, path, problem, error.nearest)

    def _group(self, node: Node, group: Group, path: str) -> dict[str, Any]:
        if not isinstance(node.value, dict):
            names = ", ".join(field.name for field in group.fields)
            self._refuse(node.origin, path, f"is a mapping with fields ({names}), got {_kind_of(node)}")
            return {}
        self._refuse_unknown(node, group, path)
        values = {}
        for field in group.fields:
            child, below = node.value.get(field.name), join(path, field.name)
            if child is None or _is_nothing(child):
                if field.required:
                    self._refuse(node.key, below, "is missing")
                continue
            self.origins[below] = child.origin
            value = self._field(child, field, below)
            if value is not None:
                values[field.name] = value
        self._check_together(node, group, values, path)
        return values

    def _check_together(self, node: Node, group: Group, values: dict[str, Any], path: str) -> None:
        """Ask for the group's check until what is left passes, so that each field that does not is named."""
        while True:
            try:
                group.check(values)
            except BadOption as error:
                if values.pop(error.option, None) is None:
                    self._refuse(node.origin, path, f"{error.option} {error.problem}", error.nearest)
                    return
                self._refuse_value(node.value[error.option], join(path, error.option), error)
            else:
                return

    def _refuse_unknown(self, node: Node, group: Group, path: str) -> None:
        meant = group.meant()
        known = {field.name for field in group.fields}
        for name, child in node.value.items():
            if name not in known:
                near = meant.get(nearest(name.lower(), meant) or "")
                hint = "is not a field" if near else f"is not a field; there are {', '.join(sorted(known))}"
                self._refuse(child.key, join(path, name), hint, near)

    def _field(self, node: Node, field: Field, path: str) -> Any:
        """The value of a field, or None where it cannot be had."""
        noted = len(self.problems)
        try:
            value = self._shaped(node, field.shape, path)
            if len(self.problems) == noted:
                field.check(field.name, value)
        except BadOption as error:
            self._refuse_value(node, path, error, hidden=field.masked is not None)
            return None
        return value

    def _shaped(self, node: Node, shape: Shape, path: str) -> Any:
        if isinstance(shape, Either):
            shape = shape.group if isinstance(node.value, dict) else shape.single
        if isinstance(shape, Kind):
            return shape.read(node)
        return _READERS[type(shape)](self, node, shape, path)

    def _by_name(self, node: Node, shape: ByName, path: str) -> dict[str, Any]:
        if not isinstance(node.value, dict):
            raise BadOption("", f"is a mapping from names to fields, got {_kind_of(node)}")
        groups = {}
        for name, child in node.value.items():
            below = join(path, name)
            self.origins[below] = child.key
            try:
                shape.check(path, name)
            except BadOption as error:
                self._refuse(child.key, below, error.problem)
            groups[name] = {} if _is_nothing(child) else self._group(child, shape.each, below)
        return groups

    def _in_order(self, node: Node, shape: InOrder, path: str) -> list[dict[str, Any]]:
        if not isinstance(node.value, tuple):
            raise BadOption("", f"is a list of mappings, each beginning with `- name:`, got {_kind_of(node)}")
        groups = []
        for place, child in enumerate(node.value):
            below = f"{path}[{place}]"
            self.origins[below] = child.key
            groups.append(self._group(child, shape.each, below))
        return groups

    def _several(self, node: Node, shape: Several, path: str) -> list[Any]:
        items = node.value
        if node.loose and isinstance(items, str):
            words = (word.strip() for word in items.split(","))
            items = tuple(Node(word, node.origin, node.key, loose=True) for word in words if word)
        if not isinstance(items, tuple):
            raise BadOption("", f"is a list, each {shape.each.says}, got {_kind_of(node)}")
        values = []
        for place, item in enumerate(items):
            below = f"{path}[{place}]"
            self.origins[below] = item.origin
            try:
                value = shape.each.read(item)
                shape.check(below, value)
            except BadOption as error:
                self._refuse_value(item, below, error)
            else:
                values.append(value)
        return values


_READERS: dict[type[Shape], Callable[[Reader, Node, Any, str], Any]] = {
    Group: Reader._group,  # noqa: SLF001 - this is the class's own table
    ByName: Reader._by_name,  # noqa: SLF001
    InOrder: Reader._in_order,  # noqa: SLF001
    Several: Reader._several,  # noqa: SLF001
}


def _is_nothing(node: Node) -> bool:
    """Null, and an empty variable, stand for a field that is not given."""
    return node.value is None or (node.loose and node.value == "")


def _kind_of(node: Node) -> str:
    """What a value is, without showing it: in a wrong place it may be a secret."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, tuple):
        return "a list"
    return "nothing" if node.value is None else "a single value"


def _veiled(error: BadOption, node: Node) -> str:
    """What is wrong with a value that may be a secret, without any part of it."""
    problem = _GOT.sub("", error.problem)
    if isinstance(node.value, str) and node.value:
        problem = problem.replace(repr(node.value), "it")
        if node.value in problem:
            return "cannot be used; its value is not shown, as it may be a secret"
    return problem
