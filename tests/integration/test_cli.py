"""`glassq worker`, `stats` and `health` as real processes on a real store."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SHOP = """
import pathlib, time
from glassq.app import Glassq

app = Glassq("sqlite:///shop.db")

@app.fifo("payments", key="order")
def charge(order: str) -> None:
    with open("charged", "a") as file:
        print(order, file=file)

@app.fifo("mails")
def linger(seconds: float) -> None:
    pathlib.Path("lingering").touch()
    time.sleep(seconds)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with an application in it."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def start(shop: Path) -> Iterator[Start]:
    """Starts `glassq ...` in the background; whatever is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "glassq", *arguments],
            cwd=shop,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def glassq(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command from beginning to end."""
    return subprocess.run(
        [sys.executable, "-m", "glassq", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def enqueue(shop: Path, code: str) -> None:
    """Enqueue from a process of its own."""
    subprocess.run([sys.executable, "-c", f"import shop; {code}; shop.app.close()"], cwd=shop, check=True)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what another process is about to do."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


def first_line(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line of its output that matches."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found
    pytest.fail(f"no line matched {pattern!r}: {process.communicate()[1]}")


def get(url: str) -> str:
    """One page."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def test_a_worker_serves_what_waited_for_it_and_stops_cleanly(shop: Path, start: Start) -> None:
    """Jobs enqueued before the worker existed run in order; it says where its pages are, and SIGTERM ends it
    with exit code 0."""
    enqueue(shop, "[shop.charge(f'o-{n}') for n in range(3)]")
    worker = start("worker", "shop:app", "--queues", "payments", "--http", "127.0.0.1:0")
    first_line(worker, r"^glassq worker of shop:app on sqlite:///.*shop.db$")
    said = first_line(worker, r"^queues payments; 4 lanes at once; pid (\d+)$")
    assert int(said.group(1)) == worker.pid
    url = first_line(worker, r"(http://127\.0\.0\.1:\d+)/metrics").group(1)
    charged = shop / "charged"
    until(lambda: charged.exists() and len(charged.read_text().splitlines()) == 3)
    until(lambda: 'outcome="succeeded",queue="payments"' in get(f"{url}/metrics"))
    assert '"status"' in get(f"{url}/healthz")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0
    settled = json.loads(glassq(shop, "stats", "--url", "sqlite:///shop.db", "--json").stdout)[0]
    assert (settled["depth"], settled["settled"]["succeeded"]) == (0, 3)


def test_the_health_file_tells_live_and_ready(shop: Path, start: Start) -> None:
    """While the worker runs both probes pass; once it has stopped they fail, with a reason in one line."""
    file = str(shop / "health")
    assert glassq(shop, "health", "--live", "--file", file).returncode == 1
    worker = start("worker", "shop:app", "--health-file", file)
    until(lambda: glassq(shop, "health", "--ready", "--file", file).returncode == 0)
    assert glassq(shop, "health", "--live", "--file", file).returncode == 0
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=20) == 0
    ended = glassq(shop, "health", "--ready", "--file", file)
    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 1


def test_a_drain_that_takes_too_long_ends_with_1(shop: Path, start: Start) -> None:
    """An attempt that does not end within the time to drain is left behind, and the exit code says so."""
    enqueue(shop, "shop.linger(60.0)")
    worker = start("worker", "shop:app", "--drain", "0.1", "--http", "127.0.0.1:0")
    until((shop / "lingering").exists)
    worker.send_signal(signal.SIGTERM)
    _, log = worker.communicate(timeout=20)
    assert worker.returncode == 1
    assert "stopped before all running attempts had ended" in log


def test_a_public_bind_without_a_token_is_refused(shop: Path) -> None:
    """Metrics and health details are not for everybody: the worker does not start, and says what to do."""
    ended = glassq(shop, "worker", "shop:app", "--http", "0.0.0.0:0")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "token" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_store_that_cannot_be_written_is_one_line(shop: Path) -> None:
    """A store that cannot be opened ends the worker with its own advice instead of a traceback."""
    (shop / "shop.db").mkdir()
    ended = glassq(shop, "worker", "shop:app")
    assert ended.returncode in {1, 2}
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "shop.db" in ended.stderr
    assert ended.stdout == ""


def test_json_logs_are_one_object_a_line(shop: Path, start: Start) -> None:
    """`--log-format json` makes every line of the log a JSON object."""
    worker = start(
        "worker", "shop:app", "--log-format", "json", "--log-level", "debug", "--queues", "payments"
    )
    first_line(worker, "glassq worker of")
    enqueue(shop, "shop.charge('o-1')")
    until((shop / "charged").exists)
    worker.send_signal(signal.SIGTERM)
    _, log = worker.communicate(timeout=20)
    assert worker.returncode == 0
    for line in log.splitlines():
        assert json.loads(line)["message"]
