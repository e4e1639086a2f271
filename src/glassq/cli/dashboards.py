"""`glassq dashboards`: the Grafana dashboards, ready to be used."""

from __future__ import annotations

from pathlib import Path

import click

from glassq.cli import exporting
from glassq.cli.groups import Commands


@click.group(cls=Commands, short_help="Grafana dashboards: export.")
def dashboards() -> None:
    """Dashboards for Grafana, over the metrics of glassq in a Prometheus.

    \b
    Examples:
      glassq dashboards export monitoring/dashboards
    """


@dashboards.command(short_help="Write the dashboards.")
@exporting.destination
@exporting.force
def export(directory: Path, force: bool) -> int:
    """Write a JSON file for each dashboard into DIR, as Grafana imports or provisions them.

    Nothing in them has to be edited: data source, jobs, instances and queues are chosen at the top. Their
    uids stay, so links and bookmarks go on working when a newer one replaces an older.

    \b
    Written:
      DIR/glassq-overview.json   every queue at a glance: what is blocked, why, since when
      DIR/glassq-queue.json      one queue in detail, with the traces of single jobs
      DIR/glassq-workers.json    the processes that run jobs, and their leases
      DIR/glassq-storage.json    the store: whether it answers, how fast, what it holds
      DIR/glassq-slo.json        budgets of errors, and the alerts; needs the recording rules

    \b
    Examples:
      glassq dashboards export monitoring/dashboards
      glassq dashboards export --force monitoring/dashboards       after an upgrade

    Exit codes: 0 written, 1 nothing written because a file there differs, or it cannot be written,
    2 wrong usage.
    """
    # Late: no other command should pay for making them.
    from glassq.observe.dashboards.rendering import dashboard_files

    return exporting.export(dashboard_files(), directory, force=force)
