"""What is in force, field by field, and where it comes from. No secret gets in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from glassq.config.configuration import ALL_QUEUES, Configuration
from glassq.config.fields import CONFIGURATION
from glassq.config.shapes import ByName, Either, Field, Group, InOrder
from glassq.config.tree import join


class Setting(msgspec.Struct, frozen=True):
    """One field: its whole path, its value (None: there is none) and where that comes from."""

    path: str
    value: Any
    origin: str


def effective(configuration: Configuration) -> Iterator[Setting]:
    """Every field, in the order of the table; groups by their fields. A group that was left out is not there
    where it would have no defaults in force, such as `http`."""
    settings = {"workers": [ALL_QUEUES], **configuration.to_dict()}
    yield from _group(configuration, settings, CONFIGURATION, "")


def _group(
    configuration: Configuration, settings: Mapping[str, Any], group: Group, path: str
) -> Iterator[Setting]:
    for field in group.fields:
        below = join(path, field.name)
        yield from _field(configuration, settings.get(field.name), field, below)


def _field(configuration: Configuration, value: Any, field: Field, path: str) -> Iterator[Setting]:
    shape = field.shape
    if isinstance(shape, ByName):
        for name, each in (value or {}).items():
            yield from _group(configuration, each, shape.each, join(path, name))
    elif isinstance(shape, InOrder):
        for place, each in enumerate(value or ()):
            yield from _group(configuration, each, shape.each, f"{path}[{place}]")
    elif isinstance(shape, Group):
        if value is not None or not any(each.required for each in shape.fields):
            yield from _group(configuration, value or {}, shape, path)
    elif isinstance(shape, Either) and isinstance(value, dict):
        yield from _group(configuration, value, shape.group, path)
    elif value is None:
        yield Setting(path, field.default, "default")
    else:
        shown = field.masked(value) if field.masked else value
        yield Setting(path, shown, str(configuration.origin(path) or "default"))
