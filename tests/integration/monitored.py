"""A real Prometheus with the rules that come with glassq, and what it knows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from glassq.cli.rules.command import rule_files
from tests.conformance.redisservers import free_port
from tests.processes import wait_until
from tests.rules import RULES_FILE

HASTE = 20
"""So many times sooner than in production an alert is raised: its `for` is divided by this."""
STALE_SECONDS = 10
"""Instead of 60: workers give a sign of life every few seconds."""


def hurried_rules() -> dict[str, Any]:
    """The rules that are exported, but for the time they wait: nobody wants to wait as long in a test."""
    rules: dict[str, Any] = yaml.safe_load(rule_files()[RULES_FILE])
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = f"{1000 * seconds(rule['for']) // HASTE}ms"
            if rule.get("alert") == "WorkerStale":
                rule["expr"] = rule["expr"].replace("> 60", f"> {STALE_SECONDS}")
    return rules


def seconds(duration: str) -> int:
    """Of a duration as the rules write it: 30m, 1h."""
    number, unit = re.fullmatch(r"(\d+)([smhd])", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


class Prometheus:
    """Questions to a Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: object) -> Any:
        """The data of an answer of its API. What it refuses fails the test, with what it says about it."""
        url = f"{self.url}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.loads(response.read())["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def series(self, expression: str) -> list[dict[str, Any]]:
        """What an expression yields now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def over_time(self, expression: str, seconds: float, step: float = 1) -> list[dict[str, Any]]:
        """What an expression yielded in the last seconds."""
        end = time.time()
        answer = self.ask("query_range", query=expression, start=end - seconds, end=end, step=step)
        found: list[dict[str, Any]] = answer["result"]
        return found

    def exemplars(self, expression: str, seconds: float) -> list[dict[str, Any]]:
        """The exemplars of the last seconds that lie on the series of an expression."""
        end = time.time()
        found = self.ask("query_exemplars", query=expression, start=end - seconds, end=end)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with how its last evaluation went."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def firing(self, alert: str) -> list[Mapping[str, str]]:
        """The labels of an alert's instances that fire."""
        return [
            each["labels"]
            for each in self.ask("alerts")["alerts"]
            if each["state"] == "firing" and each["labels"]["alertname"] == alert
        ]

    def wait_for_alert(self, alert: str, within: float, **labels: str) -> None:
        """Until it fires with these labels, among others."""
        self.wait_until(
            lambda: any(labels.items() <= each.items() for each in self.firing(alert)),
            f"{alert} to fire",
            lambda: self.ask("alerts"),
            within,
        )

    def wait_until(
        self,
        condition: Callable[[], object],
        what: str,
        evidence: Callable[[], object],
        within: float = 60,
    ) -> None:
        """Until something is so here; it changes once a second at most, and asking costs something."""
        wait_until(condition, what, evidence, within, every=0.2)

    def ready(self) -> bool:
        """Whether it takes questions."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=10):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False


@contextmanager
def scraping(folder: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """A Prometheus that scrapes these addresses every second, by the example that is exported."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus on the PATH (Debian, Ubuntu: apt install prometheus)")
    config = yaml.safe_load(rule_files()["prometheus/prometheus.yml"])
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": list(targets)}]
    del config["alerting"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "glassq-rules.yml").write_text(yaml.safe_dump(hurried_rules()))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as child:
        try:
            prometheus = Prometheus(f"http://{address}")
            wait_until(prometheus.ready, "Prometheus", log.read_text)
            yield prometheus
        finally:
            child.kill()
