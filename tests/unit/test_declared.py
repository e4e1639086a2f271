from __future__ import annotations

import gc
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq.errors import BadOption
from glassq.model.objectives import WAIT_BOUNDS
from glassq.observe.catalogue import END_TO_END_DURATION, TIME_IN_QUEUE
from glassq.observe.declared import show_declared
from glassq.registry import Registry
from glassq.telemetry import Bus


def shown(declared: Registry) -> CollectorRegistry:
    """A registry that shows what this application declares."""
    registry = CollectorRegistry(auto_describe=True)
    show_declared(registry, declared)
    return registry


def objective(registry: CollectorRegistry, name: str, queue: str = "payments") -> float | None:
    """What a queue is declared to keep, as a scrape shows it."""
    return registry.get_sample_value("glassq_queue_objective_seconds", {"queue": queue, "objective": name})


def test_objectives_and_limits_are_shown_as_declared() -> None:
    """Alert rules take their thresholds from here, so each value is the one in the code."""
    declared = Registry(Bus())
    registry = shown(declared)
    declared.declare("payments", max_age=60, max_blocked=45, job_timeout=7.5, max_length=1000)
    assert [objective(registry, name) for name in ("max_age", "max_blocked", "job_timeout")] == [60, 45, 7.5]
    assert registry.get_sample_value("glassq_queue_capacity", {"queue": "payments"}) == 1000


def test_what_is_not_declared_is_absent() -> None:
    """No threshold means no alert; a threshold of 0 would alert for ever."""
    declared = Registry(Bus())
    registry = shown(declared)
    declared.declare("payments", max_age=60)
    declared.declare("mails")
    assert objective(registry, "max_blocked") is None
    assert objective(registry, "max_age", "mails") is None
    assert registry.get_sample_value("glassq_queue_capacity", {"queue": "payments"}) is None
    declared.declare("payments", max_age=None)
    assert objective(registry, "max_age") is None


def test_two_applications_show_one_series() -> None:
    """Of two declarations of a queue the stricter counts; an application that is gone declares nothing."""
    first, second = Registry(Bus()), Registry(Bus())
    registry = shown(first)
    show_declared(registry, second)
    first.declare("payments", max_age=300)
    second.declare("payments", max_age=60)
    assert objective(registry, "max_age") == 60
    del second
    gc.collect()
    assert objective(registry, "max_age") == 300


@pytest.mark.parametrize(("given", "nearest"), [(70, "60"), (2, "1"), (20_000, "14400"), (0.004, "0.005")])
def test_a_latency_between_two_bounds_is_refused_with_the_nearest(given: float, nearest: str) -> None:
    """A histogram cannot tell how many jobs took longer than 70 seconds: between 60 and 300 it is blind."""
    with pytest.raises(BadOption, match=rf"max_age.*the nearest is {nearest} "):
        Registry(Bus()).declare("payments", max_age=given)


@pytest.mark.parametrize("option", ["max_age", "max_blocked", "job_timeout"])
@pytest.mark.parametrize("given", [0, -1, True, "60", float("inf"), float("nan")])
def test_what_is_no_time_is_refused(option: str, given: Any) -> None:
    """An objective is a number of seconds above 0; a refused one changes nothing."""
    declared = Registry(Bus())
    declared.declare("payments", max_age=60)
    with pytest.raises(BadOption, match=option):
        declared.declare("payments", **{option: given})
    assert declared.options("payments").max_age == 60
    assert declared.options("payments").max_blocked is None


def test_the_bounds_are_those_of_the_histograms() -> None:
    """What may be declared and what is measured are one list."""
    assert TIME_IN_QUEUE.buckets == END_TO_END_DURATION.buckets == WAIT_BOUNDS
