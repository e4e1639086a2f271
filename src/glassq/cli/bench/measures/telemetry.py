"""What being seen costs: the same work with metrics, with every span recorded, and with neither."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec

from glassq.cli.bench.judge import Absent, Found
from glassq.cli.bench.measures.rates import against
from glassq.cli.bench.meters import Timed
from glassq.cli.bench.ours import Ours
from glassq.cli.bench.program import Order
from glassq.cli.bench.rounds import PASSES, by_passes, enough_jobs
from glassq.cli.bench.stage import Stage


def cost(stage: Stage) -> list[Found]:
    """Three kinds of processes in turn: a tracer provider cannot be taken out of a process again. All are
    there at once, so that turns can be short; each round has new ones, as no two are equally fast."""
    url = stage.redis.own_url
    with Ours(url) as ours:
        jobs = enough_jobs(ours.fill_and_process, stage.sizes.seconds / PASSES)
    orders = {
        "seen": Order(do="seen", url=url, jobs=jobs),
        "unseen": Order(do="unseen", url=url, jobs=jobs),
    }
    if _can_trace():
        orders["traced"] = Order(do="traced", url=url, jobs=jobs)
    rounds = [_round(stage, orders) for _ in range(stage.sizes.rounds)]
    runs = {name: [each[name] for each in rounds] for name in orders}
    found: list[Found] = [against(runs, "seen", "unseen", "redis.telemetry.ratio")]
    if "traced" in runs:
        found.append(against(runs, "traced", "seen", "redis.tracing.ratio"))
    else:
        found.append(Absent("redis.tracing.ratio", "needs glassq[otel]"))
    return found


def _round(stage: Stage, orders: Mapping[str, Order]) -> dict[str, Timed]:
    """What new processes make of the orders."""
    with ExitStack() as stack:
        contestants = {name: stack.enter_context(stage.contestant(order)) for name, order in orders.items()}
        return {name: run for name, (run,) in by_passes(contestants, rounds=1).items()}


def _can_trace() -> bool:
    try:
        return find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
