"""Where a reader goes from here: another dashboard, the traces, the page that says what to do."""

from __future__ import annotations

import json
from urllib.parse import quote

from glassq.observe.dashboards.schema import Json, Link

TITLES = {
    "glassq-overview": "glassq / Overview",
    "glassq-queue": "glassq / Queue",
    "glassq-workers": "glassq / Workers",
    "glassq-storage": "glassq / Storage",
    "glassq-slo": "glassq / SLO",
}
"""Every dashboard by its uid. Uids never change: alerts, runbooks and bookmarks lead to them."""

RUNBOOKS = "${docs}/runbooks"
"""Where the documentation is, the reader says: it belongs to the version that runs there."""

_CHOSEN = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"


def others(uid: str) -> tuple[Link, ...]:
    """Links to all dashboards but this one, which keep the time and what was chosen."""
    return tuple(
        Link(
            title=title.removeprefix("glassq / "),
            url=f"/d/{other}",
            tooltip=f"Open {title} with the same time and choices",
            icon="dashboard",
            include_vars=True,
            keep_time=True,
        )
        for other, title in TITLES.items()
        if other != uid
    )


def runbook(alert: str) -> Link:
    """The page about the alert that watches what a panel shows."""
    return Link(
        title=f"Runbook: {alert}",
        url=f"{RUNBOOKS}/{alert}.md",
        tooltip="What it means, the first command, how it ends",
        icon="doc",
        target_blank=True,
    )


def queue_of(field: str) -> Json:
    """From a value to the dashboard of its queue; `field` is the template that yields the queue's name."""
    return {"title": "This queue in detail", "url": f"/d/glassq-queue?var-queue=${{{field}}}&{_CHOSEN}"}


def traces() -> Json:
    """From a value to the traces of its queue in the time shown: Grafana's Explore on the Jaeger data source.

    A single job's trace is opened by the exemplar beside the curve; this is for all of them.
    """
    search = {
        "refId": "A",
        "queryType": "search",
        "service": "${service}",
        "operation": "process ${queue}",
        "limit": 50,
    }
    pane = {
        "datasource": "${traces}",
        "queries": [search],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    # Grafana replaces `${...}` in the link before the browser sees it, so these stay as they are.
    panes = quote(json.dumps({"traces": pane}, separators=(",", ":")), safe="${}[]:,_-")
    return {"title": "Traces of this queue", "url": f"/explore?schemaVersion=1&orgId=1&panes={panes}"}
