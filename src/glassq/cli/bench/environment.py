"""On what the figures were measured: without it they mean nothing."""

from __future__ import annotations

import os
import platform
import sqlite3

import msgspec
import redis

from glassq.cli.bench.peers.runner import FEMTOQUEUE, ON_REDIS
from glassq.cli.bench.servers import RedisServer
from glassq.version import __version__


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Versions, cores, and how busy the machine was (load of the last minute) before and after."""

    glassq: str
    python: str
    system: str
    cores: int
    redis_py: str
    sqlite: str
    server: str | None
    server_origin: str | None
    peers: dict[str, str | None]
    load_before: float
    load_after: float


def load() -> float:
    """Processes that wanted to run over the last minute, on average."""
    return os.getloadavg()[0]


def describe(server: RedisServer | None) -> Environment:
    """What there is here now, before anything is measured: a server may be gone afterwards."""
    now = load()
    return Environment(
        glassq=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=_cores(),
        redis_py=redis.__version__,
        sqlite=sqlite3.sqlite_version,
        server=_server_version(server),
        server_origin=None if server is None else server.origin,
        peers={peer.name: peer.version() for peer in (*ON_REDIS, FEMTOQUEUE)},
        load_before=now,
        load_after=now,
    )


def _cores() -> int:
    """Those this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _server_version(server: RedisServer | None) -> str | None:
    if server is None:
        return None
    info = server.info("server")
    return (
        f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    )
