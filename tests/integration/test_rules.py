"""Prometheus and Alertmanager themselves say that the rules and examples are right."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import pytest
import yaml

from glassq.cli import main
from tests.processes import wait_until
from tests.rules import ALERTS, RULES

PACKAGES = {
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "alertmanager": "prometheus-alertmanager",
}


def installed(*names: str) -> str:
    """The first of these programs that is on the PATH; skips where none is."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"no {names[-1]} on the PATH (Debian, Ubuntu: apt install {PACKAGES[names[-1]]})")


def said(*command: str, expect: int = 0) -> str:
    """What a tool prints, after it ended as expected."""
    result = subprocess.run(command, stdout=PIPE, stderr=STDOUT, text=True, timeout=250, check=False)
    assert result.returncode == expect, result.stdout
    return result.stdout


@pytest.fixture
def monitoring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """What a user has after `glassq rules export`."""
    assert main(["rules", "export", str(tmp_path / "monitoring")]) == 0
    capsys.readouterr()
    return tmp_path / "monitoring"


# -- Prometheus ------------------------------------------------------------------------------------


def test_the_rules_are_valid_and_nothing_in_them_is_doubtful(monitoring: Path) -> None:
    """`promtool check rules`, where a doubt is an error, sees every rule there is."""
    promtool = installed("promtool")
    report = said(promtool, "check", "rules", "--lint-fatal", f"{monitoring}/prometheus/glassq-rules.yml")
    assert f"SUCCESS: {len(RULES)} rules found" in report


def test_the_check_finds_a_rule_that_stands_twice(monitoring: Path) -> None:
    """The check above can fail."""
    promtool = installed("promtool")
    path = monitoring / "prometheus" / "glassq-rules.yml"
    rules = yaml.safe_load(path.read_bytes())
    rules["groups"][0]["rules"] *= 2
    path.write_text(yaml.safe_dump(rules))
    assert "duplicate rule" in said(promtool, "check", "rules", "--lint-fatal", str(path), expect=3)


@pytest.mark.slow
@pytest.mark.timeout(300)  # hours of many series are evaluated, on a machine that may have more to do
def test_every_alert_fires_and_is_silent_as_its_tests_say(monitoring: Path) -> None:
    """`promtool test rules`: what fires, with which labels and texts, and what does not."""
    promtool = installed("promtool")
    assert "SUCCESS" in said(promtool, "test", "rules", f"{monitoring}/prometheus/glassq-rules.test.yml")


def test_the_test_of_an_alert_fails_without_its_rule(monitoring: Path) -> None:
    """The test above can fail: where the rule of an alert is missing, so is the alert."""
    promtool = installed("promtool")
    path, tests = (monitoring / "prometheus" / f"glassq-rules{end}.yml" for end in ("", ".test"))
    rules, cases = yaml.safe_load(path.read_bytes()), yaml.safe_load(tests.read_bytes())
    for group in rules["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") != "LaneHalted"]
    cases["tests"] = [case for case in cases["tests"] if case["name"].startswith("LaneHalted")]
    path.write_text(yaml.safe_dump(rules))
    tests.write_text(yaml.safe_dump(cases))
    assert said(promtool, "test", "rules", str(tests), expect=1).count("got:[]") == 1


def test_the_example_of_a_configuration_is_valid_and_reads_the_rules(monitoring: Path) -> None:
    """`promtool check config` follows the rules file from where it was exported to."""
    promtool = installed("promtool")
    report = said(promtool, "check", "config", f"{monitoring}/prometheus/prometheus.yml")
    assert "1 rule files found" in report
    assert f"SUCCESS: {len(RULES)} rules found" in report


# -- Alertmanager ----------------------------------------------------------------------------------


def test_the_example_for_alertmanager_is_valid(monitoring: Path) -> None:
    """`amtool check-config` finds its routes, receivers and rules of inhibition."""
    report = said(installed("amtool"), "check-config", f"{monitoring}/alertmanager.yml")
    assert "SUCCESS" in report
    assert "3 inhibit rules" in report
    assert "3 receivers" in report


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"system": "glassq", "severity": "critical", "alertname": "LaneHalted"}, "pager"),
        ({"system": "glassq", "severity": "warning", "alertname": "DeadLetters"}, "tickets"),
        ({"system": "glassq", "severity": "info", "alertname": "NoStandby"}, "notes"),
        ({"severity": "critical", "alertname": "DiskFull"}, "tickets"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["alertname"],
)
def test_alerts_reach_who_they_are_for(monitoring: Path, labels: Mapping[str, str], receiver: str) -> None:
    """Critical ones wake somebody up; alerts of other systems are not taken for ours."""
    amtool = installed("amtool")
    alert = [f"{name}={value}" for name, value in labels.items()]
    route = said(amtool, "config", "routes", "test", f"--config.file={monitoring}/alertmanager.yml", *alert)
    assert {"pager", "tickets", "notes"} & set(route.splitlines()) == {receiver}


class Alertmanager:
    """A real one that reads the example."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read() or "null")

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self._ask("GET", "/api/v2/status")
        except OSError:
            return False
        return True

    def muted(self, alerts: Sequence[Mapping[str, str]]) -> set[str]:
        """The names of those it keeps to itself when all of these fire."""
        self._ask("POST", "/api/v2/alerts", [{"labels": labels} for labels in alerts])
        wait_until(lambda: len(self._known()) == len(alerts), "the alerts to be known", self._known, 20)
        # An alert is sorted into its group, which is when it may be muted, a moment after it is known.
        wait_until(
            lambda: all(each["status"]["state"] != "unprocessed" for each in self._known()),
            "the alerts to be processed",
            self._known,
            20,
        )
        return {each["labels"]["alertname"] for each in self._known() if each["status"]["inhibitedBy"]}

    def _known(self) -> list[dict[str, Any]]:
        known: list[dict[str, Any]] = self._ask("GET", "/api/v2/alerts")
        return known


@pytest.fixture
def alertmanager(monitoring: Path, tmp_path: Path) -> Iterator[Alertmanager]:
    """Started for one test, with nothing remembered."""
    program = installed("prometheus-alertmanager", "alertmanager")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(
            [
                program,
                f"--config.file={monitoring}/alertmanager.yml",
                f"--storage.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        running = Alertmanager(f"http://127.0.0.1:{port}")
        wait_until(running.ready, "the Alertmanager", (tmp_path / "log").read_text, 30)
        yield running
    finally:
        child.terminate()
        child.wait(20)


SEVERITY = {rule.alert: rule.labels["severity"] for rule in ALERTS}


def fired(name: str, severity: str = "", **labels: str) -> dict[str, str]:
    """An alert as Prometheus would send it."""
    return {
        "alertname": name,
        "system": "glassq",
        "severity": severity or SEVERITY[name],
        "job": "shop",
        **labels,
    }


def test_without_its_store_an_application_says_one_thing(alertmanager: Alertmanager) -> None:
    """StorageDown mutes all else of the same application, not what another one has to say."""
    others = {"LaneHalted", "NoConsumer", "StuckJob", "NoStandby"}
    firing = [fired(name, queue="pay") for name in others]
    firing += [fired("StorageErrors", store="redis"), fired("StorageDown", store="redis")]
    bank = [fired("OrderViolation", job="bank", queue="pay"), fired("DeadLetters", job="bank", queue="mail")]
    assert alertmanager.muted([*firing, *bank]) == others | {"StorageErrors"}


def test_what_follows_from_a_blocked_head_is_muted(alertmanager: Alertmanager) -> None:
    """Age, latency and backlog of that queue, even where they would wake somebody up; not its order, nor
    another queue."""
    follows = {"OldestJobTooOld", "LatencyBudgetBurn", "BacklogWillFill", "NearCapacity"}
    firing = [fired(name, "critical" if name.endswith("Burn") else "", queue="pay") for name in follows]
    firing += [fired("HeadBlocked", queue="pay"), fired("OrderViolation", queue="pay")]
    assert alertmanager.muted([*firing, fired("ScheduleLag", queue="mail")]) == follows


def test_who_was_woken_up_needs_no_ticket(alertmanager: Alertmanager) -> None:
    """Critical mutes warnings of the same queue, not what is good to know, no other queues or systems."""
    foreign = {"alertname": "DiskFull", "severity": "warning", "job": "shop", "queue": "pay"}
    firing = [
        fired(name, queue="pay") for name in ("LaneHalted", "DeadLetters", "FailureRatio", "PausedLong")
    ]
    firing += [fired("EnqueueRejected", queue="mail"), foreign]
    assert alertmanager.muted(firing) == {"DeadLetters", "FailureRatio"}
