from __future__ import annotations

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from glassq.observe import lanespans
from glassq.observe.lanespans import LaneMemory
from glassq.observe.spans import SpanSource
from tests.unit.spandesk import attempting

CONTEXT = SpanContext(1, 2, is_remote=False)


def test_the_lanes_used_least_recently_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order they came in."""
    monkeypatch.setattr(lanespans, "MAX_LANES_REMEMBERED", 2)
    memory = LaneMemory()
    one, two, three = (attempting({}, key=key).job for key in "abc")
    for job in (one, two, one, three):
        memory.of(job).note(job, CONTEXT)
    assert [memory.of(job).before(job) is not None for job in (three, one, two)] == [True, True, False]


def test_a_span_that_is_none_is_not_linked() -> None:
    """As of a program without a provider."""
    memory, job = LaneMemory(), attempting({}).job
    memory.of(job).note(job, INVALID_SPAN_CONTEXT)
    assert memory.of(job).before(job) is None


def test_jobs_of_a_lane_say_which_task_is_theirs() -> None:
    """Each its own, though most are of the same."""
    source, job = SpanSource(address="redis://db", client_id=lambda: "me"), attempting({}).job
    lane = LaneMemory().of(job)
    said = [lane.common(source, job, task) for task in ("charge", "charge", "refund", "charge")]
    assert [each["glassq.task.name"] for each in said] == ["charge", "charge", "refund", "charge"]
    assert said[0] is said[1]
    assert said[0] == source.common("process", "process", "orders") | {
        "glassq.task.name": "charge",
        "messaging.destination.partition.id": "c-7",
    }
