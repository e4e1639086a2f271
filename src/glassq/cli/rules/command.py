"""`glassq rules`: recording and alert rules for Prometheus, ready to be used."""

from __future__ import annotations

from pathlib import Path

import click

from glassq.cli import exporting
from glassq.cli.groups import Commands


def rule_files() -> exporting.Files:
    """Everything `glassq rules export` writes."""
    return exporting.packaged("glassq.cli.rules")


@click.group(cls=Commands, short_help="Alert rules for Prometheus: export.")
def rules() -> None:
    """Recording and alert rules for Prometheus, with their tests and an Alertmanager configuration.

    \b
    Examples:
      glassq rules export monitoring
    """


@rules.command(short_help="Write the rules, their tests and examples of their use.")
@exporting.destination
@exporting.force
def export(directory: Path, force: bool) -> int:
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
      glassq rules export --force monitoring       after an upgrade

    Exit codes: 0 written, 1 nothing written because a file there differs, or it cannot be written,
    2 wrong usage.
    """
    return exporting.export(rule_files(), directory, force=force)
