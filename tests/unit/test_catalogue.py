from __future__ import annotations

import re

import pytest

from glassq.model.leases import ClaimCause
from glassq.model.stats import QueueStats
from glassq.model.verdicts import Outcome
from glassq.observe import catalogue
from glassq.observe.catalogue import BY_NAME, CATALOGUE, MetricSpec

each_metric = pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)


def test_every_name_stands_once() -> None:
    """Rules and dashboards look a metric up by its name: there is one entry for each."""
    assert len(BY_NAME) == len(CATALOGUE) > 30


@each_metric
def test_names_follow_the_conventions(spec: MetricSpec) -> None:
    """Prefix, base units, `_total` for counters and only for them, help that is a sentence."""
    assert re.fullmatch(r"glassq_[a-z_]+", spec.name)
    assert spec.name.endswith("_total") == (spec.kind == "counter")
    assert not re.search(r"_(ms|milliseconds|kb|minutes)(_|$)", spec.name)
    assert spec.help.endswith(".") or spec.help.endswith(").")


@each_metric
def test_no_label_can_grow_without_bound(spec: MetricSpec) -> None:
    """Labels are queue, task, or a closed set; never a job, a lane, an exception or a host."""
    unbounded = set(spec.labels) - {"queue", "task", "store", *spec.values}
    assert unbounded <= ({"version", "python"} if spec is catalogue.BUILD_INFO else set())
    assert set(spec.values) <= set(spec.labels)


@each_metric
def test_only_histograms_have_buckets_and_they_rise(spec: MetricSpec) -> None:
    """Buckets are sorted and distinct, so that a latency objective can be one of their bounds."""
    assert bool(spec.buckets) == (spec.kind == "histogram")
    assert list(spec.buckets) == sorted(set(spec.buckets))


@each_metric
def test_a_closed_set_belongs_to_the_last_label(spec: MetricSpec) -> None:
    """Children are bound by the values of the last label; the order of labels is part of that."""
    if spec.values and spec.kind == "counter":
        assert list(spec.values) == [spec.labels[-1]]


def test_the_closed_sets_cover_what_the_model_can_say() -> None:
    """No outcome, cause or state that the model knows is counted as `_other`."""
    failures = {str(outcome) for outcome in Outcome} - {"succeeded", "expired"}  # never begun, so no failure
    assert failures <= set(catalogue.FAILURE_KINDS)
    assert {str(cause) for cause in ClaimCause} == set(catalogue.LEASE_ACQUISITIONS.values["cause"])
    assert tuple(QueueStats(queue="q").by_state()) == catalogue.JOB_STATES
    assert {"lease_expired", "owner_died", "handover"} == set(catalogue.RECLAIMS)


def test_sizes_double_from_128_bytes_to_one_mebibyte() -> None:
    """The payload limit of 256 KiB is a bucket bound."""
    assert catalogue.SIZE[0] == 128
    assert catalogue.SIZE[-1] == 1 << 20
    assert float(256 << 10) in catalogue.SIZE


def test_units_are_told_as_openmetrics_writes_them() -> None:
    """The unit is the name's last word, before `_total`."""
    assert catalogue.PROCESSING_DURATION.unit == "seconds"
    assert catalogue.PAYLOAD_BYTES.unit == "bytes"
    assert catalogue.JOBS_PROCESSED.unit == ""
