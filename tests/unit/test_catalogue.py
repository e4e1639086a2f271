from __future__ import annotations

import re
from pathlib import Path

import pytest

from glassq.cli.metrics import reference
from glassq.model.leases import ClaimCause
from glassq.model.stats import QueueStats
from glassq.model.verdicts import Outcome
from glassq.observe import catalogue
from glassq.observe.catalogue import BY_NAME, CATALOGUE
from glassq.observe.specs import MetricSpec

PAGE = Path(__file__).parents[2] / "docs/reference/metrics.md"

PROMISED = {
    "glassq_jobs_enqueued_total": "queue,task",
    "glassq_enqueue_failures_total": "queue,reason",
    "glassq_schedule_slots_total": "queue,result",
    "glassq_jobs_deduplicated_total": "queue",
    "glassq_enqueue_duration_seconds": "queue",
    "glassq_job_payload_bytes": "queue",
    "glassq_jobs_processed_total": "queue,task,outcome",
    "glassq_job_attempts_total": "queue,task,result",
    "glassq_job_failures_total": "queue,task,kind",
    "glassq_job_retries_total": "queue,task",
    "glassq_jobs_reclaimed_total": "queue,reason",
    "glassq_jobs_buried_total": "queue,task,reason",
    "glassq_job_time_in_queue_seconds": "queue",
    "glassq_job_processing_duration_seconds": "queue,task",
    "glassq_job_end_to_end_duration_seconds": "queue",
    "glassq_job_wait_seconds_total": "queue,cause",
    "glassq_workflow_duration_seconds": "workflow,status",
    "glassq_jobs_in_progress": "queue",
    "glassq_job_in_progress_seconds": "queue",
    "glassq_order_violations_total": "queue,kind",
    "glassq_lease_acquisitions_total": "queue,cause",
    "glassq_lease_losses_total": "queue,reason",
    "glassq_fenced_writes_total": "queue,operation",
    "glassq_lanes_held": "queue",
    "glassq_lease_remaining_seconds": "queue",
    "glassq_lanes_stolen_total": "queue",
    "glassq_worker_heartbeat_timestamp_seconds": "",
    "glassq_worker_draining": "",
    "glassq_trace_contexts_total": "queue,result",
    "glassq_storage_operation_duration_seconds": "store,operation",
    "glassq_storage_errors_total": "store,error",
    "glassq_storage_reconnects_total": "store",
    "glassq_data_loss_detected_total": "queue",
    "glassq_telemetry_dropped_total": "signal,reason",
    "glassq_observer_failures_total": "",
    "glassq_build_info": "version,python,store",
    "glassq_queue_depth": "queue,state",
    "glassq_queue_lanes": "queue,state",
    "glassq_queue_capacity": "queue",
    "glassq_queue_paused": "queue",
    "glassq_queue_workers": "queue",
    "glassq_queue_storage_bytes": "queue",
    "glassq_queue_oldest_job_age_seconds": "queue",
    "glassq_queue_head_blocked_seconds": "queue",
    "glassq_queue_head_attempts": "queue",
    "glassq_queue_enqueued_total": "queue",
    "glassq_queue_replayed_total": "queue",
    "glassq_queue_settled_total": "queue,outcome",
    "glassq_queue_last_settled_timestamp_seconds": "queue",
    "glassq_queue_lease_tokens_total": "queue",
    "glassq_queue_objective_seconds": "queue,objective",
    "glassq_queue_drain_seconds_estimate": "queue",
    "glassq_dead_letter_jobs": "queue",
    "glassq_dead_letter_oldest_age_seconds": "queue",
    "glassq_schedule_lag_seconds": "queue",
    "glassq_collector_up": "store",
    "glassq_collector_duration_seconds": "store",
}
"""Name and labels of every metric."""

each_metric = pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)


def test_every_name_stands_once() -> None:
    """Rules and dashboards look a metric up by its name: there is one entry for each."""
    assert len(BY_NAME) == len(CATALOGUE) > 30


def test_the_page_is_what_the_catalogue_says() -> None:
    """The page does not drift: `python -m glassq.cli.metrics > docs/reference/metrics.md` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == reference()


@each_metric
def test_the_page_names_everything(spec: MetricSpec) -> None:
    """Whoever meets a metric finds its labels and what their values can be."""
    (row,) = [line for line in reference().splitlines() if line.startswith(f"| `{spec.name}` |")]
    words = [*spec.labels, *(value for values in spec.values.values() for value in values)]
    assert spec.help in row
    assert [word for word in words if not re.search(rf"\b{word}\b", row)] == []


def test_nothing_is_missing_that_was_promised() -> None:
    """Rules, dashboards and the people who read them rely on these names and labels."""
    assert {spec.name: ",".join(spec.labels) for spec in CATALOGUE} == PROMISED


@each_metric
def test_names_follow_the_conventions(spec: MetricSpec) -> None:
    """Prefix, base units, `_total` for counters and only for them, help that is a sentence."""
    assert re.fullmatch(r"glassq_[a-z_]+", spec.name)
    assert spec.name.endswith("_total") == (spec.kind == "counter")
    assert not re.search(r"_(ms|milliseconds|kb|minutes)(_|$)", spec.name)
    assert spec.help.endswith(".") or spec.help.endswith(").")


@each_metric
def test_no_label_can_grow_without_bound(spec: MetricSpec) -> None:
    """Labels are queue, task, workflow (its name, capped as queues are), or a closed set; never a job, a
    lane, an exception or a host."""
    unbounded = set(spec.labels) - {"queue", "task", "store", "workflow", *spec.values}
    assert unbounded <= ({"version", "python"} if spec is catalogue.BUILD_INFO else set())
    assert set(spec.values) <= set(spec.labels)


@each_metric
def test_only_histograms_have_buckets_and_they_rise(spec: MetricSpec) -> None:
    """Buckets are sorted and distinct, so that a latency objective can be one of their bounds."""
    assert bool(spec.buckets) == (spec.kind == "histogram")
    assert list(spec.buckets) == sorted(set(spec.buckets))


@each_metric
def test_a_closed_set_belongs_to_the_last_label(spec: MetricSpec) -> None:
    """Children are bound by the values of the last label; open labels come before closed ones."""
    if spec.values:
        assert spec.labels[-len(spec.values) :] == tuple(spec.values)


def test_the_closed_sets_cover_what_the_model_can_say() -> None:
    """No outcome, cause or state that the model knows is counted as `_other`."""
    # Expired jobs never began; an interrupted attempt is settled by nobody, and counted as a lost lease.
    failures = {str(outcome) for outcome in Outcome} - {"succeeded", "expired", "interrupted"}
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
