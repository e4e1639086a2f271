"""Tables: a line for each queue or process, a column for each question about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import msgspec

from glassq.observe.dashboards.colours import PLAIN
from glassq.observe.dashboards.looks import Verdict, named, told
from glassq.observe.dashboards.schema import (
    FieldConfig,
    FieldDefaults,
    GridPos,
    Json,
    Override,
    Panel,
    Target,
    Thresholds,
)

_BY_THRESHOLD: Json = {"mode": "thresholds"}


class Column(msgspec.Struct, frozen=True):
    """A column of a table: its heading, what is in it, and how good which values are."""

    heading: str
    expr: str
    unit: str
    thresholds: Thresholds | None = None
    verdicts: tuple[Verdict, ...] = ()
    width: int | None = None


def table(
    title: str,
    description: str,
    *columns: Column,
    of: Mapping[str, str],
    height: int = 9,
    unit: str = "short",
    sort: str | None = None,
    links: Sequence[Json] = (),
) -> Panel:
    """A line for each combination of the labels `of` (label -> heading), with the latest value of each
    column; the first heading carries the links."""
    keys = tuple(
        named(heading, links=list(links) if first else [], **{"custom.minWidth": 120})
        for first, heading in zip((True, *(False for _ in of)), of.values(), strict=False)
    )
    return Panel(
        type="table",
        title=title,
        description=description,
        grid_pos=GridPos(h=height),
        targets=tuple(
            Target(
                ref_id=ref,
                expr=each.expr,
                legend_format="__auto",
                format="table",
                instant=True,
                range=False,
            )
            for ref, each in zip(ascii_uppercase, columns, strict=False)
        ),
        transformations=_one_line_each(of, columns),
        field_config=FieldConfig(
            defaults=FieldDefaults(
                unit=unit,
                color=_BY_THRESHOLD,
                custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
                no_value="-",
                thresholds=PLAIN,
            ),
            overrides=(*keys, *(_column(each) for each in columns)),
        ),
        options={
            "cellHeight": "md",
            "frameIndex": 0,
            "showHeader": True,
            "sortBy": [{"displayName": sort, "desc": True}] if sort else [],
        },
    )


def _one_line_each(of: Mapping[str, str], columns: Sequence[Column]) -> tuple[Json, ...]:
    """Puts the answers of all queries about the same labels into one line, under their headings."""
    headings = {f"Value #{ref}": each.heading for ref, each in zip(ascii_uppercase, columns, strict=False)}
    if len(columns) == 1:
        headings = {"Value": columns[0].heading}  # Grafana numbers values only where there are several
    return (
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {name: index for index, name in enumerate((*of, *headings))},
                "renameByName": {**of, **headings},
            },
        },
    )


def _column(column: Column) -> Override:
    looks: dict[str, Any] = {"unit": column.unit}
    if column.thresholds is not None:
        looks["thresholds"] = msgspec.to_builtins(column.thresholds)
        looks["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
    if column.verdicts:
        looks["mappings"] = [told(column.verdicts)]
        looks["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
    if column.width is not None:
        looks["custom.width"] = column.width
    return named(column.heading, **looks)
