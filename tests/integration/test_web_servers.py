"""Under real web servers of several processes: what each enqueues and runs is in order, nothing of a store is
shared between processes, and a server that is told to end loses and repeats nothing."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.testing.history import check, dump, read
from tests.conformance.redisservers import free_port
from tests.processes import state_of, wait_until

ROOT = Path(__file__).parents[2]
CUSTOMERS, EACH = "abcdef", 20

gunicorn = pytest.mark.skipif(find_spec("gunicorn") is None, reason="gunicorn is not installed")
both = pytest.mark.skipif(find_spec("uvicorn_worker") is None, reason="uvicorn-worker is not installed")

GUNICORN = ("-m", "gunicorn", "--workers", "2", "--no-control-socket", "--bind", "127.0.0.1:{port}")
FORKED = (*GUNICORN, "--config", "tests/integration/gunicorn_works.py", "tests.integration.webserved:wsgi")
ASYNC = (*GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker", "tests.integration.webserved:asgi")
UVICORN = ("-m", "uvicorn", "--workers", "2", "--port", "{port}", "tests.integration.webserved:asgi")


class Server:
    """A web server of several processes, and who they are."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def ask(self, customer: str, number: int) -> dict[str, Any]:
        """One request on a connection of its own, so that any process may get it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", f"/?customer={customer}&number={number}")
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        connection.close()
        told: dict[str, Any] = json.loads(body)
        return told

    def ask_together(self) -> dict[str, list[int]]:
        """As several customers do, each one request after the other, until both processes have answered; the
        places that each one's jobs got."""
        pids: set[int] = set()

        def ask_on(customer: str) -> list[int]:
            answers: list[dict[str, Any]] = []
            while len(answers) < EACH or len(pids) < 2:
                assert len(answers) < 1000, "both processes answer"
                answers.append(self.ask(customer, len(answers)))
                pids.add(answers[-1]["pid"])
            return [each["seq"] for each in answers]

        with ThreadPoolExecutor(len(CUSTOMERS)) as customers:
            return dict(zip(CUSTOMERS, customers.map(ask_on, CUSTOMERS), strict=True))

    def processes(self) -> list[int]:
        """The one that was started, and those it has started."""
        pid = self.process.pid
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, below)]


@contextmanager
def serving(words: tuple[str, ...], folder: Path, url: str) -> Iterator[Server]:
    """The server that this command starts, once it listens."""
    port = free_port()
    environment = {
        **os.environ,
        "GLASSQ_URL": url,
        "HISTORY": str(folder / "history"),
        "PACKED": str(folder / "packed"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "default",  # what web servers deprecate is not ours
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        command = [sys.executable, *(word.format(port=port) for word in words)]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until(lambda: listens(port), "the server to listen", log.read_text, 30)
        yield Server(process, port)
    finally:
        with suppress(ProcessLookupError):  # all of them have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(port: int) -> bool:
    """Whether somebody answers there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def runs(pid: int) -> bool:
    """Whether this process is there, and not only waited for by nobody."""
    try:
        return state_of(pid) != "Z"
    except FileNotFoundError:
        return False


def connections(pid: int, port: int) -> set[str]:
    """The sockets of a process that lead to this port, as the kernel numbers them."""
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    there = {f"socket:[{row[9]}]" for row in rows if int(row[2].rpartition(":")[2], 16) == port}
    held = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(str(each.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return there & held


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "store_url"),
    [
        pytest.param((*FORKED, "--preload"), "redis", id="gunicorn-preload-redis", marks=gunicorn),
        pytest.param(FORKED, "sqlite", id="gunicorn-sqlite", marks=gunicorn),
        pytest.param((*ASYNC, "--preload"), "sqlite", id="gunicorn-uvicorn-preload-sqlite", marks=both),
        pytest.param(ASYNC, "redis", id="gunicorn-uvicorn-redis", marks=both),
        pytest.param(UVICORN, "redis", id="uvicorn-redis"),
        pytest.param(UVICORN, "sqlite", id="uvicorn-sqlite"),
    ],
    indirect=["store_url"],
)
def test_processes_of_a_web_server(words: tuple[str, ...], store_url: str, tmp_path: Path) -> None:
    """Requests of one customer are answered by any process and run by any; SIGTERM in the midst of it lets
    running jobs end, and whoever comes next takes over at once. Each job ran once, in its order."""
    (tmp_path / "history").mkdir(mode=0o700)
    with serving(words, tmp_path, store_url) as server:
        asked = server.ask_together()
        if store_url.startswith("redis"):
            port = urlsplit(store_url).port or 0
            held = Counter(each for pid in server.processes() for each in connections(pid, port))
            assert set(held.values()) == {1}, "each connection belongs to one process"
        pids = server.processes()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) in (0, -signal.SIGTERM), (tmp_path / "server.log").read_text()
        wait_until(lambda: not any(map(runs, pids)), "all processes to end", lambda: pids, 10)
    assert "Traceback" not in (tmp_path / "server.log").read_text()
    finish(tmp_path, store_url)
    packed = [line.split() for line in (tmp_path / "packed").read_text().splitlines()]
    for customer, places in asked.items():
        assert sorted(places) == places, "each call began after the last one"
        assert [int(number) for name, number, _ in packed if name == customer] == [*range(len(places))]
    imported = [name for name, *_ in packed if name.startswith("import-")]
    assert len(imported) == len(set(imported)) == len(packed) - sum(map(len, asked.values()))
    assert len({pid for *_, pid in packed}) > 1, "several processes work"


def finish(folder: Path, url: str) -> None:
    """Run what is left, without waiting for leases, and have the history checked."""
    with Glassq(url, registry=CollectorRegistry(), history=folder / "history") as app:

        @app.fifo("orders", key="customer", name="pack")
        def pack(customer: str, number: int) -> None:
            with (folder / "packed").open("a") as packed:
                packed.write(f"{customer} {number} {os.getpid()}\n")

        assert app.worker().run_until_idle(timeout=10)
        dump(app.storage, folder / "history")
    report = check(read([folder / "history"]))
    assert not report.findings, report.findings[:5]
