"""Every row of the report: what it is, in which unit, its floor and aim, and how it is measured.

Floors must hold, aims are tried for. Rows without a floor are shown, because the ratios come from them.
Floors that are times were set on one machine: they are judged at its pace where that is known (`pace.py`).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Judged(StrEnum):
    """Which of the rounds' values counts."""

    MEDIAN = "median"
    WORST = "worst"


_TIMES = ("µs", "ms")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One row before it is measured. `at_most`: smaller is better, so the floor is a ceiling."""

    key: str
    section: str
    label: str
    unit: str
    how: str
    floor: float | None = None
    aim: float | None = None
    at_most: bool = False
    judged: Judged = Judged.MEDIAN

    @property
    def is_time(self) -> bool:
        """Whether it depends on how fast the machine is, as a ratio, a count or a size does not."""
        return self.unit in _TIMES


def _shown(key: str, section: str, label: str, unit: str, how: str) -> Target:
    return Target(key=key, section=section, label=label, unit=unit, how=how)


def _rate(key: str, section: str, label: str, how: str) -> Target:
    return _shown(key, section, label, "jobs/s", how)


def _ratio(key: str, section: str, label: str, floor: float, aim: float, how: str) -> Target:
    return Target(key=key, section=section, label=label, unit="x", floor=floor, aim=aim, how=how)


def _ceiling(key: str, section: str, label: str, unit: str, limits: tuple[float, float], how: str) -> Target:
    floor, aim = limits
    return Target(
        key=key, section=section, label=label, unit=unit, floor=floor, aim=aim, at_most=True, how=how
    )


def _never_above(key: str, section: str, label: str, unit: str, most: float, how: str) -> Target:
    return Target(
        key=key,
        section=section,
        label=label,
        unit=unit,
        floor=most,
        at_most=True,
        judged=Judged.WORST,
        how=how,
    )


PACE = "Pace of this machine, against the one on which the floors in times were set"
"""Section of the rows that tell it; the raw loops themselves stand beside ours."""

_ENQUEUE = "Enqueue on Redis"
_PROCESS = "Process on Redis"
_TELEMETRY = "Cost of telemetry"
_LANES = "Scaling"
_LATENCY = "Idle wake-up, from the call to the start of the job, between processes"
_KILLS = "kill -9 of a worker process"
_FOOTPRINT = "Footprint"
_SQLITE = "SQLite"
_PEERS = "Peers on Redis, no-op jobs: one producer, one worker"

_RESIDENT = "resident memory of a process of its own after its work"
_CPU = "CPU time of the process and INFO cpu of the server, in those runs"
_TURNS = "no-op jobs spread evenly over 100 lanes, turns of one job"
_ONE_BY_ONE = "one call after the other, metrics on"
_LOOP = "no-op jobs from a full queue, first start to last start, metrics on, no tracing"
_SPREAD = "no-op jobs spread evenly over the lanes, one worker, against one lane"
_IN_CHILDREN = "processing in a process of its own each, in turns"
_SOAK = "round after round of jobs in new lanes, some of which fail or are delayed; measured while empty"
_WAKE = "a call every 20 ms to an idle worker in another process, monotonic clock of the host"
_BARE_WAKE = "XADD through redis-py, heard by an XREAD BLOCK in another process, in turns with ours"
_KILL = "a worker process killed at a random job and started again, each job noted as it starts"


_PACES = [
    _shown(
        "raw.pace.cpu", PACE, "CPU time", "x", "raw loops, in turns with ours; the middle of four figures"
    ),
    _shown("raw.pace.wake", PACE, "wake-ups", "x", "bare wake-ups, in turns with ours; the median"),
]


def _bare_wakeups() -> list[Target]:
    kinds = {"p50": "median", "p99": "99 of 100", "max": "longest"}
    return [
        _shown(f"raw.wake.{key}", _LATENCY, f"bare XREAD BLOCK, {name}", "ms", _BARE_WAKE)
        for key, name in kinds.items()
    ]


def _wakeups(store: str, name: str, p50: tuple[float, float], p99: tuple[float, float]) -> list[Target]:
    return [
        _ceiling(f"{store}.wake.p50", _LATENCY, f"{name}, median", "ms", p50, _WAKE),
        _ceiling(f"{store}.wake.p99", _LATENCY, f"{name}, 99 of 100", "ms", p99, _WAKE),
        _shown(f"{store}.wake.max", _LATENCY, f"{name}, longest", "ms", _WAKE),
    ]


def _kills(store: str, name: str) -> list[Target]:
    return [
        _never_above(f"{store}.kill.reruns", _KILLS, f"{name}: run again, per kill", "jobs", 1, _KILL),
        _never_above(f"{store}.kill.disorder", _KILLS, f"{name}: order violations", "jobs", 0, _KILL),
        _never_above(f"{store}.kill.lost", _KILLS, f"{name}: lost", "jobs", 0, _KILL),
    ]


_AWAITED = "64 tasks of one event loop, each one call after the other, metrics on"
_BURST = "all begun in one step of one event loop; how late a task that sleeps 1 ms wakes, at most"
_REDIS_RATES = [
    _rate("redis.enqueue.one", _ENQUEUE, "one at a time", _ONE_BY_ONE),
    _rate("raw.add.one", _ENQUEUE, "redis-py XADD, one at a time", "one call after the other"),
    _ratio("redis.enqueue.one.ratio", _ENQUEUE, "one at a time, against XADD", 0.7, 0.9, _ONE_BY_ONE),
    _rate("redis.enqueue.many", _ENQUEUE, "enqueue_many by 100", "100 calls a time, metrics on"),
    _rate("raw.add.piped", _ENQUEUE, "redis-py XADD, pipelined by 100", "100 commands a pipeline"),
    _ratio(
        "redis.enqueue.many.ratio", _ENQUEUE, "enqueue_many, against pipelined XADD", 0.8, 1.2, "by 100 each"
    ),
    _shown("redis.cpu.producer", _ENQUEUE, "one at a time: client CPU per job", "µs", _CPU),
    _shown("redis.cpu.append", _ENQUEUE, "one at a time: server CPU per job", "µs", _CPU),
    _rate("redis.enqueue.async", _ENQUEUE, "awaited, 64 at once", _AWAITED),
    _rate("raw.add.async", _ENQUEUE, "redis.asyncio XADD, 64 at once", "the same calls of a client"),
    _ratio("redis.enqueue.async.ratio", _ENQUEUE, "awaited, against redis.asyncio XADD", 2, 4, _AWAITED),
    _shown(
        "redis.enqueue.burst", _ENQUEUE, "10,000 awaited at once: longest stall of the loop", "ms", _BURST
    ),
    _shown("raw.burst", _ENQUEUE, "10,000 coroutines that do nothing: longest stall", "ms", _BURST),
    _rate("redis.process", _PROCESS, "one lane", _LOOP),
    _rate("raw.window", _PROCESS, "reference loop", "XREADGROUP 100, JSON decoded, XACKs pipelined"),
    _rate("raw.one", _PROCESS, "XREADGROUP 1 + XACK", "two round trips a job"),
    _shown("raw.cpu.worker", _PROCESS, "reference loop: worker CPU per job", "µs", _CPU),
    _shown("raw.cpu.server", _PROCESS, "reference loop: server CPU per job", "µs", _CPU),
    _ratio("redis.process.ratio", _PROCESS, "one lane, against the reference loop", 0.5, 0.8, _LOOP),
    _ratio("redis.process.raw.ratio", _PROCESS, "one lane, against XREADGROUP 1 + XACK", 6, 10, _LOOP),
    _ceiling("redis.cpu.worker", _PROCESS, "worker CPU per job", "µs", (25, 15), _CPU),
    _ceiling("redis.cpu.server", _PROCESS, "server CPU per job", "µs", (14, 10), _CPU),
    _ceiling("redis.cpu.worker.turn", _PROCESS, "worker CPU per job, turns of one", "µs", (25, 15), _TURNS),
    _ceiling("redis.cpu.server.turn", _PROCESS, "server CPU per job, turns of one", "µs", (22, 10), _TURNS),
]
_SCALING = [
    _ratio(
        "redis.backlog.ratio",
        _LANES,
        "rate with a long backlog, against 1,000",
        0.9,
        1.0,
        "the head of a queue that stays long against a queue of 1,000",
    ),
    _rate("redis.lanes.1", _LANES, "1 lane", _SPREAD),
    _rate("redis.lanes.100", _LANES, "100 lanes, turns of one job", _SPREAD),
    _rate("redis.lanes.1000", _LANES, "1,000 lanes, turns of one job", _SPREAD),
    _ratio("redis.lanes.1000.turn1", _LANES, "1,000 lanes, turns of one job", 0.4, 0.5, _SPREAD),
    _ratio("redis.lanes.1000.turn32", _LANES, "1,000 lanes, turns up to 32", 0.8, 1.2, _SPREAD),
    _ratio("redis.lanes.10000.turn1", _LANES, "10,000 lanes, turns of one job", 0.4, 0.5, _SPREAD),
    _ratio("redis.lanes.10000.turn32", _LANES, "10,000 lanes, turns up to 32", 0.8, 1.2, _SPREAD),
    _ceiling(
        "redis.memory",
        _LANES,
        "server memory per job, 100,000 lanes with one job each",
        "B",
        (700, 600),
        "INFO memory, used_memory before and after",
    ),
]
_COSTS = [
    _ratio(
        "redis.telemetry.ratio",
        _TELEMETRY,
        "metrics, health and logs, against none",
        0.85,
        0.95,
        _IN_CHILDREN,
    ),
    _ratio("redis.tracing.ratio", _TELEMETRY, "every job traced, against untraced", 0.4, 0.5, _IN_CHILDREN),
]
_SIZES = [
    _ceiling(
        "redis.rss.ratio",
        _FOOTPRINT,
        "RSS of a worker of 1,000 lanes, against a raw redis-py worker",
        "x",
        (1.5, 1.3),
        _RESIDENT,
    ),
    _shown("redis.rss", _FOOTPRINT, "RSS of a worker of 1,000 lanes", "MiB", _RESIDENT),
    _shown("raw.rss", _FOOTPRINT, "RSS of a raw redis-py worker", "MiB", _RESIDENT),
    _ceiling(
        "redis.idle",
        _FOOTPRINT,
        "CPU of an idle worker with 100 queues, of a core",
        "%",
        (0.3, 0.05),
        "CPU time of its process over a while in which nothing is enqueued",
    ),
    _ceiling("redis.soak.rss", _FOOTPRINT, "soak: RSS, against halfway", "x", (1.05, 1.02), _SOAK),
    _never_above("redis.soak.files", _FOOTPRINT, "soak: more file descriptors", "files", 0, _SOAK),
    _ceiling(
        "redis.soak.memory",
        _FOOTPRINT,
        "soak: server memory, against after the first round",
        "x",
        (1.05, 1.02),
        _SOAK,
    ),
    _shown("redis.soak.base", _FOOTPRINT, "soak: server memory in the end", "MiB", _SOAK),
]
_FILE = [
    _rate("sqlite.enqueue", _SQLITE, "enqueue one at a time", _ONE_BY_ONE),
    _rate("sqlite.process", _SQLITE, "process, one lane", _LOOP),
    _rate("femtoqueue.enqueue", _SQLITE, "femtoqueue: push", "a process of its own"),
    _rate("femtoqueue.process", _SQLITE, "femtoqueue: pop and done", "a process of its own"),
    _rate("dropin.enqueue", _SQLITE, "our FemtoQueue: push", "a process of its own"),
    _rate("dropin.process", _SQLITE, "our FemtoQueue: pop and done", "a process of its own"),
    _shown("dropin.enqueue.ratio", _SQLITE, "our FemtoQueue: push, against femtoqueue", "x", "alternating"),
    _shown(
        "dropin.process.ratio",
        _SQLITE,
        "our FemtoQueue: pop and done, against femtoqueue",
        "x",
        "alternating",
    ),
    _ratio("sqlite.enqueue.ratio", _SQLITE, "enqueue, against femtoqueue", 1.2, 2, "alternating"),
    _ratio("sqlite.process.ratio", _SQLITE, "process, against femtoqueue", 1.2, 2, "alternating"),
]
_AGAINST_PEERS = [
    _ratio("peers.pyfiq.ratio", _PEERS, "process, against pyfiq", 3, 6, "in the same rounds"),
    _ratio(
        "peers.best.ratio",
        _PEERS,
        "process, against the best of the others",
        8,
        15,
        "in the same rounds, the fastest of those that are installed",
    ),
]


def peer_targets(name: str) -> list[Target]:
    """The two rows of a peer on Redis."""
    how = "a process of its own, idiomatic minimal code, first start to last start"
    return [
        _rate(f"peers.{name}.enqueue", _PEERS, f"{name}: enqueue", how),
        _rate(f"peers.{name}.process", _PEERS, f"{name}: process", how),
    ]


TARGETS: dict[str, Target] = {
    target.key: target
    for target in (
        *_PACES,
        *_REDIS_RATES,
        *_SCALING,
        *_COSTS,
        *_bare_wakeups(),
        *_wakeups("redis", "Redis", (1, 0.5), (3, 1.5)),
        *_wakeups("sqlite", "SQLite", (1, 0.5), (5, 1.5)),
        *_kills("redis", "Redis"),
        *_kills("sqlite", "SQLite"),
        *_SIZES,
        *_FILE,
        *_AGAINST_PEERS,
    )
}
"""All rows but those of single peers, by key, in the order of the report."""
