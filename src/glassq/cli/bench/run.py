"""A run from beginning to end: a server, every measure in its turn, a row for every target."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import redis

from glassq.cli.bench.environment import Environment, describe, load
from glassq.cli.bench.judge import Absent, Found, Row, judge
from glassq.cli.bench.measures import (
    awaited,
    file,
    footprint,
    kills,
    rates,
    rivals,
    scaling,
    soak,
    telemetry,
    wakeups,
)
from glassq.cli.bench.peers.runner import ON_REDIS
from glassq.cli.bench.servers import RedisServer, given_server, installed_server, own_server
from glassq.cli.bench.sizes import Sizes
from glassq.cli.bench.stage import Stage
from glassq.cli.bench.targets import TARGETS, Target, peer_targets

NO_SERVER = "no Redis server (none is installed, and --url names none)"
_NOT_ASKED = "needs --peers"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said. `url` names a Redis server; `file_only` measures SQLite alone."""

    sizes: Sizes
    url: str | None = None
    peers: bool = False
    file_only: bool = False


class Report(msgspec.Struct, frozen=True):
    """What a run found."""

    environment: Environment
    sizes: Sizes
    rows: tuple[Row, ...]


class Measure(msgspec.Struct, frozen=True):
    """One measure: what is said while it runs, what it does, which targets it is responsible for."""

    title: str
    find: Callable[[Stage], list[Found]]
    keys: tuple[str, ...]


def all_targets() -> list[Target]:
    """Every row there is, in the order of the report."""
    peers = [target for peer in ON_REDIS for target in peer_targets(peer.name)]
    return [*TARGETS.values(), *peers]


_BY_KEY = {target.key: target for target in all_targets()}


def _keys(*prefixes: str) -> tuple[str, ...]:
    return tuple(key for key in TARGETS if key.startswith(prefixes))


ON_REDIS_MEASURES = (
    Measure(
        "enqueue one at a time",
        rates.enqueue_one,
        (
            *_keys("redis.enqueue.one", "raw.add.one"),
            "redis.cpu.producer",
            "redis.cpu.append",
        ),
    ),
    Measure("awaited enqueue", awaited.enqueue_awaited, _keys("redis.enqueue.async", "raw.add.async")),
    Measure("awaited at once", awaited.burst, ("redis.enqueue.burst", "raw.burst")),
    Measure("enqueue_many", rates.enqueue_many, _keys("redis.enqueue.many", "raw.add.piped")),
    Measure(
        "process one lane, and many in turns",
        rates.process,
        (
            *_keys("redis.process", "raw.window", "raw.one", "raw.cpu"),
            *_keys("redis.cpu.worker", "redis.cpu.server"),
            "raw.pace.cpu",
        ),
    ),
    Measure("long backlog", scaling.backlog, _keys("redis.backlog")),
    Measure("many lanes", scaling.lanes, _keys("redis.lanes")),
    Measure("memory of lanes", scaling.memory, _keys("redis.memory")),
    Measure("cost of telemetry", telemetry.cost, _keys("redis.telemetry", "redis.tracing")),
    Measure("idle wake-up over Redis", wakeups.over_redis, _keys("redis.wake", "raw.wake", "raw.pace.wake")),
    Measure("kill -9 on Redis", kills.on_redis, _keys("redis.kill")),
    Measure("resident memory", footprint.resident, _keys("redis.rss", "raw.rss")),
    Measure("idle worker", footprint.idle, _keys("redis.idle")),
    Measure("soak", soak.soak, _keys("redis.soak")),
)
ON_SQLITE_MEASURES = (
    Measure(
        "enqueue and process on SQLite",
        file.rates,
        _keys("sqlite.enqueue", "sqlite.process", "femtoqueue", "dropin"),
    ),
    Measure("idle wake-up over SQLite", wakeups.over_sqlite, _keys("sqlite.wake")),
    Measure("kill -9 on SQLite", kills.on_sqlite, _keys("sqlite.kill")),
)
PEERS_MEASURE = Measure(
    "peers",
    rivals.peers,
    (*(target.key for peer in ON_REDIS for target in peer_targets(peer.name)), *_keys("peers.")),
)


def run(options: Options, tell: Callable[[str], None]) -> Report:
    """Measure everything; `tell` hears what is being done. All processes have ended when this is left."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glassq-bench-")))
        server = _server(options, scratch, stack)
        if server is None:
            tell(f"only SQLite, because of {'--sqlite-only' if options.file_only else NO_SERVER}")
        environment = describe(server)
        rows = {row.key: row for row in _all(Stage(options.sizes, scratch, server), options, tell)}
    return Report(
        msgspec.structs.replace(environment, load_after=load()),
        options.sizes,
        tuple(rows[target.key] for target in all_targets()),
    )


def _server(options: Options, scratch: Path, stack: ExitStack) -> RedisServer | None:
    if options.file_only:
        return None
    if options.url is not None:
        return stack.enter_context(given_server(options.url, whole=options.peers))
    installed = installed_server()
    return None if installed is None else stack.enter_context(own_server(*installed, scratch))


def _all(stage: Stage, options: Options, tell: Callable[[str], None]) -> Iterator[Row]:
    """Every measure that can be taken, and why the others cannot."""
    reason = "left out by --sqlite-only" if options.file_only else NO_SERVER
    for measure in (*ON_REDIS_MEASURES, PEERS_MEASURE):
        if stage.server is None:
            yield from _absent(measure.keys, reason)
        elif measure is PEERS_MEASURE and not options.peers:
            yield from _absent(measure.keys, _NOT_ASKED)
        else:
            yield from _taken(measure, stage, tell)
    for measure in ON_SQLITE_MEASURES:
        yield from _taken(measure, stage, tell)


def _taken(measure: Measure, stage: Stage, tell: Callable[[str], None]) -> list[Row]:
    """The rows of one measure. One that fails, in whatever way, says so in its rows, and the others go on:
    what was measured before is minutes of work."""
    tell(measure.title)
    try:
        found = {each.key: each for each in measure.find(stage)}
        return [judge(_BY_KEY[key], found[key]) for key in measure.keys]
    except Exception as error:  # licensed: around one measure, whose failure is a row
        return _absent(measure.keys, f"{type(error).__name__}: {error}", failed=True)
    finally:
        if stage.server is not None:
            with suppress(redis.RedisError):  # a server that is gone fails the next measure by itself
                stage.server.clear()


def _absent(keys: Iterable[str], reason: str, *, failed: bool = False) -> list[Row]:
    return [judge(_BY_KEY[key], Absent(key, reason, failed)) for key in keys]
