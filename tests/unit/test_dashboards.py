"""The dashboards are what the code makes, name nothing that does not exist, and leave no reader alone."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from glassq.cli import main
from glassq.observe.catalogue import CATALOGUE
from glassq.observe.dashboards.queries import quantile, value
from glassq.observe.dashboards.rendering import dashboard_files
from glassq.observe.dashboards.slo import BUDGETS
from glassq.observe.specs import MetricSpec
from tests.promql import selectors, wrong_names
from tests.rules import ALERTS, RECORDED
from tests.unit.aggregations import Aggregated, aggregated

FOLDER = Path(__file__).parents[2] / "grafana/dashboards"
RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks"
UIDS = {"glassq-overview", "glassq-queue", "glassq-workers", "glassq-storage", "glassq-slo"}
FILES = dashboard_files()
Json = dict[str, Any]

each_dashboard = pytest.mark.parametrize("board", [json.loads(file) for file in FILES.values()], ids=FILES)


def panels(board: Json) -> list[Json]:
    """All panels but the headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def every_expression() -> Iterator[tuple[str, str]]:
    """Where an expression stands, and the expression."""
    for name, file in FILES.items():
        for panel in panels(json.loads(file)):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}: {target['refId']}", target["expr"]


def exposed() -> Iterator[tuple[str, Aggregated, MetricSpec]]:
    """Each selector of a metric of the catalogue, with where it stands."""
    for where, expr in every_expression():
        for each in aggregated(expr):
            if each.selector.spec is not None and not each.selector.recorded:
                yield where, each, each.selector.spec


# -- the files -----------------------------------------------------------------------------------------


def test_the_files_are_what_the_code_makes() -> None:
    """The files do not drift: `glassq dashboards export --force grafana/dashboards` writes them anew."""
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == FILES


def test_uids_and_titles_stay() -> None:
    """Alerts, runbooks and bookmarks lead to these uids; each file is named after its own."""
    assert {name.removesuffix(".json") for name in FILES} == UIDS
    for name, file in FILES.items():
        assert json.loads(file)["uid"] == name.removesuffix(".json")


def test_the_command_exports_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`glassq dashboards export DIR` writes every file as it is."""
    assert main(["dashboards", "export", str(tmp_path / "new")]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == FILES
    assert capsys.readouterr().out.count("written") == len(FILES)


# -- a dashboard as a whole ----------------------------------------------------------------------------


@each_dashboard
def test_a_dashboard_can_be_provisioned_as_it_is(board: Json) -> None:
    """No inputs to fill in, no data source named, no database id; the format is the present one."""
    assert "__inputs" not in board
    assert board["id"] is None
    assert board["schemaVersion"] == 42
    text = json.dumps(board)
    assert set(re.findall(r'"type": "prometheus", "uid": "([^"]+)"', text)) == {"${datasource}"}
    chosen = [variable["name"] for variable in board["templating"]["list"]]
    assert chosen[:4] == ["datasource", "job", "instance", "queue"]
    used = set(re.findall(r"\$\{?(?!__)(\w+)", text)) - {"1"}
    assert used <= set(chosen), "every variable that is used can be chosen"


@each_dashboard
def test_no_panel_lies_on_another(board: Json) -> None:
    """Each panel has an id and a title of its own, lies within the grid, and overlaps no other."""
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["h"] > 0
        assert 0 <= place["x"] <= 24 - place["w"]
    for one, other in itertools.combinations((panel["gridPos"] for panel in board["panels"]), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@each_dashboard
def test_every_panel_explains_itself(board: Json) -> None:
    """A title, a unit, and a description in whole sentences, for a reader at three in the morning."""
    for panel in panels(board):
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["legendFormat"]


@each_dashboard
def test_columns_and_series_that_are_painted_exist(board: Json) -> None:
    """An exception by name has the name of a column, or a legend, of its own panel."""
    for panel in panels(board):
        named = {target["legendFormat"] for target in panel["targets"]}
        for change in panel.get("transformations", ()):
            named |= set(change["options"].get("renameByName", {}).values())
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["id"] == "byName":
                assert override["matcher"]["options"] in named, panel["title"]


@each_dashboard
def test_links_lead_to_dashboards_that_are_there(board: Json) -> None:
    """Each dashboard links all others, and every link inside names one of them."""
    linked = re.findall(r"/d/([\w-]+)", json.dumps(board))
    assert set(linked) <= UIDS
    assert {link["url"] for link in board["links"]} == {f"/d/{uid}" for uid in UIDS - {board["uid"]}}


@each_dashboard
def test_runbooks_are_about_alerts_that_are_there(board: Json) -> None:
    """A panel's page is that of an alert which watches what the panel shows."""
    about = set(re.findall(r"\$\{docs\}/runbooks/(\w+)\.md", json.dumps(board)))
    assert about
    assert about <= {rule.alert for rule in ALERTS}
    assert [alert for alert in about if not (RUNBOOKS / f"{alert}.md").exists()] == []


def test_times_and_failures_of_a_queue_lead_to_its_traces() -> None:
    """Grafana's Explore can read the link: a search for this queue's jobs, in Jaeger, in the time shown."""
    board = json.loads(FILES["glassq-queue.json"])
    leading = {}
    for panel in panels(board):
        for link in panel["fieldConfig"]["defaults"].get("links", ()):
            leading[panel["title"]] = urlsplit(link["url"])
    assert {"Time in queue", "From eligible to settled", "Failures, by kind"} <= set(leading)
    for link in leading.values():
        assert link.path == "/explore"
        (pane,) = json.loads(parse_qs(link.query)["panes"][0]).values()
        assert pane["datasource"] == "${traces}"
        assert pane["range"] == {"from": "${__from}", "to": "${__to}"}
        (search,) = pane["queries"]
        assert (search["service"], search["operation"]) == ("${service}", "process ${queue}")


def test_budgets_are_those_of_the_rules() -> None:
    """What the SLO dashboard calls one time the budget is what the alerts compare with."""
    for kind, budget in BUDGETS.items():
        compared = [rule.expr for rule in ALERTS if f"slo_{kind}:error_ratio_1h" in rule.expr]
        assert compared
        assert all(f"> 14.4 * {budget}" in expr for expr in compared)


# -- what is asked -------------------------------------------------------------------------------------


def test_every_metric_label_and_value_exists() -> None:
    """Expressions ask only for what the catalogue or a recording rule has: names, labels, values, buckets."""
    for where, expr in every_expression():
        wrong = wrong_names(expr.replace("alertname, ", ""), RECORDED)  # a label of alerts, not of metrics
        assert wrong == [], where


def test_the_reader_chooses_what_is_shown() -> None:
    """Every series of the catalogue follows the variables that it has a label for."""
    for where, each, spec in exposed():
        chosen = {matcher.label for matcher in each.selector.matchers if matcher.values[0].startswith("$")}
        assert chosen == {"job", "instance"} | ({"queue"} & set(spec.labels)), where


def test_instances_are_put_together_as_their_figures_mean() -> None:
    """What is read from the store is the same in all of them and never added; what a process counts about
    itself is added, unless it is an age, of which there is a worst."""
    for where, each, spec in exposed():
        if spec.source == "store":
            assert each.how in {"max", "min"} or "instance" in each.by, where
        elif spec.kind == "gauge" and spec.unit == "seconds":
            assert each.how in {"max", "min"}, where
        else:
            assert each.how == "sum", where


def test_counters_are_never_shown_as_they_are() -> None:
    """A counter's value says when its process began; only its growth says something. The store's account of
    a queue is the exception: there the totals themselves have to agree."""
    for where, expr in every_expression():
        for name in re.findall(r"(\w+\(|)(glassq_\w+_total)\{", expr):
            assert name[0] in {"rate(", "increase("} or "Accepted + replayed" in where, where


def test_every_metric_is_shown_somewhere() -> None:
    """Nothing is measured that nobody sees, and no panel is about what has no series yet."""
    shown = {spec.name for _, _, spec in exposed()}
    assert shown == {spec.name for spec in CATALOGUE if not spec.planned}


def test_exemplars_are_asked_for_where_there_are_some() -> None:
    """The times of jobs, and their failures, carry traces; their panels show them."""
    asking = {
        each.spec.name
        for file in FILES.values()
        for panel in panels(json.loads(file))
        for target in panel["targets"]
        if target["exemplar"]
        for each in selectors(target["expr"])
        if each.spec is not None
    }
    assert asking == {
        "glassq_job_failures_total",
        "glassq_job_time_in_queue_seconds",
        "glassq_job_processing_duration_seconds",
        "glassq_job_end_to_end_duration_seconds",
    }


@pytest.mark.parametrize(
    "ask",
    [
        lambda: value("no_such_metric"),
        lambda: value("queue_depth", state="asleep"),
        lambda: value("queue_depth", state=("ready", "asleep")),
        lambda: quantile(0.5, "job_time_in_queue_seconds", task="charge"),
    ],
)
def test_what_does_not_exist_cannot_be_asked_for(ask: Any) -> None:
    """A wrong name, label or value stops the making of the dashboards."""
    with pytest.raises(ValueError, match=r"no metric glassq_no_such_metric|has no (state|task)="):
        ask()
