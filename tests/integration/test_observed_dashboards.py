"""A minute of a shop, seen through its dashboards: every question is answered, the answers tell the story.

`python -m tests.pictures DIR` draws the dashboards from these answers, to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from glassq.cli.demo.otlp import Span, SpanCollector
from glassq.observe.dashboards.standing import HALTED
from tests.integration.askedpanels import Question, questions
from tests.integration.monitored import Prometheus
from tests.integration.observedshop import MINUTE, observed_shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Shop = tuple[Prometheus, SpanCollector]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Shop]:
    """The shop after about a minute."""
    folder = tmp_path_factory.mktemp("shop")
    with observed_shop(folder, redis_url) as observed:
        yield observed


def answer(shop: Shop, question: Question) -> list[dict[str, Any]]:
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


@pytest.mark.parametrize("queue", [".+", "webhooks"], ids=["all queues", "one queue"])
def test_no_panel_is_empty(shop: Shop, queue: str) -> None:
    """Prometheus takes every expression of every panel, and has an answer to each."""
    everything = list(questions(queue=queue))
    assert len(everything) > 150
    assert [str(question) for question in everything if not answer(shop, question)] == []


def test_a_panel_about_what_does_not_exist_would_be_empty(shop: Shop) -> None:
    """The test above can fail."""
    assert shop[0].over_time('glassq_queue_lanes{state="asleep"}', MINUTE) == []
    with pytest.raises(AssertionError, match="parse error"):
        shop[0].series("max by (queue (glassq_queue_lanes)")


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
    assert moments == {"payments": {0.0}, "webhooks": {0.0}, "mails": {0.0}, "parcels": {0.0}}


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
