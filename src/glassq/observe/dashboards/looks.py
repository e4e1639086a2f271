"""How single series, columns and values look: exceptions by name, words for numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from glassq.observe.dashboards.schema import Json, Override


class Verdict(msgspec.Struct, frozen=True):
    """What a number stands for, in words and colour."""

    value: int
    text: str
    colour: str


def told(verdicts: Sequence[Verdict]) -> Json:
    """Shows each verdict's words and colour in place of its number."""
    return {
        "type": "value",
        "options": {
            str(each.value): {"text": each.text, "color": each.colour, "index": index}
            for index, each in enumerate(verdicts)
        },
    }


def named(name: str, **properties: Any) -> Override:
    """What is different for the series or column of this name."""
    return Override(
        matcher={"id": "byName", "options": name},
        properties=tuple({"id": key, "value": value} for key, value in properties.items()),
    )


def fixed(colour: str) -> Json:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": colour}
