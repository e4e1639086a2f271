"""`glassq demo` from beginning to end, with its real processes, its crash and its proof."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as a user does; its temporary files go where the test can see them."""
    return subprocess.run(
        [sys.executable, "-m", "glassq", "demo", *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
def test_the_demo_proves_order_through_a_crash_and_cleans_up(tmp_path: Path) -> None:
    """Every promise is kept and shown, the span tree crosses processes, and no process or file stays."""
    ended = demo(tmp_path, "--seconds", "4")
    shown = ended.stdout
    assert ended.returncode == 0, shown + ended.stderr
    assert ended.stderr == ""
    assert "360 of 360 events were accepted" in shown
    assert "12 customers: no event arrived before the one ahead of it was accepted" in shown
    assert re.search(r"36 events answered 503 came again in place", shown)
    assert "kill -9 worker" in shown
    assert "all 6 promises kept" in shown
    assert re.search(r"reclaims +[1-3] by worker [AB]", shown)
    assert re.search(r"order violations +0", shown)
    assert re.search(r"enqueue webhooks.*producer", shown)
    assert re.search(r"process webhooks, attempt 1 .*worker [AB] +NotDelivered", shown)
    assert re.search(r"process webhooks, attempt 2 .*worker [AB] +ok", shown)
    assert list(tmp_path.iterdir()) == []
    for pid in re.findall(r"pid (\d+),", shown):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


@pytest.mark.slow
def test_a_demo_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGTERM in the middle ends the demo's processes and removes its files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "glassq", "demo", "--seconds", "60"],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        pids = []
        for line in output:
            pids += re.findall(r"pid (\d+),", line)
            if "enqueued" in line and " s " in line:
                break
        process.send_signal(signal.SIGTERM)
        output.read()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
    assert list(tmp_path.iterdir()) == []
