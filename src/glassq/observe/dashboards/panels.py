"""The kinds of panels that are used, each with the looks it has on every dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from glassq.observe.dashboards.colours import PLAIN
from glassq.observe.dashboards.links import runbook as runbook_of
from glassq.observe.dashboards.looks import Verdict, fixed, named, told
from glassq.observe.dashboards.queries import Query
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

_PALETTE: Json = {"mode": "palette-classic-by-name"}
_BY_THRESHOLD: Json = {"mode": "thresholds"}
NO_COLOURS: Mapping[str, str] = {}
"""Grafana chooses: the same name has the same colour on every panel."""
_LIMIT = "objective"
"""Series whose name begins so are what was promised: drawn as a red, dashed line."""


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    height: int = 8,
    stacked: bool = False,
    bars: bool = False,
    log: bool = False,
    colours: Mapping[str, str] = NO_COLOURS,
    links: Sequence[Json] = (),
    runbook: str | None = None,
) -> Panel:
    """Curves over time. `stacked` fills what is between them; `bars` is for events that are counted;
    `log` for times, of which the short ones matter as much as the long."""
    custom: Json = {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear" if stacked or bars else "smooth",
        "lineWidth": 1,
        "fillOpacity": 80 if bars else 45 if stacked else 12,
        "gradientMode": "none" if stacked or bars else "opacity",
        "showPoints": "never",
        "spanNulls": False,
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
        "stacking": {"mode": "normal" if stacked or bars else "none", "group": "A"},
    }
    defaults = FieldDefaults(
        unit=unit,
        color=_PALETTE,
        custom=custom,
        min=UNSET if log else 0,
        links=tuple(links) or UNSET,
        thresholds=PLAIN,
    )
    painted = tuple(
        named(query.legend, color=fixed(colours[query.legend]))
        for query in queries
        if query.legend in colours
    )
    return Panel(
        type="timeseries",
        title=title,
        description=description,
        grid_pos=GridPos(h=height),
        targets=_over_time(queries),
        field_config=FieldConfig(defaults=defaults, overrides=(*painted, _limit())),
        options={
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": [],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        links=_corner(runbook),
    )


def stat(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    thresholds: Thresholds = PLAIN,
    height: int = 4,
    texts: Mapping[str, str] | None = None,
    none: str | UnsetType = UNSET,
    decimals: int | UnsetType = UNSET,
    links: Sequence[Json] = (),
    runbook: str | None = None,
) -> Panel:
    """One figure, coloured by how good it is. `texts` replaces values, `none` stands where there is none."""
    mappings: tuple[Json, ...] = ()
    if texts:
        mappings = ({"type": "value", "options": {each: {"text": said} for each, said in texts.items()}},)
    return Panel(
        type="stat",
        title=title,
        description=description,
        grid_pos=GridPos(h=height),
        targets=_over_time([query]),
        field_config=FieldConfig(
            defaults=FieldDefaults(
                unit=unit,
                color=_BY_THRESHOLD,
                thresholds=thresholds,
                no_value=none,
                decimals=decimals,
                mappings=mappings,
                links=tuple(links) or UNSET,
            )
        ),
        options={
            "colorMode": "background_solid" if thresholds is not PLAIN else "value",
            "graphMode": "none" if texts else "area",
            "justifyMode": "center",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "auto",
            "wideLayout": True,
        },
        links=_corner(runbook),
    )


def heatmap(
    title: str, description: str, query: Query, *, unit: str, height: int = 9, links: Sequence[Json] = ()
) -> Panel:
    """How often each range of a histogram was hit, over time; exemplars lie on it as points."""
    return Panel(
        type="heatmap",
        title=title,
        description=description,
        grid_pos=GridPos(h=height),
        targets=tuple(
            msgspec.structs.replace(target, format="heatmap") for target in _over_time([query], "{{le}}")
        ),
        field_config=FieldConfig(
            defaults=FieldDefaults(
                unit="short", color=_BY_THRESHOLD, thresholds=PLAIN, links=tuple(links) or UNSET
            )
        ),
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Turbo",
                "exponent": 0.5,
                "fill": "dark-orange",
                "reverse": False,
                "scale": "exponential",
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,255,255,0.9)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
        },
    )


def timeline(
    title: str,
    description: str,
    query: Query,
    *,
    verdicts: Sequence[Verdict],
    height: int = 6,
    links: Sequence[Json] = (),
    runbook: str | None = None,
) -> Panel:
    """A band per series whose colour says what was the matter, from when until when."""
    return Panel(
        type="state-timeline",
        title=title,
        description=description,
        grid_pos=GridPos(h=height),
        targets=_over_time([query]),
        field_config=FieldConfig(
            defaults=FieldDefaults(
                unit="none",
                color=_BY_THRESHOLD,
                custom={"fillOpacity": 80, "lineWidth": 0},
                mappings=(told(verdicts),),
                links=tuple(links) or UNSET,
                thresholds=PLAIN,
            )
        ),
        options={
            "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "mergeValues": True,
            "rowHeight": 0.85,
            "showValue": "auto",
            "tooltip": {"mode": "single", "sort": "none"},
        },
        links=_corner(runbook),
    )


def _over_time(queries: Sequence[Query], legend: str | None = None) -> tuple[Target, ...]:
    return tuple(
        Target(
            ref_id=ref,
            expr=query.expr,
            legend_format=legend or query.legend or "__auto",
            instant=False,
            range=True,
            exemplar=query.exemplar,
        )
        for ref, query in zip(ascii_uppercase, queries, strict=False)
    )


def _limit() -> Override:
    """A promise is a line one must not cross, not one more measurement."""
    looks: dict[str, Any] = {
        "color": fixed("red"),
        "custom.lineStyle": {"fill": "dash", "dash": [10, 10]},
        "custom.fillOpacity": 0,
        "custom.lineWidth": 2,
        "custom.stacking": {"mode": "none", "group": "A"},
    }
    return Override(
        matcher={"id": "byRegexp", "options": f"/^{_LIMIT}/"},
        properties=tuple({"id": key, "value": value} for key, value in looks.items()),
    )


def _corner(alert: str | None) -> Any:
    return UNSET if alert is None else (runbook_of(alert),)
