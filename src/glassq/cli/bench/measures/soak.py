"""Whether what a worker and its server hold stays the same, however many jobs have come and gone."""

from __future__ import annotations

from glassq.cli.bench.judge import Found, Reading
from glassq.cli.bench.program import Order
from glassq.cli.bench.stage import Stage

_LANES = 200
_MEBIBYTE = 1 << 20


def soak(stage: Stage) -> list[Found]:
    """Rounds of jobs in new lanes; what is held between two rounds, when all is empty."""
    order = Order(
        do="soak",
        url=stage.redis.own_url,
        server=stage.redis.url,
        lanes=_LANES,
        seconds=stage.sizes.soak_seconds,
    )
    held = stage.held(order)
    first, middle, last = held[0], held[len(held) // 2], held[-1]
    note = f"{last.jobs:,} jobs in {last.jobs // 2:,} lanes, {last.seconds:.0f} s"
    return [
        Reading("redis.soak.rss", (last.resident / middle.resident,), note=note),
        Reading("redis.soak.files", (float(last.descriptors - first.descriptors),)),
        Reading("redis.soak.memory", (last.server / first.server,)),
        Reading("redis.soak.base", (last.server / _MEBIBYTE,)),
    ]
