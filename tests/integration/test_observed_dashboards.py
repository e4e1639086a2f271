"""A minute of a shop, seen through its dashboards: every question is answered, the answers tell the story.

With DASHBOARD_PICTURES=DIR and a Chromium the dashboards are drawn from these answers, to be looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from glassq.cli.demo.otlp import Span, SpanCollector
from glassq.observe.dashboards.standing import HALTED
from tests.integration.askedpanels import Question, questions
from tests.integration.observedshop import Prometheus, Series, observed_shop
from tests.pictures.drawing import page
from tests.processes import wait_until

MINUTE = 60
HAPPENED = {
    "a job was given up": "glassq_dead_letter_jobs > 0",
    "a lane halted": 'glassq_queue_lanes{state="halted"} > 0',
    "a job waits for its time": 'glassq_queue_depth{state="scheduled"} > 0',
    "a job was tried again": "glassq_job_retries_total > 0",
    "the pace is known": "glassq_queue_drain_seconds_estimate",
    "there is enough to look back on": f"count_over_time(up[2m]) >= {MINUTE}",
}
"""What the shop does within a minute, as Prometheus shows it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Shop = tuple[Prometheus, SpanCollector]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Shop]:
    """The shop after about a minute."""
    folder = tmp_path_factory.mktemp("shop")
    with observed_shop(folder, redis_url) as (prometheus, collector):
        for what, expr in HAPPENED.items():
            wait_until(partial(prometheus.happened, expr), what, partial(prometheus.now, "up"), 150)
        yield prometheus, collector


def answer(shop: Shop, question: Question) -> list[Series]:
    """Over the last minute, also of what a panel asks for only once: at one moment there may be no lease."""
    return shop[0].over_time(question.expr, MINUTE)


def asked(dashboard: str, panel: str) -> Question:
    """The first query of a panel."""
    place = (f"glassq-{dashboard}", panel, "A")
    (question,) = (each for each in questions() if (each.dashboard, each.panel, each.ref) == place)
    return question


def latest(shop: Shop, dashboard: str, panel: str) -> dict[str, float]:
    """The last values of a panel's first query, by queue."""
    found = answer(shop, asked(dashboard, panel))
    return {each["metric"].get("queue", ""): float(each["values"][-1][1]) for each in found}


@pytest.mark.parametrize("queue", [".+", "payments"], ids=["all queues", "one queue"])
def test_no_panel_is_empty(shop: Shop, queue: str) -> None:
    """Prometheus takes every expression of every panel, and has an answer to each."""
    everything = list(questions(queue=queue))
    assert len(everything) > 150
    assert [str(question) for question in everything if not answer(shop, question)] == []


def test_a_panel_about_what_does_not_exist_would_be_empty(shop: Shop) -> None:
    """The test above can fail."""
    assert shop[0].over_time('glassq_queue_lanes{state="asleep"}', MINUTE) == []
    with pytest.raises(AssertionError, match="parse error"):
        shop[0].now("max by (queue (glassq_queue_lanes)")


def test_every_rule_works(shop: Shop) -> None:
    """No recording or alert rule ended in an error, and each was asked."""
    groups = shop[0].ask("rules")["groups"]
    states = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert {name: health for name, health in states.items() if health != "ok"} == {}
    assert len(states) > 50


def test_the_overview_says_what_is_wrong(shop: Shop) -> None:
    """One lane is halted, a job was given up; the other queues move, and no promise was broken."""
    assert latest(shop, "overview", "Halted lanes") == {"": 1}
    assert latest(shop, "overview", "Queues without a worker") == {"": 0}
    assert latest(shop, "overview", "Broken promises") == {"": 0}
    assert latest(shop, "overview", "Dead letters")[""] >= 1
    standing = latest(shop, "overview", "What holds each queue")
    assert standing["webhooks"] == HALTED
    assert max(standing["payments"], standing["mails"]) < HALTED
    assert latest(shop, "slo", "Alerts firing")[""] >= 1
    fires = shop[0].over_time('ALERTS{alertname="LaneHalted", alertstate="firing"}', MINUTE)
    assert [alert["metric"]["queue"] for alert in fires] == ["webhooks"]
    # At a single moment a busy machine may miss the deadline of a scrape.
    (store,) = answer(shop, asked("overview", "Stores"))
    assert "1" in [value for _, value in store["values"]]


def test_what_came_in_is_settled_or_still_there(shop: Shop) -> None:
    """The store's account of each queue was even at every moment of the minute."""
    account = asked("storage", "Accepted + replayed - settled - held")
    moments = {
        each["metric"]["queue"]: {float(value) for _, value in each["values"]}
        for each in answer(shop, account)
    }
    assert moments == {"payments": {0.0}, "webhooks": {0.0}, "mails": {0.0}}


def test_every_point_opens_a_trace_that_was_exported(shop: Shop) -> None:
    """Exemplars lie on each panel that shows them, and each names the trace of a real job of that queue."""
    prometheus, collector = shop
    showing = [each for each in questions() if each.exemplar]
    assert len(showing) >= 7
    named: set[tuple[str, str]] = set()
    for question in showing:
        found = prometheus.exemplars(question.expr, MINUTE)
        assert found, question
        named |= {(each["labels"]["trace_id"], each["labels"]["span_id"]) for each in found}

    def complete(spans: Sequence[Span]) -> bool | None:
        return named <= {(span.trace, span.id) for span in spans} or None

    assert collector.wait_for(complete, timeout=30), "every trace that a point names"


@pytest.mark.skipif("DASHBOARD_PICTURES" not in os.environ, reason="nobody asked for pictures")
def test_draw(shop: Shop) -> None:
    """Pictures of all dashboards, in the folder that was asked for."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "pictures need a Chromium"
    folder = Path(os.environ["DASHBOARD_PICTURES"])
    folder.mkdir(exist_ok=True)
    for uid, queue in [
        ("glassq-overview", ".+"),
        ("glassq-queue", "payments"),
        ("glassq-queue", "webhooks"),
        ("glassq-workers", ".+"),
        ("glassq-storage", ".+"),
        ("glassq-slo", ".+"),
    ]:
        content, height = page(uid, shop[0], MINUTE, queue=queue)
        name = uid if queue == ".+" else f"{uid}-{queue}"
        drawn = folder / f"{name}.html"
        drawn.write_text(content, encoding="utf-8")
        picture = drawn.with_suffix(".png")
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        subprocess.run(
            [chromium, *words, f"--screenshot={picture}", f"--window-size=1600,{height}", drawn.as_uri()],
            check=True,
            capture_output=True,
            timeout=60,
        )
        assert picture.stat().st_size > 10_000
