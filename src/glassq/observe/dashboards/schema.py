"""The part of Grafana's dashboard format that is used here. Field names are Grafana's, in Python's spelling.

What is `UNSET` is left out of the file, so that Grafana's own defaults hold.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

SCHEMA_VERSION = 42
"""Of Grafana 12; older files are migrated when they are loaded."""

Json = dict[str, Any]


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something in a dashboard's file."""


class DataSource(Shape, frozen=True, kw_only=True):
    """Where queries go."""

    type: str
    uid: str


PROMETHEUS = DataSource(type="prometheus", uid="${datasource}")
"""The data source the reader chose: no dashboard names one, so none has to be edited to be used."""


class GridPos(Shape, frozen=True, kw_only=True):
    """A place on the grid of 24 columns."""

    h: int
    w: int = 0
    x: int = 0
    y: int = 0


class Target(Shape, frozen=True, kw_only=True):
    """One query of a panel."""

    ref_id: str
    expr: str
    legend_format: str
    format: Literal["time_series", "table", "heatmap"] = "time_series"
    instant: bool
    range: bool
    exemplar: bool = False
    editor_mode: str = "code"
    datasource: DataSource = PROMETHEUS


class Threshold(Shape, frozen=True, kw_only=True):
    """From this value on (None: from the beginning) a figure has this colour."""

    color: str
    value: float | None


class Thresholds(Shape, frozen=True, kw_only=True):
    """Colours by value."""

    mode: Literal["absolute", "percentage"] = "absolute"
    steps: tuple[Threshold, ...]


class FieldDefaults(Shape, frozen=True, kw_only=True):
    """How a panel's values look."""

    unit: str
    color: Json
    custom: Json | UnsetType = UNSET
    decimals: int | UnsetType = UNSET
    links: tuple[Json, ...] | UnsetType = UNSET
    mappings: tuple[Json, ...] = ()
    max: float | UnsetType = UNSET
    min: float | UnsetType = UNSET
    no_value: str | UnsetType = UNSET
    thresholds: Thresholds


class Override(Shape, frozen=True, kw_only=True):
    """What is different for some series or columns."""

    matcher: Json
    properties: tuple[Json, ...]


class FieldConfig(Shape, frozen=True, kw_only=True):
    """How a panel's values look, and the exceptions."""

    defaults: FieldDefaults
    overrides: tuple[Override, ...] = ()


class Link(Shape, frozen=True, kw_only=True):
    """A link of a dashboard or in a panel's corner."""

    title: str
    url: str
    tooltip: str
    icon: str = "external link"
    type: Literal["link", "dashboards"] = "link"
    tags: tuple[str, ...] = ()
    as_dropdown: bool = False
    include_vars: bool = False
    keep_time: bool = False
    target_blank: bool = False


class Panel(Shape, frozen=True, kw_only=True):
    """One picture. Its place and its id are given when its dashboard is put together."""

    id: int = 0
    type: str
    title: str
    description: str
    grid_pos: GridPos
    datasource: DataSource = PROMETHEUS
    targets: tuple[Target, ...]
    field_config: FieldConfig
    options: Json
    transformations: tuple[Json, ...] | UnsetType = UNSET
    links: tuple[Link, ...] | UnsetType = UNSET


class RowPanel(Shape, frozen=True, kw_only=True):
    """A heading across the whole width; the panels below it follow it in the file."""

    id: int
    type: Literal["row"] = "row"
    title: str
    collapsed: bool = False
    grid_pos: GridPos
    panels: tuple[Panel, ...] = ()


class Variable(Shape, frozen=True, kw_only=True):
    """What the reader may choose at the top."""

    name: str
    label: str
    description: str
    type: Literal["datasource", "query", "textbox"]
    query: str | Json
    current: Json | UnsetType = UNSET
    datasource: DataSource | UnsetType = UNSET
    hide: int = 0
    all_value: str | UnsetType = UNSET
    include_all: bool = False
    multi: bool = False
    options: tuple[Json, ...] = ()
    refresh: int = 1
    regex: str = ""
    sort: int = 1


class Dashboard(Shape, frozen=True, kw_only=True):
    """A whole file."""

    uid: str
    title: str
    description: str
    id: None = None
    schema_version: int = SCHEMA_VERSION
    version: int = 1
    editable: bool = False
    graph_tooltip: int = 1
    tags: tuple[str, ...] = ("glassq",)
    time: Json = msgspec.field(default_factory=lambda: {"from": "now-1h", "to": "now"})
    timezone: str = "browser"
    refresh: str = "10s"
    links: tuple[Link, ...]
    annotations: Json
    templating: Json
    panels: tuple[Panel | RowPanel, ...]
