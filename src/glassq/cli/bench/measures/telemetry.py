"""What being seen costs: the same work with metrics, with every span recorded, and with neither."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

from glassq.cli.bench.judge import Absent, Found, Reading
from glassq.cli.bench.program import Order
from glassq.cli.bench.rounds import alternate, enough_jobs
from glassq.cli.bench.samples import ratios
from glassq.cli.bench.stage import Stage


def cost(stage: Stage) -> list[Found]:
    """Three kinds of processes in turn: a tracer provider cannot be taken out of a process again."""
    url = stage.redis.own_url

    def seen(jobs: int) -> Order:
        return Order(do="seen", url=url, jobs=jobs)

    jobs = enough_jobs(lambda jobs: stage.timed(seen(jobs)), stage.sizes.seconds)
    orders = {"seen": seen(jobs), "unseen": Order(do="unseen", url=url, jobs=jobs)}
    if _can_trace():
        orders["traced"] = Order(do="traced", url=url, jobs=jobs)
    runs = alternate({name: partial(stage.timed, each) for name, each in orders.items()}, stage.sizes.rounds)
    rates = {name: [run.rate for run in timed] for name, timed in runs.items()}
    found: list[Found] = [
        Reading("redis.telemetry.ratio", tuple(ratios(rates["seen"], rates["unseen"]))),
    ]
    if "traced" in rates:
        found.append(Reading("redis.tracing.ratio", tuple(ratios(rates["traced"], rates["seen"]))))
    else:
        found.append(Absent("redis.tracing.ratio", "needs glassq[otel]"))
    return found


def _can_trace() -> bool:
    try:
        return find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
