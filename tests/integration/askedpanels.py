"""The questions of the dashboards' panels, put to a real Prometheus as Grafana would put them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from glassq.observe.dashboards.rendering import dashboard_files

CHOSEN: Mapping[str, str] = {
    "job": ".+",
    "instance": ".+",
    "queue": ".+",
    "__rate_interval": "10s",
    "__range": "60s",
}
"""What the reader chose, and what Grafana fills in."""


class Question(msgspec.Struct, frozen=True):
    """One query of one panel, ready to be asked."""

    dashboard: str
    panel: str
    ref: str
    expr: str
    legend: str
    exemplar: bool
    instant: bool

    def __str__(self) -> str:
        return f"{self.dashboard}, {self.panel!r}, {self.ref}: {self.expr}"


def filled_in(text: str, chosen: Mapping[str, str]) -> str:
    """With the variables replaced."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: chosen[found[1]], text)


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel, with the uid of its dashboard."""
    for file in dashboard_files().values():
        board = json.loads(file)
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield board["uid"], panel


def questions(**chosen: str) -> Iterator[Question]:
    """All of them, with these choices."""
    for uid, panel in panels():
        for target in panel["targets"]:
            yield Question(
                dashboard=uid,
                panel=panel["title"],
                ref=target["refId"],
                expr=filled_in(target["expr"], {**CHOSEN, **chosen}),
                legend=target["legendFormat"],
                exemplar=target["exemplar"],
                instant=target["instant"],
            )
