"""Redis servers that are killed, damaged, replaced and set to another time while programs use them."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from tests.conformance.redisservers import bundled_server, running, system_server
from tests.processes import wait_until

AOF_ALWAYS: Final = ("--appendonly", "yes", "--appendfsync", "always")
AOF_EVERYSEC: Final = ("--appendonly", "yes", "--appendfsync", "everysec")
NO_AOF: Final = ("--appendonly", "no")
_PORTS = range(20000, 30000)
_offsets = itertools.count(os.getpid() * 7)


class RedisServer:
    """One server with a port and a folder of its own, which it keeps through its deaths."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        debugging: bool = False,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = steady_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.starts = 0
        self.pid = 0
        self._binary = any_server() if environment is None else server_without_jemalloc()
        # From Redis 7 on DEBUG has to be allowed.
        allow = ("--enable-debug-command", "yes") if debugging and _version(self._binary) >= 7 else ()
        self._options = (*options, *allow)
        self._environment = environment
        self._life = ExitStack()

    def start(self) -> None:
        """Start it, with what its files still hold, and wait until it answers."""
        self._life.enter_context(
            running(
                self._binary,
                self.folder,
                *self._options,
                port=self.port,
                environment=self._environment,
            )
        )
        self.starts += 1
        self.pid = int(self.figure("server", "process_id"))

    def kill(self) -> None:
        """`kill -9`, and wait for its end. Killing a dead one changes nothing."""
        self._life.close()

    def restart(self) -> None:
        """`kill -9` and start."""
        self.kill()
        self.start()

    @contextmanager
    def admin(self) -> Iterator[redis.Redis]:
        """A connection of the one who administers it."""
        with redis.Redis(port=self.port, socket_timeout=30, decode_responses=True) as client:
            yield client

    def figure(self, section: str, name: str) -> Any:
        """A figure of `INFO`."""
        with self.admin() as admin:
            return admin.info(section)[name]

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        os.kill(self.pid, number)

    def log_size(self) -> int:
        """The bytes in the end of its append-only file."""
        return self._log().stat().st_size

    def cut_log(self, count: int) -> int:
        """Take bytes off the end of the append-only file of a dead server, as a power loss does; how many."""
        log = self._log()
        size = log.stat().st_size
        cut = min(count, size)
        os.truncate(log, size - cut)
        return cut

    def rewrite_log(self) -> None:
        """Have it write its append-only file anew, as is to be done after a power loss.

        Servers up to Redis 8 and Valkey 9.0 cut a log that ends within a transaction after that transaction's
        last whole command, not before its first: the next restart would carry out the half of it.
        """
        with self.admin() as admin:
            admin.bgrewriteaof()
        wait_until(
            lambda: (
                not self.figure("persistence", "aof_rewrite_in_progress")
                and not self.figure("persistence", "aof_rewrite_scheduled")
            ),
            "the log to be rewritten",
            lambda: (self.folder / "redis.log").read_text()[-2000:],
        )

    def _log(self) -> Path:
        # Redis 7 and newer begin a new part at every rewrite; 6.2 has one file.
        parts = sorted(self.folder.glob("appendonlydir/*.incr.aof"), key=lambda part: part.stat().st_mtime)
        return parts[-1] if parts else self.folder / "appendonly.aof"


@contextmanager
def serving(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None, debugging: bool = False
) -> Iterator[RedisServer]:
    """A server that runs, and is gone at the end. With `debugging` it takes the command DEBUG."""
    server = RedisServer(folder, *options, environment=environment, debugging=debugging)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def following(folder: Path, port: int) -> Iterator[RedisServer]:
    """A replica of the server on this port that is in step with it."""
    with serving(folder, "--replicaof", "127.0.0.1", str(port)) as replica:
        wait_until(
            lambda: replica.figure("replication", "master_link_status") == "up",
            "the replica to be in step",
            lambda: (replica.folder / "redis.log").read_text()[-2000:],
        )
        yield replica


def any_server() -> str:
    """The installed `redis-server`, else the one a Python package brings; skips where there is none."""
    with contextlib.suppress(pytest.skip.Exception):
        return system_server()
    return bundled_server()


def server_without_jemalloc() -> str:
    """One that a preloaded library can set the clock of: jemalloc asks for the time before such a library has
    begun, which asks for memory first. Skips where there is none."""
    for find in (system_server, bundled_server):
        with contextlib.suppress(pytest.skip.Exception):
            binary = find()
            if "malloc=jemalloc" not in _about(binary):
                return binary
    pytest.skip("each redis-server here uses jemalloc, with which libfaketime cannot begin")


def _version(binary: str) -> int:
    """The major version of a server."""
    found = re.search(r"v=(\d+)", _about(binary))
    assert found
    return int(found[1])


def _about(binary: str) -> str:
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout


def steady_port() -> int:
    """A free port below those the kernel gives to outgoing connections.

    A client that tries, again and again, to reach a server that is away could be given the server's own port
    otherwise: it would then speak to itself, and the server could not come back.
    """
    for _ in _PORTS:
        port = _PORTS[next(_offsets) % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port for a server")


# -- the server's clock ---------------------------------------------------------------------------------


class ServerClock:
    """The wall clock of a server, set ahead or back while it runs; its timers go on. Needs `faketime`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        self.environment = {
            "LD_PRELOAD": _faketime_library(),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """So far from the true time from now on; the next look at the clock sees it."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}\n")
        beside.rename(self._file)


def _faketime_library() -> str:
    """What `faketime` would have its programs load; skips where it is not installed."""
    if shutil.which("faketime") is None:
        pytest.skip("no faketime on the PATH (Debian, Ubuntu: apt install faketime)")
    found = subprocess.run(
        ["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


# -- chance ---------------------------------------------------------------------------------------------


def some_bytes(chance: random.Random, size: int) -> int:
    """How much a power loss takes: mostly a little, sometimes most of it."""
    return min(size, int(chance.paretovariate(0.7) * 1000))
