from __future__ import annotations

import gc
import itertools
import shutil
import subprocess
from collections.abc import Callable

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from glassq.model.events import (
    EnqueueFailed,
    JobEnqueued,
    LaneClaimed,
    LaneLost,
    ObserverDetached,
    OrderViolated,
    QueueDeclared,
    SettlementDelayed,
    StorageCalled,
    StorageReconnected,
    TaskDeclared,
    TelemetryDropped,
    TraceContextRead,
    WorkerBeat,
    WorkerChanged,
    WriteFenced,
)
from glassq.model.leases import ClaimCause, Lease
from glassq.model.verdicts import Action, Outcome
from glassq.observe.catalogue import BY_NAME, CATALOGUE, WAIT_CAUSES
from glassq.observe.prometheus import observe_metrics
from glassq.telemetry import Bus
from tests.unit.observing import (
    LEASE,
    SAMPLED,
    SPAN,
    TRACE,
    UNSAMPLED,
    MovedClock,
    abandoned,
    settled,
    started,
)

Value = Callable[..., float | None]


class House:
    """A registry with one application that declared the queue `orders` and the task `charge`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.clock = MovedClock()
        self.bus = self.application()

    def application(self, store: str = "sqlite") -> Bus:
        """One more application on the registry."""
        bus = Bus()
        observe_metrics(bus, self.registry, store=lambda: store, clock=self.clock)
        bus.emit(QueueDeclared(queue="orders"))
        bus.emit(TaskDeclared(queue="orders", task="charge"))
        return bus

    def value(self, name: str, **labels: str) -> float | None:
        """A sample by its name and labels."""
        return self.registry.get_sample_value(f"glassq_{name}", labels)

    def charge(self, name: str, **labels: str) -> float | None:
        """A sample of the task's."""
        return self.value(name, queue="orders", task="charge", **labels)

    def orders(self, name: str, **labels: str) -> float | None:
        """A sample of the queue's."""
        return self.value(name, queue="orders", **labels)


@pytest.fixture
def house() -> House:
    """One application on a registry of its own."""
    return House()


def enqueued(queue: str = "orders", task: str = "charge") -> JobEnqueued:
    """The store accepted a job."""
    return JobEnqueued(
        queue=queue, task=task, job_id="orders/p:1", key=None, seq=1, payload_bytes=300, seconds=0.003
    )


# -- declaring -----------------------------------------------------------------------------------------


def test_every_enumerated_child_is_born_at_zero(house: House) -> None:
    """A counter born at 1 never shows as an increase, so each exists, at 0, once its queue is declared."""
    declared = {"queue": ("orders",), "store": ("sqlite",), "task": ("charge", "_unknown")}
    for spec in CATALOGUE:
        if spec.kind == "counter" and spec.source != "store" and not spec.planned:
            sets = [{**declared, **spec.values}[label] for label in spec.labels]
            for values in itertools.product(*sets):
                labels = dict(zip(spec.labels, values, strict=True))
                assert house.registry.get_sample_value(spec.name, labels) == 0.0, (spec.name, labels)


def test_what_is_not_measured_yet_claims_nothing(house: House) -> None:
    """A metric of a feature to come has a name and a help, and no series that could be taken for a figure."""
    house.bus.emit(settled())
    planned = {spec.name for spec in CATALOGUE if spec.planned}
    samples = {sample.name for family in house.registry.collect() for sample in family.samples}
    assert planned
    assert not planned & samples


def test_empty_histograms_and_gauges_are_there_too(house: House) -> None:
    """Before the first job there is a 0 to see, not a gap."""
    assert house.charge("job_processing_duration_seconds_count") == 0.0
    assert house.orders("job_time_in_queue_seconds_count") == 0.0
    assert house.orders("jobs_in_progress") == 0.0
    assert house.orders("job_in_progress_seconds") == 0.0
    assert house.orders("lanes_held") == 0.0


def test_a_process_without_a_worker_has_no_heartbeat(house: House) -> None:
    """A heartbeat of 0 would look like a worker that died in 1970."""
    assert house.value("worker_heartbeat_timestamp_seconds") is None
    assert house.value("worker_draining") is None
    assert house.orders("lease_remaining_seconds") is None


def test_only_catalogued_names_are_exposed(house: House) -> None:
    """What is exposed and what is documented are the same, and no `_created` series come along."""
    house.bus.emit(settled())
    for family in house.registry.collect():
        for sample in family.samples:
            name = sample.name
            if name not in BY_NAME:
                name = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            assert BY_NAME[name].kind in (family.type, "info")


def test_the_users_own_created_series_stay() -> None:
    """Leaving out `_created` is our own business: the library's global switch is not touched."""
    house = House()
    theirs = Counter("theirs", "Somebody else's.", registry=house.registry)
    theirs.inc()
    assert b"theirs_created" in generate_latest(house.registry)
    assert b"glassq_jobs_enqueued_created" not in generate_latest(house.registry)


# -- several applications ------------------------------------------------------------------------------


def test_two_applications_share_the_series_of_a_registry(house: House) -> None:
    """The same queue in two applications adds up; nothing is registered or exposed twice."""
    other = house.application("redis")
    house.bus.emit(enqueued())
    other.emit(enqueued())
    house.bus.emit(started("orders/p:1"))
    other.emit(started("orders/p:1"))
    assert house.charge("jobs_enqueued_total") == 2.0
    assert house.orders("jobs_in_progress") == 2.0
    series = [
        (each.name, *sorted(each.labels.items()))
        for metric in house.registry.collect()
        for each in metric.samples
    ]
    assert len(series) == len(set(series))
    stores = {
        each.labels["store"]
        for metric in house.registry.collect()
        for each in metric.samples
        if each.name == "glassq_build_info"
    }
    assert stores == {"sqlite", "redis"}


def test_an_application_that_is_gone_leaves_no_work_in_progress(house: House) -> None:
    """Gauges show what is alive: they vanish with their application, counters stay."""
    other = house.application()
    other.emit(started())
    other.emit(enqueued())
    assert house.orders("jobs_in_progress") == 1.0
    del other
    gc.collect()
    assert house.orders("jobs_in_progress") == 0.0
    assert house.charge("jobs_enqueued_total") == 1.0


def test_registries_do_not_know_each_other(house: House) -> None:
    """An application given its own registry counts there and nowhere else."""
    apart = House()
    apart.bus.emit(enqueued())
    assert house.charge("jobs_enqueued_total") == 0.0


# -- producing -----------------------------------------------------------------------------------------


def test_an_accepted_job_is_counted_timed_and_weighed(house: House) -> None:
    """`jobs_enqueued_total`, `enqueue_duration_seconds` and `job_payload_bytes` tell of each job."""
    house.bus.emit(enqueued())
    assert house.charge("jobs_enqueued_total") == 1.0
    assert house.orders("enqueue_duration_seconds_sum") == pytest.approx(0.003)
    assert house.orders("job_payload_bytes_bucket", le="256.0") == 0.0
    assert house.orders("job_payload_bytes_bucket", le="512.0") == 1.0


def test_a_refused_call_is_counted_by_its_reason(house: House) -> None:
    """Only its own reason moves."""
    house.bus.emit(EnqueueFailed(queue="orders", reason="payload_too_large"))
    assert house.orders("enqueue_failures_total", reason="payload_too_large") == 1.0
    assert house.orders("enqueue_failures_total", reason="queue_full") == 0.0


def test_values_outside_a_closed_set_become_other(house: House) -> None:
    """However many new reasons turn up, they make one series, and the observer stays attached."""
    for reason in ("brand", "new", "reasons"):
        house.bus.emit(EnqueueFailed(queue="orders", reason=reason))
    assert house.orders("enqueue_failures_total", reason="_other") == 3.0
    assert house.value("observer_failures_total") == 0.0


def test_unregistered_tasks_are_one_series(house: House) -> None:
    """A task name read from a stored job is foreign text: it never becomes a label."""
    for number in range(3):
        house.bus.emit(settled(Outcome.UNKNOWN_TASK, Action.HALT, task=f"gone.{number}", ran=False))
    assert house.orders("job_failures_total", task="_unknown", kind="unknown_task") == 3.0
    assert house.value("job_failures_total", queue="orders", task="gone.0", kind="unknown_task") is None


def test_queues_beyond_the_cap_share_one_label(house: House) -> None:
    """The 201st queue of a process is counted, as `_other`."""
    for number in range(205):
        house.bus.emit(enqueued(f"q{number}", "t"))
    assert house.value("jobs_enqueued_total", queue="q198", task="_unknown") == 1.0
    assert house.value("jobs_enqueued_total", queue="q199", task="_unknown") is None
    assert house.value("jobs_enqueued_total", queue="_other", task="_unknown") == 6.0


# -- attempts ------------------------------------------------------------------------------------------


def test_a_job_that_succeeds_is_processed_once(house: House) -> None:
    """The counter and the histogram of its queue, and the time from eligible to settled."""
    house.bus.emit(started(waited=0.2))
    house.bus.emit(settled(seconds=0.02, end_to_end=0.25))
    assert house.charge("jobs_processed_total", outcome="succeeded") == 1.0
    assert house.charge("job_attempts_total", result="succeeded") == 1.0
    assert house.charge("job_processing_duration_seconds_sum") == pytest.approx(0.02)
    assert house.orders("job_time_in_queue_seconds_sum") == pytest.approx(0.2)
    assert house.orders("job_end_to_end_duration_seconds_sum") == pytest.approx(0.25)


def test_what_a_job_waited_for_is_counted_when_it_starts(house: House) -> None:
    """By cause, the parts of its time in queue; nothing for an attempt that is not the first."""
    parts = {"fairness": 0.05, "behind_lane": 0.15}
    house.bus.emit(msgspec.structs.replace(started(waited=0.2), waits=parts))
    house.bus.emit(started(waited=None))
    counted = {cause: house.orders("job_wait_seconds_total", cause=cause) for cause in WAIT_CAUSES}
    assert counted == dict.fromkeys(WAIT_CAUSES, 0.0) | parts
    assert sum(filter(None, counted.values())) == house.orders("job_time_in_queue_seconds_sum")


def test_a_retry_is_a_failed_attempt_and_no_processed_job(house: House) -> None:
    """The job is still the head of its lane."""
    house.bus.emit(settled(Outcome.EXCEPTION, Action.RETRY))
    assert house.charge("job_attempts_total", result="failed") == 1.0
    assert house.charge("job_failures_total", kind="exception") == 1.0
    assert house.charge("job_retries_total") == 1.0
    assert house.charge("jobs_processed_total", outcome="buried") == 0.0


def test_a_buried_job_is_processed_with_its_reason(house: House) -> None:
    """Buried is one of the ways to be settled for good."""
    house.bus.emit(settled(Outcome.TIMEOUT, Action.BURY, end_to_end=3.0))
    assert house.charge("jobs_processed_total", outcome="buried") == 1.0
    assert house.charge("jobs_buried_total", reason="timeout") == 1.0
    assert house.charge("job_failures_total", kind="timeout") == 1.0


def test_a_halt_is_a_failure_and_nothing_else(house: House) -> None:
    """A halted head waits for a human: it is not settled."""
    house.bus.emit(settled(Outcome.EXCEPTION, Action.HALT))
    processed = [house.charge("jobs_processed_total", outcome=outcome) for outcome in ("succeeded", "buried")]
    assert processed == [0.0, 0.0]
    assert house.charge("job_failures_total", kind="exception") == 1.0


def test_what_never_ran_is_no_attempt(house: House) -> None:
    """An undecodable payload fails without an execution: no attempt, no run time."""
    house.bus.emit(settled(Outcome.UNDECODABLE, Action.BURY, ran=False))
    assert house.charge("job_failures_total", kind="undecodable") == 1.0
    assert house.charge("job_attempts_total", result="failed") == 0.0
    assert house.charge("job_processing_duration_seconds_count") == 0.0


def test_an_abandoned_attempt_failed_for_the_job(house: House) -> None:
    """Its code may have succeeded, but the job runs again: lost with its lease."""
    house.bus.emit(started())
    house.bus.emit(abandoned(Outcome.SUCCEEDED))
    assert house.charge("job_failures_total", kind="lease_lost") == 1.0
    assert house.charge("job_attempts_total", result="failed") == 1.0
    assert house.charge("jobs_processed_total", outcome="succeeded") == 0.0
    assert house.orders("jobs_in_progress") == 0.0


def test_work_in_progress_is_measured_when_scraped(house: House) -> None:
    """The oldest attempt's age grows between events, and is 0 when nothing runs. Two lanes run."""
    other = Lease("orders", "c-8", 43)
    house.bus.emit(started("orders/p:1", at=house.clock.monotonic()))
    house.clock.sleep(5)
    house.bus.emit(started("orders/p:2", lease=other, at=house.clock.monotonic()))
    house.clock.sleep(2)
    assert house.orders("jobs_in_progress") == 2.0
    assert house.orders("job_in_progress_seconds") == pytest.approx(7.0)
    house.bus.emit(settled(job_id="orders/p:1"))
    assert house.orders("job_in_progress_seconds") == pytest.approx(2.0)
    house.bus.emit(
        SettlementDelayed(lease=other, job_id="orders/p:2")
    )  # over, though the store does not know
    assert house.orders("job_in_progress_seconds") == 0.0


def test_a_fenced_attempt_does_not_hide_the_new_one(house: House) -> None:
    """A lane taken back by its own process runs the job again before the first attempt has ended."""
    again = Lease("orders", "c-7", 42)
    house.bus.emit(started(at=house.clock.monotonic()))
    house.bus.emit(started(at=house.clock.monotonic(), lease=again))
    house.bus.emit(abandoned())
    assert house.orders("jobs_in_progress") == 1.0
    house.bus.emit(settled(lease=again))
    assert house.orders("jobs_in_progress") == 0.0


# -- lanes, workers, the store ---------------------------------------------------------------------------


def test_lanes_are_counted_as_they_come_and_go(house: House) -> None:
    """Any cause but `ready` is a reclaim as well."""
    house.bus.emit(LaneClaimed(worker="w", lease=LEASE, cause=ClaimCause.READY))
    house.bus.emit(LaneClaimed(worker="w", lease=LEASE, cause=ClaimCause.OWNER_DIED))
    house.bus.emit(LaneLost(lease=LEASE, reason="expired"))
    house.bus.emit(WriteFenced(queue="orders", operation="settle"))
    house.bus.emit(OrderViolated(queue="orders", kind="reorder"))
    house.bus.emit(TraceContextRead(queue="orders", result="invalid"))
    assert house.orders("lease_acquisitions_total", cause="ready") == 1.0
    assert house.orders("jobs_reclaimed_total", reason="owner_died") == 1.0
    assert house.orders("lease_losses_total", reason="expired") == 1.0
    assert house.orders("fenced_writes_total", operation="settle") == 1.0
    assert house.orders("order_violations_total", kind="reorder") == 1.0
    assert house.orders("trace_contexts_total", result="invalid") == 1.0


def test_a_worker_shows_from_its_start_to_its_end(house: House) -> None:
    """Heartbeat, draining, lanes held and the least lease time, which runs down between two beats."""
    house.bus.emit(WorkerChanged(worker="w1", state="running"))
    house.bus.emit(WorkerBeat(worker="w1", at=0.0, lanes={"orders": 3}, lease_remaining={"orders": 9.0}))
    beat = house.clock.wall()
    house.clock.sleep(4)
    assert house.value("worker_heartbeat_timestamp_seconds") == beat
    assert house.value("worker_draining") == 0.0
    assert house.orders("lanes_held") == 3.0
    assert house.orders("lease_remaining_seconds") == 5.0
    house.clock.sleep(60)
    assert house.orders("lease_remaining_seconds") == 0.0
    house.bus.emit(WorkerChanged(worker="w1", state="draining"))
    assert house.value("worker_draining") == 1.0
    house.bus.emit(WorkerChanged(worker="w1", state="stopped"))
    assert house.value("worker_heartbeat_timestamp_seconds") is None
    assert house.orders("lanes_held") == 0.0
    assert house.orders("lease_remaining_seconds") is None


def test_of_several_workers_the_one_longest_silent_shows(house: House) -> None:
    """A process is as healthy as its worst worker."""
    house.bus.emit(WorkerBeat(worker="w1", at=0.0, lanes={"orders": 1}, lease_remaining={"orders": 9.0}))
    oldest = house.clock.wall()
    house.clock.sleep(1)
    house.bus.emit(WorkerBeat(worker="w2", at=0.0, lanes={"orders": 2}, lease_remaining={"orders": 3.0}))
    assert house.value("worker_heartbeat_timestamp_seconds") == oldest
    assert house.orders("lanes_held") == 3.0
    assert house.orders("lease_remaining_seconds") == pytest.approx(3.0)


def test_an_attempt_without_headers_has_no_trace_context(house: House) -> None:
    """Counted from its start, whether it is the first or not: nobody reads what is not there."""
    house.bus.emit(started(waited=0.2))
    house.bus.emit(started(waited=None))
    house.bus.emit(started(waited=0.2, headers=SAMPLED))
    assert house.orders("trace_contexts_total", result="missing") == 2.0


def test_a_store_that_is_found_again_is_counted(house: House) -> None:
    """Once per outage, by the store's kind."""
    house.bus.emit(StorageReconnected(store="sqlite"))
    assert house.value("storage_reconnects_total", store="sqlite") == 1.0


def test_dropped_telemetry_is_counted_by_what_and_why(house: House) -> None:
    """A gap in the traces is seen where no trace can tell of it."""
    house.bus.emit(TelemetryDropped(signal="traces", reason="queue_full", count=7))
    assert house.value("telemetry_dropped_total", signal="traces", reason="queue_full") == 7.0
    assert house.value("telemetry_dropped_total", signal="traces", reason="export_failed") == 0.0


def test_storage_calls_are_timed_and_their_errors_named(house: House) -> None:
    """A failed call counts in both; an operation nobody knows is `_other`."""
    house.bus.emit(StorageCalled(store="sqlite", operation="claim", seconds=0.001, error="enospc"))
    house.bus.emit(StorageCalled(store="sqlite", operation="levitate", seconds=0.001))
    seconds = "storage_operation_duration_seconds_count"
    assert house.value(seconds, store="sqlite", operation="claim") == 1.0
    assert house.value(seconds, store="sqlite", operation="_other") == 1.0
    assert house.value("storage_errors_total", store="sqlite", error="enospc") == 1.0


def test_a_detached_observer_is_counted(house: House) -> None:
    """So that broken telemetry is seen in telemetry."""
    house.bus.emit(ObserverDetached(observer="theirs", error_type="ValueError"))
    assert house.value("observer_failures_total") == 1.0


# -- exemplars -----------------------------------------------------------------------------------------


def exemplars(house: House) -> dict[str, list[dict[str, str]]]:
    """Exemplar labels by the name of their sample, as a scraper that negotiated OpenMetrics gets them."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in parsed(openmetrics(house.registry).decode()):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            if sample.exemplar:
                found.setdefault(sample.name, []).append(dict(sample.exemplar.labels))
    return found


def test_sampled_jobs_leave_exemplars_on_four_metrics(house: House) -> None:
    """Time in queue, processing, end to end and failures point to the job's trace."""
    house.bus.emit(started(waited=0.2, headers=SAMPLED))
    house.bus.emit(settled(Outcome.EXCEPTION, Action.BURY, end_to_end=1.0, headers=SAMPLED))
    ids = [{"trace_id": TRACE, "span_id": SPAN}]
    assert exemplars(house) == {
        "glassq_job_time_in_queue_seconds_bucket": ids,
        "glassq_job_processing_duration_seconds_bucket": ids,
        "glassq_job_end_to_end_duration_seconds_bucket": ids,
        "glassq_job_failures_total": ids,
    }


@pytest.mark.parametrize(
    "headers", [{}, UNSAMPLED, {"traceparent": "00-zz"}, {"traceparent": f"00-{'0' * 32}-{SPAN}-01"}]
)
def test_no_exemplar_points_to_a_trace_that_is_not_kept(house: House, headers: dict[str, str]) -> None:
    """Unsampled, missing and damaged contexts give measurements without exemplars."""
    house.bus.emit(settled(end_to_end=1.0, headers=headers))
    assert exemplars(house) == {}


def test_a_child_gets_one_exemplar_a_second(house: House) -> None:
    """The first stays until a second is over; then the next one replaces it."""
    other = {"traceparent": f"00-{'1' * 32}-{SPAN}-01"}
    house.bus.emit(settled(headers=SAMPLED))
    house.bus.emit(settled(headers=other))
    name = "glassq_job_processing_duration_seconds_bucket"
    assert exemplars(house)[name][0]["trace_id"] == TRACE
    house.clock.sleep(1.5)
    house.bus.emit(settled(headers=other))
    assert exemplars(house)[name][0]["trace_id"] == "1" * 32


def test_promtool_finds_nothing_to_complain_about(house: House) -> None:
    """Names, types and help texts pass Prometheus' own linter."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    house.bus.emit(settled(headers=SAMPLED))
    house.bus.emit(WorkerBeat(worker="w1", at=0.0, lanes={"orders": 3}, lease_remaining={"orders": 9.0}))
    text = generate_latest(house.registry)
    result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
