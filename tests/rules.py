"""The rules and their tests as data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from glassq.cli.rules.command import rule_files
from tests.promql import selectors

RULES_FILE = "prometheus/glassq-rules.yml"
TESTS_FILE = "prometheus/glassq-rules.test.yml"


class Rule(msgspec.Struct, frozen=True, rename={"waits": "for"}):
    """One recording or alert rule."""

    expr: str
    record: str = ""
    alert: str = ""
    waits: str = "0s"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class Case(msgspec.Struct, frozen=True):
    """One test of an alert: its name, the metrics of its series, and the labels of what must fire, if not at
    once."""

    name: str
    alert: str
    metrics: frozenset[str]
    fires: Sequence[Mapping[str, str]]
    waits: bool


def _read(path: str) -> Any:
    return yaml.safe_load(rule_files()[path])


RULES: tuple[Rule, ...] = tuple(
    msgspec.convert(rule, Rule) for group in _read(RULES_FILE)["groups"] for rule in group["rules"]
)
ALERTS = tuple(rule for rule in RULES if rule.alert)
RECORDED: Mapping[str, Rule] = {rule.record: rule for rule in RULES if rule.record}


def _cases() -> Iterator[Case]:
    for group in _read(TESTS_FILE)["tests"]:
        if looks := group.get("alert_rule_test"):
            (alert,) = {look["alertname"] for look in looks}
            yield Case(
                name=group["name"],
                alert=alert,
                metrics=frozenset(each["series"].partition("{")[0] for each in group["input_series"]),
                fires=[each["exp_labels"] for each in looks[-1]["exp_alerts"]],
                waits=len(looks) > 1 and not looks[0]["exp_alerts"],
            )


CASES: tuple[Case, ...] = tuple(_cases())
"""Every test of an alert in the file of tests."""


def metrics_of(expression: str) -> set[str]:
    """The series an expression is made of in the end: recorded ones stand for what they are recorded from."""
    found: set[str] = set()
    for selector in selectors(expression):
        found |= metrics_of(RECORDED[selector.name].expr) if selector.recorded else {selector.name}
    return found | set(re.findall(r"\bup\b", expression))
