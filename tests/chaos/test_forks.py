"""Processes that are forked from a worker or a producer: a child owns nothing of its parent's."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from tests.chaos.bounds import latest_takeover
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.test_kills import LEASE
from tests.conformance.redisservers import free_port
from tests.processes import wait_until

FORKING = "tests.chaos.forking"

WARNINGS = "error,ignore:This process:DeprecationWarning"
"""Later Pythons warn of every fork in a process with threads; these tests are about just that."""


def test_processes_started_by_tasks(store_url: str, stages: Stages, sizes: Sizes, figures: Figures) -> None:
    """Whatever way a task starts a process, and whatever the child does: the job is settled once, by the
    worker; the child's own calls get receipts and run; nobody waits for a lock the child was born with."""
    stage = stages(store_url, PYTHONWARNINGS=WARNINGS)
    rounds = sizes.pick(5, 100)
    assert stage.start("beget", str(rounds), module=FORKING).wait() == 0
    worker = stage.start("work", "4", module=FORKING)
    calls = 8 + 4 * (rounds - 1)
    enqueuing = 5 + rounds - 1
    stage.wait_for(lambda: settled(stage, "forks") == 2 * calls, "every parent's job", timeout=120)
    stage.wait_for(lambda: settled(stage, "born") == 2 * enqueuing, "every child's job")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    stage.check_history()
    ended = stage.events("child_ended")
    figures.count(children=len(ended))
    assert len(ended) == calls
    wrong = {event["key"] for event in ended if event["status"]}
    assert wrong == {"fork_returns", "fork_raises", "fork_exits"}, "came back from the task, and were ended"
    assert {event["status"] for event in ended} == {0, os.EX_SOFTWARE}
    assert {event["pid"] for event in stage.events("settle.ok")} == {worker.pid}
    assert len(stage.events("start")) == 2 * calls + 2 * enqueuing


def test_a_child_that_outlives_its_worker(store_url: str, stages: Stages, figures: Figures) -> None:
    """A worker that is killed while a child of its task lives on is as dead as any other: its lane is taken
    over as if there were no child."""
    stage = stages(store_url, lease=LEASE[urlsplit(store_url).scheme], PYTHONWARNINGS=WARNINGS)
    assert stage.start("outlived", module=FORKING).wait() == 0
    worker = stage.start("work", "1", module=FORKING)
    stage.wait_for(lambda: stage.events("outliving"), "the child")
    child = stage.events("outliving")[0]["child"]
    try:
        standby = stage.start("work", "1", module=FORKING)
        stage.wait_for(lambda: len(stage.events("running")) == 2, "the standby")
        killed = worker.kill()
        stage.wait_for(lambda: settled(stage, "forks") == 2, "the takeover")
        os.kill(child, 0)  # it is still there
    finally:
        os.kill(child, signal.SIGKILL)
    taken = stage.events("lease.taken")[1]
    assert (taken["pid"], taken["cause"]) == (
        standby.pid,
        "owner_died" if stage.store == "sqlite" else "lease_expired",
    )
    seconds = taken["m"] - killed
    figures.time(f"takeover_beside_a_child_{stage.store}", [seconds])
    assert seconds <= latest_takeover(stage)
    stage.check_history()
    assert [event["seq"] for event in stage.events("start")] == [1, 1, 2]


def test_a_parent_that_forks_its_workers(store_url: str, stages: Stages, sizes: Sizes) -> None:
    """One that has enqueued before it forks, as servers do that preload their application: parent and
    children enqueue and work side by side, each under a name of its own, in one order; none takes another's
    lanes."""
    stage = stages(store_url)
    count = sizes.pick(40, 1000)
    assert stage.start("prefork", "4", str(count), module=FORKING).wait(120) == 0
    stage.check_history()
    expected = count + 4 + 2 * 4 * count
    accepted = [job for event in stage.events("enqueue.ok") for job in event["jobs"]]
    assert len({job[0] for job in accepted}) == len({job[1] for job in accepted}) == expected
    assert settled(stage, "born") == len(stage.events("start")) == expected
    producers = {job[0].rpartition(":")[0] for job in accepted}
    assert len(producers) == 5


@pytest.mark.skipif(find_spec("gunicorn") is None, reason="gunicorn is not installed")
def test_gunicorn_with_preload(store_url: str, stages: Stages, sizes: Sizes) -> None:
    """A real pre-fork server: its application is imported in the parent and enqueues there, each of its
    workers enqueues and runs jobs. Every receipt is unique, and every job runs once, in its order."""
    stage = stages(store_url, PYTHONWARNINGS=WARNINGS)
    requests = sizes.pick(60, 600)
    answers: list[tuple[str, int]] = []
    with gunicorn(stage) as port:
        for number in range(requests):
            answers += ask(port, number)
        stage.wait_for(lambda: settled(stage, "chaos") == 2 * requests + 10, "every job")
    stage.check_history()
    assert len({job for job, _ in answers}) == len({seq for _, seq in answers}) == 2 * requests
    assert [seq for _, seq in answers] == sorted(seq for _, seq in answers), (
        "each call began after the last one"
    )
    assert len(stage.events("start")) == 2 * requests + 10
    assert len({event["pid"] for event in stage.events("enqueue.ok")}) > 2


@contextmanager
def gunicorn(stage: Stage) -> Iterator[int]:
    """The server, and its port once it listens."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--no-control-socket"]
    command += ["--bind", f"127.0.0.1:{port}", "tests.chaos.preloaded:application"]
    environment = {**stage.environment, "PYTHONWARNINGS": "default"}
    with stage.output.open("ab") as output:
        server = subprocess.Popen(command, env=environment, cwd=stage.folder, stdout=output, stderr=output)
    try:
        wait_until(lambda: answers(port), "gunicorn to listen", lambda: stage.output.read_text()[-2000:], 30)
        yield port
        server.terminate()
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()


def answers(port: int) -> bool:
    """Whether somebody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


def ask(port: int, number: int) -> list[tuple[str, int]]:
    """One request on a connection of its own, so that any worker may get it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"/?{number}")
    answer = connection.getresponse()
    assert answer.status == 200
    receipts = [(job, seq) for job, seq in json.loads(answer.read())]
    connection.close()
    return receipts


def settled(stage: Stage, queue: str) -> int:
    """Jobs of a queue that are settled for good."""
    with Glassq(stage.url, registry=CollectorRegistry()) as app:
        return sum(app.queue(queue).stats().settled.values())
