"""`glassq worker --config` as a real process of several workers, on a real store."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glassq.cli import main
from glassq.stores.open import open_storage
from tests.processes import wait_until

DOCS = Path(__file__).parents[2] / "docs"

SHOP = """
import time
from glassq.app import Glassq

app = Glassq("sqlite:///never-used.db")
failures = iter([True, True])

def note(*words: object) -> None:
    with open("ledger", "a") as file:
        print(*words, file=file)

@app.fifo("payments", key="order")
def charge(order: str, number: int) -> None:
    note("payments", order, number)

@app.fifo("mails", key="address")
def send(address: str, number: int) -> None:
    note("mails", address, number)

@app.fifo("parcels")
def ship(number: int) -> None:
    if number == 1 and next(failures, False):
        raise RuntimeError("the van is not there")
    note("parcels", "-", number)

@app.fifo("slow")
def linger(seconds: float) -> None:
    note("slow", "begins", seconds)
    time.sleep(seconds)
    note("slow", "ends", seconds)
"""

FILE = """
app: shop:app
store:
  url: ${STORE}
  lease_seconds: 5s
retries: {max_retries: 2, retry_wait: 10ms}
queues: {payments: , mails: , parcels: {max_length: 1000}, slow: }
workers:
  - name: payments
    queues: [payments, parcels]
    concurrency: 2
  - name: mails
    queues: [mails, parcels, slow]
http: {port: 0}
health_file: worker.health
drain: 20s
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with an application and a file for it."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "glassq.yaml").write_text(FILE)
    return tmp_path


@pytest.fixture
def start(shop: Path, store_url: str) -> Iterator[Start]:
    """Starts `glassq worker --config glassq.yaml ...`; whatever is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "glassq", "worker", "--config", "glassq.yaml", *arguments],
            cwd=shop,
            env={**os.environ, "STORE": store_url, **environ},
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


def enqueue(shop: Path, store_url: str, code: str) -> None:
    """Enqueue from a process of its own, on the store of the file."""
    program = f"import shop; shop.app.use({store_url!r}); {code}; shop.app.close()"
    subprocess.run([sys.executable, "-c", program], cwd=shop, check=True)


def ledger(shop: Path) -> list[list[str]]:
    """What the jobs have noted so far."""
    file = shop / "ledger"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def lines_until(process: subprocess.Popen[str], pattern: str) -> list[str]:
    """The lines it prints, up to the first that matches."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return lines
    pytest.fail(f"no line matched {pattern!r}: {process.communicate()[1]}")


def test_two_workers_of_one_file_share_a_queue_and_end_together(
    shop: Path, start: Start, store_url: str
) -> None:
    """Both workers run, what waited is done in order of each key, the retries are the file's, the process is
    ready, and SIGTERM lets the running job end and exits with 0."""
    enqueue(
        shop,
        store_url,
        "[(shop.charge('o-%d' % (n % 3), n), shop.send('ann', n), shop.ship(n)) for n in range(30)]",
    )
    process = start()
    *said, last = lines_until(process, r"/metrics")
    assert said[1] == f"payments: queues payments, parcels; 2 lanes at once; pid {process.pid}\n"
    assert said[2] == f"mails: queues mails, parcels, slow; 4 lanes at once; pid {process.pid}\n"
    wait_until(lambda: len(ledger(shop)) == 90, "90 jobs", lambda: ledger(shop)[-5:])
    for queue, key, numbers in (
        ("payments", "o-1", range(1, 30, 3)),
        ("mails", "ann", range(30)),
        ("parcels", "-", range(30)),
    ):
        assert [int(line[2]) for line in ledger(shop) if line[:2] == [queue, key]] == list(numbers)
    url = last.split("/metrics", maxsplit=1)[0].strip()
    with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
        assert json.loads(answer.read())["status"] == "pass"
    probe = ["health", "--ready", "--file", str(shop / "worker.health")]
    wait_until(lambda: main(probe) == 0, "the health file to say so", lambda: "", every=0.1)
    enqueue(shop, store_url, "shop.linger(1.0)")
    wait_until(lambda: ["slow", "begins", "1.0"] in ledger(shop), "the slow job", lambda: ledger(shop)[-5:])
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0, process.communicate()[1]
    assert ["slow", "ends", "1.0"] in ledger(shop)
    storage = open_storage(store_url)
    assert all(stats.depth == 0 for stats in storage.stats(["payments", "mails", "parcels", "slow"]))
    storage.close()
    assert not (shop / "never-used.db").exists()


def test_only_one_of_them_serves_only_its_queues(shop: Path, start: Start, store_url: str) -> None:
    """`--only` leaves the other's queues to another process; a variable changes its threads."""
    enqueue(shop, store_url, "shop.charge('o', 1), shop.send('ann', 1), shop.ship(2)")
    process = start("--only", "payments", "--drain", "5", GLASSQ__WORKERS__PAYMENTS__CONCURRENCY="3")
    said = lines_until(process, r"/metrics")
    assert said[1] == f"payments: queues payments, parcels; 3 lanes at once; pid {process.pid}\n"
    assert not any(line.startswith("mails") for line in said)
    wait_until(lambda: len(ledger(shop)) == 2, "two jobs", lambda: ledger(shop))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0, process.communicate()[1]
    assert sorted(line[0] for line in ledger(shop)) == ["parcels", "payments"]


def test_a_drain_that_is_too_short_is_admitted(shop: Path, start: Start, store_url: str) -> None:
    """One attempt that goes on makes the whole process end with 1; its lane is not given away before."""
    enqueue(shop, store_url, "shop.linger(30)")
    process = start("--drain", "0.2")
    wait_until(lambda: len(ledger(shop)) == 1, "the slow job", lambda: ledger(shop))
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "stopped before all running attempts had ended" in log


def test_a_file_with_a_mistake_starts_nothing(shop: Path, start: Start, store_url: str) -> None:
    """The process ends with 2 before it imports the application or opens the store."""
    (shop / "glassq.yaml").write_text(FILE.replace("concurrency: 2", "slots: 2"))
    process = start(GLASSQ__WORKERS__MAIL__TURN="2")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert err.splitlines() == [
        "error: glassq.yaml:11: workers[0].slots: is not a field; did you mean 'concurrency'?",
        "$GLASSQ__WORKERS__MAIL__TURN: workers: the file has none called MAIL; did you mean 'MAILS'?",
    ]
    assert store_url.startswith("redis") or not (shop / "jobs.db").exists()


def test_the_how_to_is_true(tmp_path: Path) -> None:
    """The application and the file of the how-to work as they stand there, and its error is that error."""
    page = (DOCS / "how-to/run-several-workers.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    (file,) = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "shop.py").write_text(program)
    (tmp_path / "glassq.yaml").write_text(file)

    def check() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "glassq", "config", "check", "glassq.yaml", "--import"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    right = check()
    assert (right.returncode, right.stderr) == (0, "")
    assert f"```text\n{right.stdout}```" in page
    (tmp_path / "glassq.yaml").write_text(file.replace("concurrency: 8", "concurency: 8"))
    wrong = check()
    assert wrong.returncode == 2
    assert f"```text\n{wrong.stderr}```" in page
