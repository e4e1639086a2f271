"""From rows of panels to a dashboard: places on the grid, ids that stay, what every dashboard has."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from glassq.observe.catalogue import CATALOGUE
from glassq.observe.dashboards.links import TITLES, others
from glassq.observe.dashboards.schema import Dashboard, GridPos, Json, Panel, RowPanel, Variable

COLUMNS = 24
"""What Grafana divides the width into."""

Line = tuple[Panel, ...]
"""Panels side by side; they share the width and are as high as the highest of them."""

_ANNOTATIONS: Json = {
    "list": [
        {
            "builtIn": 1,
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": True,
            "hide": True,
            "iconColor": "rgba(0, 211, 255, 1)",
            "name": "Annotations & Alerts",
            "type": "dashboard",
        }
    ]
}


class Row:
    """A heading and the lines of panels below it."""

    def __init__(self, title: str, *lines: Line) -> None:
        self.title = title
        self.lines = lines


def dashboard(uid: str, description: str, *, variables: Sequence[Variable], rows: Sequence[Row]) -> Dashboard:
    """The file of a dashboard. Panels about metrics that have no series yet are left out: an empty panel says
    that nothing happens, which nobody knows."""
    return Dashboard(
        uid=uid,
        title=TITLES[uid],
        description=description,
        links=others(uid),
        annotations=_ANNOTATIONS,
        templating={"list": list(variables)},
        panels=tuple(_placed(rows)),
    )


def _placed(rows: Sequence[Row]) -> Iterator[Panel | RowPanel]:
    y = 0
    for row in rows:
        yield RowPanel(id=_id_of(row.title), title=row.title, grid_pos=GridPos(h=1, w=COLUMNS, y=y))
        y += 1
        for line in row.lines:
            panels = [panel for panel in line if not _planned(panel)]
            height = max((panel.grid_pos.h for panel in panels), default=0)
            for number, panel in enumerate(panels):
                left, right = (COLUMNS * edge // len(panels) for edge in (number, number + 1))
                place = GridPos(h=height, w=right - left, x=left, y=y)
                yield replace(panel, id=_id_of(panel.title), grid_pos=place)
            y += height


def _planned(panel: Panel) -> bool:
    names = [spec.name for spec in CATALOGUE if spec.planned]
    return any(name in target.expr for name in names for target in panel.targets)


def _id_of(title: str) -> int:
    """A panel keeps its id when others are added or moved, so that links to it go on working."""
    return zlib.crc32(title.encode()) % 1_000_000 + 1
