"""From the dashboards to the files that Grafana reads."""

from __future__ import annotations

import msgspec

from glassq.observe.dashboards.overview import OVERVIEW
from glassq.observe.dashboards.queue import QUEUE_DASHBOARD
from glassq.observe.dashboards.slo import SLO
from glassq.observe.dashboards.storage import STORAGE
from glassq.observe.dashboards.workers import WORKERS

DASHBOARDS = (OVERVIEW, QUEUE_DASHBOARD, WORKERS, STORAGE, SLO)
"""In the order in which they are looked at."""


def dashboard_files() -> dict[str, bytes]:
    """Each dashboard's file by its name; the same every time, so that version control shows what changed."""
    return {f"{each.uid}.json": _file(msgspec.json.encode(each)) for each in DASHBOARDS}


def _file(compact: bytes) -> bytes:
    return msgspec.json.format(compact, indent=2) + b"\n"
