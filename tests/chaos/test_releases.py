"""`kill -9` in the middle of what the end of a job does to those that wait for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from glassq.model.jobs import JobState
from glassq.model.leases import Owner
from glassq.stores.sqlite.store import SqliteStorage
from tests.chaos.figures import Figures
from tests.chaos.releasing import FLOW, OTHER, QUEUE, run, submit
from tests.chaos.sizes import Sizes

RECORD = (
    "flow IS NOT NULL AND outcome IS NOT NULL AND final AND NOT untold AND awaited = 0 AND parents = 0"
    " AND coalesce(body, result, heir_of, heir_as, legacy) IS NULL"
)
"""What stays of a job that has ended, for the record of its workflow."""


def play(file: Path, statement: int) -> subprocess.CompletedProcess[str]:
    """Run the victim on a file, to its end or until it is at this statement."""
    command = [sys.executable, "-m", "tests.chaos.releasing", f"sqlite:///{file}", str(statement)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def assert_all_ended_once(store: SqliteStorage, total: int, revived: int) -> None:
    """Each job succeeded once, took its place in its lane once, and nothing is left of what tied them."""
    stats = store.stats([QUEUE, OTHER])
    settled = sum((Counter(each.settled) for each in stats), Counter())
    assert +settled == Counter(succeeded=total, buried=1, cancelled=revived)
    assert [each.depth for each in stats] == [0, 0]
    # A replay to the front keeps its place, so there are as many as jobs.
    places = store.report(Owner("nobody", "first"), [QUEUE, OTHER])
    assert sum(each.counts.seq for each in places.values()) == total
    record = store.flow(FLOW)
    assert record is not None
    assert (record.status, record.ended) == ("succeeded", {JobState.SUCCEEDED: total})
    assert set(store.flow_outcomes(FLOW).values()) == {JobState.SUCCEEDED}
    with store._connections.reading() as cx:
        for rows in ("edges", f"ties WHERE NOT ({RECORD})", "queues WHERE tied OR deferred"):
            assert cx.execute(f"SELECT count(*) FROM {rows}").fetchone() == (0,), rows


def test_a_kill_at_any_statement(tmp_path: Path, chance: Random, sizes: Sizes, figures: Figures) -> None:
    """Whoever comes after it ends the graph: each job is released once, whatever was done by half."""
    graph = tmp_path / "graph.db"
    store = SqliteStorage.open(f"sqlite:///{graph}")
    total = submit(store)
    store.close()
    whole = tmp_path / "whole.db"
    shutil.copy(graph, whole)
    ended = play(whole, 0)
    assert ended.returncode == 0, ended.stderr
    statements = int(ended.stdout)
    store = SqliteStorage.open(f"sqlite:///{whole}")
    assert_all_ended_once(store, total, revived=2)
    store.close()

    kills = sizes.pick(20, 600)
    ends = time.monotonic() + sizes.budget
    for number in range(kills):
        statement = 1 + (number * statements + chance.randrange(statements)) // kills
        file = tmp_path / f"{statement}.db"
        shutil.copy(graph, file)
        assert play(file, statement).returncode == -9, f"statement {statement} of {statements}"
        store = SqliteStorage.open(f"sqlite:///{file}")
        told = run(store, Owner("survivor", "first"))
        assert len(told) <= 1, "a workflow's end is told once"
        assert_all_ended_once(store, total, revived=2)
        store.close()
        figures.count(kills=1, kills_at_releases=1)
        if time.monotonic() > ends:
            break
