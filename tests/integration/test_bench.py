"""`glassq bench` from end to end in its smallest size. No ratio is asserted: a busy machine has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from glassq.cli.bench.judge import Verdict
from glassq.cli.bench.meters import MeasureFailed
from glassq.cli.bench.peers.runner import FEMTOQUEUE, OURS, Peer, run_peer
from glassq.cli.bench.program import Order
from glassq.cli.bench.run import all_targets
from glassq.cli.bench.servers import NAMESPACE
from glassq.cli.bench.sizes import QUICK
from glassq.cli.bench.stage import Stage

TINY = ("--quick", "--scale", "0.05", "--json")
OTHERS_KEY = "somebody:else"
OUR_KEY = f"{NAMESPACE}:left:over"


def bench(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as a user does; its temporary files go where the test can see them."""
    return subprocess.run(
        [sys.executable, "-m", "glassq", "bench", *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def rows_of(ended: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The rows of a run by key; its exit code is one that a run may have, and the one it reports."""
    assert ended.stdout, ended.stderr
    report = json.loads(ended.stdout)
    assert ended.returncode == report["exit"]
    assert report["environment"]["cores"] >= 1
    rows = {row["key"]: row for row in report["rows"]}
    assert set(rows) == {target.key for target in all_targets()}
    assert [row for row in rows.values() if row["verdict"] == Verdict.FAILED] == []
    return rows


def measured(rows: dict[str, dict[str, Any]], prefix: str) -> set[str]:
    """The keys with this beginning that have a value."""
    return {key for key, row in rows.items() if key.startswith(prefix) and row["value"] is not None}


def kept_order(rows: dict[str, dict[str, Any]], store: str) -> bool:
    """What no noise excuses: nothing lost and nothing out of order through the kills."""
    return [rows[f"{store}.kill.{what}"]["value"] for what in ("lost", "disorder")] == [0, 0]


def test_on_sqlite_everything_is_measured_and_nothing_stays(tmp_path: Path) -> None:
    """Rates, our FemtoQueue's too, wake-ups and a kill trial have values, Redis has a reason, and no file is
    left."""
    rows = rows_of(bench(tmp_path, *TINY, "--sqlite-only"))
    expected = {key for key in rows if key.startswith("sqlite.")}
    if FEMTOQUEUE.version() is None:
        expected -= {"sqlite.enqueue.ratio", "sqlite.process.ratio"}
    assert measured(rows, "sqlite.") == expected
    ours = measured(rows, "dropin.")
    assert ours - {"dropin.enqueue.ratio", "dropin.process.ratio"} == {"dropin.enqueue", "dropin.process"}
    assert measured(rows, "redis.") == set()
    assert rows["sqlite.wake.p50"]["paces"] == []
    assert kept_order(rows, "sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)  # a safety net: every row needs processes of its own, and machines are busy
def test_on_a_given_server_everything_is_measured_and_only_its_own_is_removed(
    tmp_path: Path, redis_url: str
) -> None:
    """Every row but those that need more time or peers has a value; keys of others stay, ours go."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.set(OTHERS_KEY, "stays")
        rows = rows_of(bench(tmp_path, *TINY, "--url", redis_url))
        assert client.keys() == [OTHERS_KEY.encode()]
    full_only = {"redis.memory", "redis.lanes.10000.turn1", "redis.lanes.10000.turn32"}
    there = {key for key in rows if key.startswith(("redis.", "raw."))}
    assert measured(rows, "redis.") | measured(rows, "raw.") == there - full_only
    assert {rows[key]["note"] for key in full_only} == {"needs --full"}
    assert {row["note"] for key, row in rows.items() if key.startswith("peers.")} == {"needs --peers"}
    times = [rows[f"{what}.p50"] for what in ("redis.wake", "sqlite.wake")] + [rows["redis.cpu.worker.turn"]]
    assert [len(row["paces"]) for row in times] == [len(row["values"]) for row in times]
    assert all(row["at_pace"] > 0 for row in times)
    assert kept_order(rows, "redis")
    assert list(tmp_path.iterdir()) == []


def test_a_server_in_which_its_names_exist_is_refused(tmp_path: Path, redis_url: str) -> None:
    """Two benchmarks at once, or what a killed one has left: nothing is measured and nothing is deleted."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.set(OUR_KEY, "of another run")
        ended = bench(tmp_path, *TINY, "--url", redis_url)
        assert client.keys() == [OUR_KEY.encode()]
    assert ended.returncode == 2
    assert f"holds keys named {NAMESPACE}:*" in ended.stderr


def test_peers_need_an_empty_database(tmp_path: Path, redis_url: str) -> None:
    """The database is emptied at the end of a run with peers, so one with anything in it is refused."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.set(OTHERS_KEY, "stays")
        ended = bench(tmp_path, *TINY, "--peers", "--url", redis_url)
        assert client.keys() == [OTHERS_KEY.encode()]
    assert ended.returncode == 2
    assert "is not empty" in ended.stderr


def test_a_server_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """An address nobody listens on ends in one line, at once."""
    ended = bench(tmp_path, *TINY, "--url", "redis://127.0.0.1:1/0")
    assert ended.returncode == 2
    assert "error: --url: redis://127.0.0.1:1/0 cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_process_of_a_peer_ends_with_its_last_job(tmp_path: Path) -> None:
    """Both steps are timed and said in one line, although the worker itself would never end."""
    program = """
import queue
from glassq.cli.bench.peers.trial import Steps, job, play
jobs = queue.SimpleQueue()
def work():
    while True:
        job(jobs.get())
play(Steps(enqueue=jobs.put, work=work), 50)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    enqueued, processed = json.loads(ended.stdout)
    assert (enqueued["jobs"], processed["jobs"]) == (50, 49)
    assert enqueued["seconds"] > 0
    assert processed["seconds"] > 0


def test_ours_is_run_as_a_peer_is(tmp_path: Path, redis_url: str) -> None:
    """In a process of its own, on either store; what it left half done is no matter of the next one."""
    for url in (f"sqlite:///{tmp_path}/jobs.db", f"{redis_url}?namespace={NAMESPACE}"):
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        enqueued, processed = run_peer(OURS, url, 60, tmp_path)
        assert (enqueued.jobs, processed.jobs) == (60, 59)


def test_a_process_measures_whenever_it_is_told_to(tmp_path: Path) -> None:
    """The same one again, with nothing left over from before; one that cannot is a failure with its last
    words."""
    stage = Stage(QUICK, tmp_path, None)
    with stage.contestant(Order(do="seen", url=stage.file_url("seen"), jobs=30)) as run:
        assert [run().jobs, run().jobs] == [29, 29]
    with (
        pytest.raises(MeasureFailed, match="did not say what it measured"),
        stage.contestant(Order(do="seen", url="nonsense", jobs=30)) as run,
    ):
        run()


def test_a_peer_that_does_not_run_says_why(tmp_path: Path) -> None:
    """Its exit code and the last line of its error are the reason in the report; its directory is gone."""
    peer = Peer("nobody", "no_such_peer")
    with pytest.raises(MeasureFailed, match=r"nobody ended with exit code 1: .*no_such_peer"):
        run_peer(peer, "redis://127.0.0.1:1/0", 5, tmp_path)
    assert list(tmp_path.iterdir()) == []
