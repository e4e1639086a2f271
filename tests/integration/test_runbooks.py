"""Every command of every runbook is typed into a real shop in trouble."""

from __future__ import annotations

import importlib.util
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from glassq.client.queues import Queue
from tests.integration.commandline import command_line
from tests.processes import wait_until

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
PAGES = sorted(page.stem for page in RUNBOOKS.glob("*.md") if page.stem != "index")
WORKER = [sys.executable, "-m", "glassq", "worker", "shop.jobs:app"]

SHOP = """
import os, time
from glassq import Glassq
from glassq.context import current_job

app = Glassq(os.environ["GLASSQ_URL"], history="history")
app.queue("payments", max_age=60, max_blocked=30, job_timeout=10, max_length=1000)

@app.fifo("payments", key="order", max_retries=0, on_exhausted="halt")
def charge(order, cents):
    raise RuntimeError("the card is blocked")

@app.fifo("payments", key="order", max_retries=9, retry_wait=600)
def refund(order, cents):
    raise ConnectionError("the bank does not answer")

@app.fifo("payments", key="order", max_retries=0)
def receipt(order):
    raise ValueError("no address")

@app.fifo("payments", key="order")
def settle(order):
    while True:
        current_job().check()
        time.sleep(0.02)
"""


class Shop:
    """The shop, a worker of it in a process of its own, and what is wrong: a halted lane, a head in back-off,
    a dead letter, and a job that runs and runs."""

    def __init__(self, module: ModuleType, url: str) -> None:
        self.url = url
        self.payments: Queue = module.app.queue("payments")
        for cents in (500, 250):
            module.charge("o-17", cents)
        module.receipt("o-20")
        self.blocked: str = module.refund("o-19", 70).id
        self.running: str = module.settle("o-21").id
        self.wait_for("halted", "waiting_retry", "leased", "dead_letters")
        self.dead = self.payments.dead_letters()[0].id

    def wait_for(self, *fields: str) -> None:
        """Until none of these figures of the queue is 0."""
        found = self.payments.stats
        wait_until(lambda: all(getattr(found(), each) for each in fields), " and ".join(fields), found)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop in trouble, in the working directory; $GLASSQ_URL names its store."""
    (tmp_path / "shop").mkdir()
    source = tmp_path / "shop" / "jobs.py"
    source.write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLASSQ_URL", "sqlite:///shop.db")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    spec = importlib.util.spec_from_file_location("shop.jobs", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    served = ["--http", "127.0.0.1:0", "--health-file", "health", "--drain", "0"]
    with subprocess.Popen([*WORKER, *served], stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout is not None
            lines = iter(worker.stdout.readline, "")
            url = next(found[1] for line in lines if (found := re.search(r"(http://[\d.:]+)/metrics", line)))
            yield Shop(module, url)
        finally:
            worker.kill()
            module.app.close()


def commands(page: str) -> list[str]:
    """What a page says to type, in its order."""
    text = (RUNBOOKS / f"{page}.md").read_text(encoding="utf-8")
    return "".join(re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)).splitlines()


def ask(shop: Shop, command: str) -> str:
    """What a page of the worker answers, whatever its status."""
    question = re.fullmatch(r"curl -s localhost:9464(/\w+)(?: \| grep (\w+))?", command)
    assert question is not None, command
    try:
        with urllib.request.urlopen(shop.url + question[1], timeout=10) as response:
            answer: str = response.read().decode()
    except urllib.error.HTTPError as failing:
        answer = failing.read().decode()
    return "\n".join(line for line in answer.splitlines() if (question[2] or "") in line)


def start_worker(shop: Shop, command: str) -> None:
    """Start a worker as the page says; the store knows it, and it ends cleanly."""
    words = shlex.split(command.removeprefix("glassq worker shop.jobs:app"))
    others = shop.payments.stats().workers
    with subprocess.Popen([*WORKER, *words], stdout=subprocess.DEVNULL) as worker:
        found = shop.payments.stats
        wait_until(lambda: found().workers == others + 1, "one worker more", found)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_runbook_work(
    page: str, shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed one after the other they all end well and say something; a question is answered as it asks."""
    glass = command_line(monkeypatch, capsys)
    meant = {"HeadBlocked": shop.blocked, "StuckJob": shop.running}.get(page, shop.dead)
    if page == "PausedLong":
        shop.payments.pause()
        shop.payments.pause("o-17")
    typed = commands(page)
    assert typed
    for command in typed:
        if command.startswith("curl "):
            assert ask(shop, command), command
        elif command.startswith("glassq worker "):
            start_worker(shop, command)
        else:
            name, *words = shlex.split(re.sub(r"payments/\w+:\d+", meant, command))
            assert name == "glassq", command
            if words[:2] == ["halted", "skip"]:
                shop.wait_for("halted")  # the retry before it halts its lane again
            told = glass(
                *(word.replace("/run/glassq.health", "health") for word in words), typed="payments\n"
            )
            assert told.code == 0, f"{command}: {told.err}"
            assert told.out
