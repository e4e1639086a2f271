"""How much is measured: a smoke test, the usual minutes, or everything."""

from __future__ import annotations

import msgspec


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds. `lanes` and `memory_lanes` cost most of the time of a full run."""

    rounds: int
    seconds: float
    """How long one contestant runs in one round."""
    wakes: int
    """Wake-ups in one round."""
    kills: int
    kill_jobs: int
    """Jobs between two kills."""
    idle_seconds: float
    backlog: int
    lanes: tuple[int, ...]
    lane_jobs: int
    """Jobs in all lanes together, at least one each."""
    memory_lanes: int
    soak_seconds: float
    peer_jobs: int


QUICK = Sizes(
    rounds=3,
    seconds=0.12,
    wakes=25,
    kills=2,
    kill_jobs=200,
    idle_seconds=6.0,
    backlog=5_000,
    lanes=(1, 100, 1_000),
    lane_jobs=1_000,
    memory_lanes=0,
    soak_seconds=3.0,
    peer_jobs=200,
)
USUAL = Sizes(
    rounds=5,
    seconds=0.7,
    wakes=100,
    kills=10,
    kill_jobs=500,
    idle_seconds=10.0,
    backlog=50_000,
    lanes=(1, 100, 1_000),
    lane_jobs=3_000,
    memory_lanes=0,
    soak_seconds=12.0,
    peer_jobs=1_000,
)
FULL = Sizes(
    rounds=7,
    seconds=1.5,
    wakes=300,
    kills=30,
    kill_jobs=1_000,
    idle_seconds=30.0,
    backlog=1_000_000,
    lanes=(1, 100, 1_000, 10_000),
    lane_jobs=30_000,
    memory_lanes=100_000,
    soak_seconds=120.0,
    peer_jobs=3_000,
)


def scaled(sizes: Sizes, factor: float) -> Sizes:
    """The same with `factor` times as many jobs. Rounds and lanes stay: without them nothing is compared."""

    def times(number: int, least: int) -> int:
        return max(least, int(number * factor))

    return msgspec.structs.replace(
        sizes,
        seconds=sizes.seconds * factor,
        wakes=times(sizes.wakes, 3),
        kill_jobs=times(sizes.kill_jobs, 20),
        idle_seconds=max(0.1, sizes.idle_seconds * factor),
        backlog=times(sizes.backlog, 2_000),
        lane_jobs=times(sizes.lane_jobs, 100),
        soak_seconds=max(2.0, sizes.soak_seconds * factor),
        peer_jobs=times(sizes.peer_jobs, 20),
    )
