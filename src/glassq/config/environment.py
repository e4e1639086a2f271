"""What the environment adds to a file: `${NAME}` in its values, and variables that stand for fields.

`GLASSQ__STORE__URL` is `store.url`: the path in upper case, its parts joined by two underscores. A queue or
worker is named by its name, with one underscore for all that is neither a letter nor a digit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from glassq.config.shapes import ByName, Either, Field, Group, InOrder
from glassq.config.tree import Node, Origin, join
from glassq.errors import BadSetting
from glassq.model.names import nearest

PREFIX = "GLASSQ__"

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}:]*)(?::-([^}]*))?\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CUT = re.compile(r"[^A-Za-z0-9]+")


def variable_part(name: str) -> str:
    """A field's, queue's or worker's name as a part of a variable."""
    return _CUT.sub("_", name).strip("_").upper()


def fill_in(node: Node, environ: Mapping[str, str], problems: list[BadSetting], path: str = "") -> Node:
    """The tree with each `${NAME}` and `${NAME:-default}` replaced; `$${` stands for `${` itself."""
    if isinstance(node.value, dict):
        filled = {
            name: fill_in(child, environ, problems, join(path, name)) for name, child in node.value.items()
        }
        return msgspec.structs.replace(node, value=filled)
    if isinstance(node.value, tuple):
        items = (
            fill_in(item, environ, problems, f"{path}[{place}]") for place, item in enumerate(node.value)
        )
        return msgspec.structs.replace(node, value=tuple(items))
    if not isinstance(node.value, str) or "${" not in node.value:
        return node
    try:
        text, loose = _filled(node.value, environ)
    except ValueError as error:
        problems.append(node.origin.wrong(path, str(error)))
        return msgspec.structs.replace(node, value=None)
    return msgspec.structs.replace(node, value=text, loose=loose)


def _filled(text: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """The text, and whether any of it is the environment's. ValueError says what cannot be replaced."""
    loose = False

    def replace(found: re.Match[str]) -> str:
        nonlocal loose
        if found[0] == "$${":
            return "${"
        name, default = found[1], found[2]
        if name is None or not _NAME.match(name) or "${" in (default or ""):
            raise ValueError(
                "has a ${ that begins neither ${NAME} nor ${NAME:-default}; write $${ for the text itself"
            )
        loose = True
        value = environ.get(name) or default
        if value is None and name not in environ:
            raise ValueError(f"needs the variable {name}, which is not set; or give ${{{name}:-default}}")
        return value or ""

    return _REFERENCE.sub(replace, text), loose


def override(tree: Node, table: Group, environ: Mapping[str, str], problems: list[BadSetting]) -> None:
    """Put what variables say in its place in the tree. Those that stand for no field are mistakes; empty ones
    are none."""
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and environ[name]):
        parts = [part.strip("_") for part in variable.removeprefix(PREFIX).split("__")]
        node = Node(environ[variable], Origin(variable=variable), Origin(variable=variable), loose=True)
        problem = _put(tree, table, parts, node, "")
        if problem is not None:
            problems.append(problem)


def _put(tree: Node, group: Group, parts: list[str], node: Node, path: str) -> BadSetting | None:
    """Put a node where `parts` lead to from a group; the problem when they lead nowhere."""
    part, *rest = parts
    field = _called(part, group.fields)
    if field is None:
        words = [variable_part(field.name) for field in group.fields]
        meant = {variable_part(word): variable_part(name) for word, name in group.meant().items()}
        near = meant.get(nearest(part, meant) or "")
        hint = f"has no field {part}"
        if near is None:
            hint += f"; there are {', '.join(words)}"
        return node.origin.wrong(path, hint, near)
    below = join(path, field.name)
    if not rest:
        if not isinstance(field.shape, Group | ByName | InOrder):
            tree.value[field.name] = node
            return None
        return node.origin.wrong(below, "has fields of its own; name one of them behind two more underscores")
    inner = field.shape.group if isinstance(field.shape, Either) else field.shape
    if not isinstance(inner, Group | ByName | InOrder):
        return node.origin.wrong(below, "is a single value; nothing follows its name")
    child = tree.value.get(field.name)
    single = isinstance(field.shape, Either) and child is not None and not isinstance(child.value, dict)
    if child is None or child.value is None or single:
        empty: Any = () if isinstance(inner, InOrder) else {}
        child = tree.value[field.name] = Node(empty, node.origin, node.origin)
    return _put_into(child, inner, rest, node, below)


def _put_into(
    child: Node, shape: Group | ByName | InOrder, parts: list[str], node: Node, path: str
) -> BadSetting | None:
    """Put a node into what stands at `path` already. What has the wrong type there is reported by others."""
    if isinstance(shape, Group):
        return _put(child, shape, parts, node, path) if isinstance(child.value, dict) else None
    groups = _named(child, shape)
    part, *rest = parts
    found = {where: group for where, (name, group) in groups.items() if variable_part(name) == part}
    if len(found) != 1:
        names = [name for name, _ in groups.values()]
        if found:
            both = " and ".join(found)
            return node.origin.wrong(path, f"{part} stands for {both}; rename one of them")
        near = nearest(part, [variable_part(name) for name in names])
        known = f"; the file has {', '.join(names)}" if names and near is None else ""
        return node.origin.wrong(path, f"the file has none called {part}{known}", near)
    ((where, group),) = found.items()
    below = join(path, where) if isinstance(shape, ByName) else f"{path}{where}"
    if not rest:
        return node.origin.wrong(below, "has fields of its own; name one of them behind two more underscores")
    return _put(group, shape.each, rest, node, below) if isinstance(group.value, dict) else None


def _named(child: Node, shape: ByName | InOrder) -> dict[str, tuple[str, Node]]:
    """The groups below a node: the last part of each path, with its name and the group."""
    if isinstance(shape, ByName) and isinstance(child.value, dict):
        for name, group in child.value.items():
            if group.value is None:  # declared without options: it may get some here
                child.value[name] = msgspec.structs.replace(group, value={})
        return {name: (name, group) for name, group in child.value.items()}
    if isinstance(shape, InOrder) and isinstance(child.value, tuple):
        return {
            f"[{place}]": (group.value["name"].value, group)
            for place, group in enumerate(child.value)
            if isinstance(group.value, dict)
            and isinstance(getattr(group.value.get("name"), "value", None), str)
        }
    return {}


def _called(part: str, fields: Iterable[Field]) -> Field | None:
    return next((field for field in fields if variable_part(field.name) == part), None)
