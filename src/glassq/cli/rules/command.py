"""`glassq rules`: recording and alert rules for Prometheus, ready to be used."""

from __future__ import annotations

import re
from pathlib import Path

import click

from glassq.cli import exporting
from glassq.cli.groups import Commands

GRAFANA = "http://localhost:3000"
DOCS = "http://localhost:8000"
"""Where the links of the alerts lead as the files are: into the stack of docker-compose.yml."""


def rule_files(grafana: str = GRAFANA, docs: str = DOCS) -> exporting.Files:
    """Everything `glassq rules export` writes, with links to this Grafana and to the docs served there."""
    return {
        path: content.replace(GRAFANA.encode(), grafana.encode()).replace(DOCS.encode(), docs.encode())
        for path, content in exporting.packaged("glassq.cli.rules").items()
    }


def _checked(context: click.Context, option: click.Parameter, url: str) -> str:  # noqa: ARG001 - click's signature
    """An address that can stand in a link in YAML, and have a path put behind it."""
    if not re.fullmatch(r"https?://[\w.:/~%\[\]-]+", url):
        raise click.BadParameter(f"expected an address such as https://grafana.example.org, got {url!r}")
    return url.rstrip("/")


@click.group(cls=Commands, short_help="Alert rules for Prometheus: export.")
def rules() -> None:
    """Recording and alert rules for Prometheus, with their tests and an Alertmanager configuration.

    \b
    Examples:
      glassq rules export monitoring
    """


@rules.command(short_help="Write the rules, their tests and examples of their use.")
@exporting.destination
@click.option(
    "--grafana",
    metavar="URL",
    default=GRAFANA,
    show_default=True,
    callback=_checked,
    help="The Grafana that the alerts' links to dashboards lead to.",
)
@click.option(
    "--docs",
    metavar="URL",
    default=DOCS,
    show_default=True,
    callback=_checked,
    help="Where the folder docs of glassq is served; the links to runbooks lead there.",
)
@exporting.force
def export(directory: Path, grafana: str, docs: str, force: bool) -> int:
    """Write the rules below DIR, with their tests and examples of how Prometheus and Alertmanager use them.

    \b
    Written:
      DIR/prometheus/glassq-rules.yml       recording and alert rules; there are no thresholds to edit
      DIR/prometheus/glassq-rules.test.yml  their tests, for `promtool test rules`
      DIR/prometheus/prometheus.yml         an example: scrape, rules, exemplars
      DIR/alertmanager.yml                  an example: routes, and which alert mutes which

    \b
    Examples:
      glassq rules export monitoring
      promtool test rules monitoring/prometheus/glassq-rules.test.yml
      glassq rules export monitoring --grafana https://grafana.example.org
      glassq rules export --force monitoring       after an upgrade

    Exit codes: 0 written, 1 nothing written because a file there differs, or it cannot be written,
    2 wrong usage.
    """
    return exporting.export(rule_files(grafana, docs), directory, force=force)
