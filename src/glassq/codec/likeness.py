"""Whether a value that went through JSON is still the value that was given."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from typing import Any

import msgspec


def same(given: Any, back: Any) -> bool:
    """Equality, with a comparison that raises taken as "no"."""
    try:
        return bool(given == back)
    except Exception:  # licensed: around user code (`__eq__` of an argument)
        return False


def difference(given: Any, back: Any, place: str) -> str | None:
    """What would be lost, in words that name the place but never show a value; None when nothing is.

    A tuple may come back as a list. Objects that cannot be compared (by identity alone, or unequal to
    themselves) pass when their fields do.
    """
    if same(given, back):
        return None
    if type(given) in (list, tuple) and type(back) in (list, tuple):
        return _items_difference(given, back, place)
    if isinstance(given, dict) and isinstance(back, dict):
        return _entries_difference(given, back, place)
    if type(given) is not type(back):
        return f"{place} was given {_kind(given)} and would arrive as {_kind(back)}"
    if names := _field_names(given):
        fields = ((getattr(given, name), getattr(back, name), f"{place}.{name}") for name in names)
        return next(filter(None, (difference(*each) for each in fields)), None)
    changed = f"{place} was given {_kind(given)} that would arrive with another value"
    return None if _beyond_equality(given, back) else changed


def _beyond_equality(given: Any, back: Any) -> bool:
    """Whether two unequal values of one type count as the same, because `==` has nothing to say here."""
    if isinstance(given, datetime) and isinstance(back, datetime) and given.tzinfo and back.tzinfo:
        # A local time that occurs twice, when summer ends, never equals a time of another zone.
        return given.astimezone(UTC) == back.astimezone(UTC)
    equality: object = type(given).__eq__
    return equality is object.__eq__ or not same(given, given)


def _items_difference(given: Any, back: Any, place: str) -> str | None:
    if len(given) != len(back):
        return f"{place} would arrive with {len(back)} items instead of {len(given)}"
    pairs = enumerate(zip(given, back, strict=True))
    return next(filter(None, (difference(a, b, f"{place}[{index}]") for index, (a, b) in pairs)), None)


def _entries_difference(given: dict[Any, Any], back: dict[Any, Any], place: str) -> str | None:
    if given.keys() != back.keys():
        kinds = sorted({_kind(key) for key in given.keys() - back.keys()})
        return f"{place} would arrive with other keys (some are {', '.join(kinds) or 'missing'})"
    return next(filter(None, (difference(given[k], back[k], f"{place}[{k!r}]") for k in given)), None)


def _field_names(value: Any) -> tuple[str, ...]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value):
        return tuple(each.name for each in dataclasses.fields(value))
    return ()


def _kind(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "a float that is not finite"
    return type(value).__qualname__
