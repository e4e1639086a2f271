"""The alert rules say what exists, and each of them is tested, explained and mutes what it should."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from glassq.cli import main
from glassq.cli.rules.command import DOCS, rule_files
from glassq.observe.catalogue import BY_NAME
from glassq.observe.dashboards.links import TITLES
from glassq.observe.dashboards.variables import DOCS_SERVED
from tests.promql import selectors, wrong_names
from tests.rules import ALERTS, CASES, RECORDED, RULES, Rule, metrics_of

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
WINDOWS = {"1h": "critical", "6h": "critical", "1d": "warning", "3d": "warning"}

SEVERITIES = {
    "critical": {
        "OrderViolation",
        "DataLossDetected",
        "HeadBlocked",
        "LaneHalted",
        "QueueStalled",
        "NoConsumer",
        "StorageDown",
        "MetricsAbsent",
    },
    "warning": {
        "OldestJobTooOld",
        "BacklogWillFill",
        "NearCapacity",
        "EnqueueRejected",
        "DeadLetters",
        "FailureRatio",
        "StuckJob",
        "WorkerStale",
        "LeaseFlapping",
        "LeaseMargin",
        "StorageErrors",
        "StorageSlow",
        "ScheduleLag",
        "SlotsMissed",
        "DeferredStuck",
        "ObserverDetached",
    },
    "info": {"FencedWrites", "PausedLong", "NoStandby", "TraceContextLost"},
}
BURNS = {"SuccessBudgetBurn", "LatencyBudgetBurn"}

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.record or rule.alert)
each_alert = pytest.mark.parametrize(
    "alert", ALERTS, ids=lambda rule: rule.alert + rule.labels.get("window", "")
)


@pytest.mark.parametrize("path", sorted(rule_files()))
def test_the_repository_shows_what_is_exported(path: str) -> None:
    """`grafana/` does not drift: `glassq rules export --force grafana` writes it anew."""
    assert (ROOT / "grafana" / path).read_bytes() == rule_files()[path]


def test_links_lead_where_the_user_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both addresses are put into the rules and into what their tests expect, and into nothing else."""
    chosen = ["--grafana", "https://grafana.example.org/", "--docs", "https://wiki.example.org/glassq"]
    assert main(["rules", "export", str(tmp_path), *chosen]) == 0
    for path, content in rule_files().items():
        exported = (tmp_path / path).read_text()
        assert "localhost:3000" not in exported
        assert "localhost:8000" not in exported
        assert exported.count("https://grafana.example.org/d/glassq-") == content.count(b"localhost:3000/d/")
        assert exported.count("https://wiki.example.org/glassq/runbooks/") == content.count(b"/runbooks/")
    assert DOCS == DOCS_SERVED
    assert main(["rules", "export", str(tmp_path), "--docs", "the wiki"]) == 2
    assert "expected an address" in capsys.readouterr().err


def test_the_alerts_are_those_of_the_reference() -> None:
    """Names and severities; budgets burn in four windows, two of which wake somebody up."""
    single = Counter((rule.labels["severity"], rule.alert) for rule in ALERTS if rule.alert not in BURNS)
    assert single == Counter((severity, name) for severity, names in SEVERITIES.items() for name in names)
    burns = Counter(
        (rule.alert, rule.labels["window"], rule.labels["severity"]) for rule in ALERTS if rule.alert in BURNS
    )
    assert burns == Counter((name, *window) for name in BURNS for window in WINDOWS.items())


@each_rule
def test_a_rule_names_what_the_catalogue_knows(rule: Rule) -> None:
    """Metrics, labels, label values, buckets and recorded series all exist; none is only planned."""
    assert metrics_of(rule.expr)
    assert wrong_names(rule.expr, RECORDED) == []
    specs = [selector.spec for selector in selectors(rule.expr)]
    assert [spec.name for spec in specs if spec and spec.planned] == []


@each_rule
def test_figures_of_the_store_take_max_and_counts_of_a_process_take_sum(rule: Rule) -> None:
    """Every process shows the same figures of the store, so their sum would count the processes; what a
    process counted itself is a part of the whole, so its maximum would be wrong."""
    direct = r"(\w+) by \([^)]*\) \((?:rate\(|increase\(|(?:avg|last)_over_time\()?(glassq_\w+)"
    taken = re.findall(direct, re.sub(r"\s+", " ", rule.expr))
    scraped = {selector.name for selector in selectors(rule.expr) if not selector.recorded}
    assert scraped - {name for _, name in taken} <= {"glassq_build_info"}  # `absent` takes no figure
    for function, name in taken:
        spec = BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", name), BY_NAME.get(name))
        assert spec is not None, name
        if spec.source == "store":
            assert function in ("max", "group"), name
        elif spec.kind in ("counter", "histogram"):
            assert function == "sum", name


def test_recorded_series_are_named_by_the_convention_and_stand_once() -> None:
    """`level:metric:operations`, where the level says which labels are left."""
    assert len(RECORDED) == sum(1 for rule in RULES if rule.record)
    assert all(re.fullmatch(r"queue(_[a-z]+)?:glassq_[a-z_]+:[a-z0-9_]+", name) for name in RECORDED)


@each_alert
def test_an_alert_says_what_is_wrong_and_where_to_go(alert: Rule) -> None:
    """Summary, description, a runbook that exists, and a dashboard, for the very queue where there is one."""
    assert set(alert.annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert set(alert.labels) - {"window"} == {"severity", "system"}
    assert alert.labels["system"] == "glassq"
    assert re.search(r"[.:]\s*$", alert.annotations["description"])
    assert alert.annotations["runbook_url"] == f"http://localhost:8000/runbooks/{alert.alert}.md"
    link = re.fullmatch(
        r"http://localhost:3000/d/([a-z-]+)(\?var-job=\{\{ \$labels\.job \}\}"
        r"(&var-(queue|instance)=\{\{ \$labels\.\4 \}\})?)?",
        alert.annotations["dashboard_url"],
    )
    assert link is not None
    assert link[1] in TITLES


@each_alert
def test_no_label_carries_a_value(alert: Rule) -> None:
    """One that did would make a new alert each time the value changes."""
    assert not any("{{" in value for value in alert.labels.values())


@pytest.mark.parametrize("alert", sorted({rule.alert for rule in ALERTS}))
def test_every_alert_is_tested_firing_and_silent(alert: str) -> None:
    """Each rule of that name fires in one case with its own labels, not before it waited; for each there is a
    silent case, about the same series: silence for want of data would prove nothing."""
    rules = [rule for rule in ALERTS if rule.alert == alert]
    cases = [case for case in CASES if case.alert == alert]
    firing = [case for case in cases if case.fires]
    silent = [case for case in cases if not case.fires]
    for rule in rules:
        own = {name: rule.labels.get(name) for name in ("severity", "window")}.items()
        mine = [
            case for case in firing if all(own <= {"window": None, **each}.items() for each in case.fires)
        ]
        assert mine, own
        assert all(case.waits == (rule.waits != "0s") for case in mine)
    assert len(silent) >= len(rules)
    shown = set().union(*(case.metrics for case in silent))
    assert shown >= set().union(*(case.metrics for case in firing))
    assert shown & set().union(*(metrics_of(rule.expr) for rule in rules))


def test_cases_bring_no_series_that_nothing_reads() -> None:
    """A series that no rule reads, for a wrong name, would make its case mean something else."""
    read = set().union(*(metrics_of(rule.expr) for rule in RULES))
    assert set().union(*(case.metrics for case in CASES)) <= read


def test_every_runbook_is_of_an_alert() -> None:
    """One page for each alert, and an index that leads to all of them with the severities of their rules."""
    listed = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| ([a-z ]+) \|",
        (RUNBOOKS / "index.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"index"}
    assert {name for name, _, _ in listed} == {link for _, link, _ in listed} == pages
    severities: dict[str, set[str]] = {}
    for rule in ALERTS:
        severities.setdefault(rule.alert, set()).add(rule.labels["severity"])
    assert {name: set(severity.split(" or ")) for name, _, severity in listed} == severities


@pytest.mark.parametrize("alert", sorted({rule.alert for rule in ALERTS}))
def test_a_runbook_answers_the_same_questions(alert: str) -> None:
    """What it means, the first command, what then, how it ends; and it begins with its severity."""
    page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)", page, flags=re.MULTILINE)
    assert headings == [alert, "What it means", "First", "Then", "How it ends"]
    severities = {rule.labels["severity"].capitalize() for rule in ALERTS if rule.alert == alert}
    assert page.split("\n")[2].split(maxsplit=1)[0].rstrip(",") in severities
    assert re.search(r"^## First\n\n```sh\n(glassq|curl) ", page, flags=re.MULTILINE)
