"""What holds rules and dashboards against the catalogue finds what is wrong."""

from __future__ import annotations

import pytest

from tests.promql import Matcher, Selector, selectors, wrong_names

RECORDED = {"queue_state:glassq_queue_depth:max", "queue:glassq_slo_success:error_ratio_1h"}


@pytest.mark.parametrize(
    "expression",
    [
        "sum by (job, queue) (rate(glassq_jobs_processed_total[5m]))",
        'max by (job, queue) (glassq_queue_depth{state=~"ready|leased", job="shop"}) > 0',
        'glassq_job_end_to_end_duration_seconds_bucket{le="60.0", queue=~".+"}',
        'sum by (le) (rate(glassq_job_end_to_end_duration_seconds_bucket{le!="+Inf"}[5m]))',
        "rate(glassq_job_end_to_end_duration_seconds_sum[5m])",
        'queue_state:glassq_queue_depth:max{state="ready"} and on (job) up == 0',
        'glassq_storage_errors_total{error="_other"}',
        "queue:glassq_slo_success:error_ratio_1h > 14.4 * 0.001",
    ],
)
def test_what_exists_is_accepted(expression: str) -> None:
    """Metrics, series of histograms, recorded series, labels of the scrape, and values of closed sets."""
    assert wrong_names(expression, RECORDED) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("sum(glassq_jobs_total)", "there is no metric glassq_jobs_total"),
        ("glassq_job_end_to_end_duration_seconds", "a histogram has the series _bucket, _count, _sum"),
        ("glassq_queue_depth_bucket", "a histogram has the series"),
        ('glassq_queue_depth{state="sleeping"}', "glassq_queue_depth has no state sleeping"),
        ('glassq_queue_depth{state=~"ready|sleeping"}', "glassq_queue_depth has no state sleeping"),
        ('glassq_queue_depth{lane="x"}', "glassq_queue_depth has no label lane"),
        ('glassq_queue_depth{le="1.0"}', "glassq_queue_depth has no label le"),
        ('glassq_job_end_to_end_duration_seconds_bucket{le="60"}', "has no bucket 60"),
        ('glassq_job_end_to_end_duration_seconds_bucket{le="45.0"}', "has no bucket 45.0"),
        ("sum by (queue, host) (glassq_queue_depth)", "no metric has the label host"),
        ("up * on (pod) glassq_queue_depth", "no metric has the label pod"),
        ("queue:glassq_queue_depth:max", "nothing records queue:glassq_queue_depth:max"),
        ('queue_state:glassq_queue_depth:max{state="gone"}', "has no state gone"),
        ('queue_state:glassq_queue_depth:max{task="x"}', "has no label task"),
    ],
)
def test_what_does_not_exist_is_named(expression: str, said: str) -> None:
    """A series that does not exist is no error to Prometheus, only an empty answer."""
    (found,) = wrong_names(expression, RECORDED)
    assert said in found


def test_selectors_are_read_with_their_conditions() -> None:
    """In order, with the alternatives of a regular expression told apart."""
    expression = (
        'a{x="1"} + glassq_queue_depth{state=~"ready|leased"} / queue:glassq_slo_success:error_ratio_1h'
    )
    assert list(selectors(expression)) == [
        Selector("glassq_queue_depth", (Matcher("state", ("ready", "leased")),)),
        Selector("queue:glassq_slo_success:error_ratio_1h", ()),
    ]
