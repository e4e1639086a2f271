"""Prometheus' multiprocess mode adds the counts of forked processes up, as pre-fork servers need it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
from prometheus_client import CollectorRegistry, multiprocess
from glassq import Glassq

app = Glassq("sqlite:///jobs.db", registry=CollectorRegistry())

@app.fifo("mail", name="send")
def send():
    pass

send()
for _ in range(2):
    child = os.fork()
    if child == 0:
        send()
        send()
        app.worker(concurrency=1).run_until_idle(timeout=20)
        os._exit(0)
    os.waitpid(child, 0)
together = CollectorRegistry()
multiprocess.MultiProcessCollector(together)
of = {"queue": "mail", "task": "send"}
print(together.get_sample_value("glassq_jobs_enqueued_total", of))
print(together.get_sample_value("glassq_jobs_processed_total", {**of, "outcome": "succeeded"}))
print(together.get_sample_value("glassq_job_processing_duration_seconds_count", of))
"""


def test_the_counts_of_forked_processes_add_up(tmp_path: Path) -> None:
    """Five calls of three processes, run by two of them: five are counted, nothing twice."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.stdout.split(), result.returncode) == (["5.0"] * 3, 0), result.stderr
