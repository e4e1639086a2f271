"""Settlements that the operating system holds back are not lost with the process that sent them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import redis

from glassq import Glassq
from tests.processes import state_of, wait_until

JOBS = 400


@pytest.mark.parametrize("sent", ["SIGKILL", "SIGSTOP"])
def test_what_is_held_back_is_settled_without_the_process(sent: str, redis_url: str, tmp_path: Path) -> None:
    """O4: killed, or stopped in the middle of a job, it leaves that one job alone to be run again."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    note = tmp_path / "note"
    with Glassq(redis_url) as app:

        @app.fifo("q", name="job")
        def job(number: int) -> None:
            """Not run here."""

        receipts = [job(number) for number in range(JOBS)]
        program = Path(__file__).with_name("suddenly.py")
        with subprocess.Popen([sys.executable, program, redis_url, sent, note]) as worker:
            try:
                if sent == "SIGKILL":
                    assert worker.wait(60) == -9
                else:
                    wait_until(lambda: state_of(worker.pid) == "T", "the worker to stop itself", lambda: "")
                number, held = map(int, note.read_text().split())
                assert held > 1
                wait_until(
                    lambda: app.storage.stats(["q"])[0].settled["succeeded"] == number,
                    f"{number} settled jobs",
                    lambda: app.storage.stats(["q"]),
                )
            finally:
                worker.kill()
        [left] = app.storage.waiting("q", 1)
        assert left.job.id == receipts[number].id
