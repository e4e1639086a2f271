"""What a worker takes when it holds much, and when it does nothing."""

from __future__ import annotations

from glassq.cli.bench.judge import Found, Reading
from glassq.cli.bench.program import Order
from glassq.cli.bench.rounds import alternate
from glassq.cli.bench.samples import ratios
from glassq.cli.bench.stage import Stage

_LANES = 1_000
_QUEUES = 100
_MEBIBYTE = 1 << 20


def resident(stage: Stage) -> list[Found]:
    """Memory of a worker after a thousand lanes, beside that of a raw worker after as many jobs."""
    ours = Order(do="lanes", url=stage.redis.own_url, jobs=_LANES, lanes=_LANES)
    sizes = alternate(
        {"ours": lambda: stage.answer(ours).resident, "raw": lambda: stage.raw_resident(_LANES)},
        stage.sizes.rounds,
    )
    return [
        Reading("redis.rss", tuple(size / _MEBIBYTE for size in sizes["ours"])),
        Reading("raw.rss", tuple(size / _MEBIBYTE for size in sizes["raw"])),
        Reading("redis.rss.ratio", tuple(ratios(sizes["ours"], sizes["raw"]))),
    ]


def idle(stage: Stage) -> list[Found]:
    """CPU of a worker of a hundred queues into which nothing is put."""
    order = Order(do="idle", url=stage.redis.own_url, queues=_QUEUES, seconds=stage.sizes.idle_seconds)
    return [Reading("redis.idle", (stage.number(order),), note=f"{stage.sizes.idle_seconds:g} s")]
