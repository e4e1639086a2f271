"""What the table of fields is made of: a field, and the ways in which fields are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from glassq.config.kinds import Kind


def _anything(_option: str, _value: Any) -> None:
    """No check but that of the kind."""


def _together(_values: Mapping[str, Any]) -> None:
    """No check but those of the fields."""


class Field(msgspec.Struct, frozen=True):
    """One row of the table.

    `check(name, value)` is that of the option the field becomes; it raises `BadOption`. `default` is what
    holds without the field, as the reference and `config show` say it. `also` are words that people bring
    from elsewhere, which are no fields but lead to this one. What may hold a secret has `masked`, which
    says how it is shown.
    """

    name: str
    shape: Shape
    meaning: str
    default: Any = None
    check: Callable[[str, Any], object] = _anything
    also: tuple[str, ...] = ()
    masked: Callable[[str], str] | None = None
    required: bool = False


class Group(msgspec.Struct, frozen=True):
    """A mapping with known fields. `check` is that of the record of options they become together: where it
    raises `BadOption`, the option that the error names is the field that is wrong."""

    fields: tuple[Field, ...]
    check: Callable[[Mapping[str, Any]], object] = _together

    def meant(self) -> dict[str, str]:
        """Every word that leads to a field, and that field's name."""
        return {word: field.name for field in self.fields for word in (field.name, *field.also)}


class ByName(msgspec.Struct, frozen=True):
    """A mapping from names of the user's to groups of the same fields."""

    each: Group
    check: Callable[[str, str], object] = _anything


class InOrder(msgspec.Struct, frozen=True):
    """A list of groups of the same fields, told apart by their field `name`."""

    each: Group


class Several(msgspec.Struct, frozen=True):
    """A list of values of one kind; in a variable of the environment, words with commas between them."""

    each: Kind
    check: Callable[[str, Any], object] = _anything


class Either(msgspec.Struct, frozen=True):
    """A single value, or a mapping with fields."""

    single: Kind
    group: Group


Shape = Kind | Group | ByName | InOrder | Several | Either
