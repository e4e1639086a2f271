"""What a claim costs in the SQLite store among very many lanes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from glassq.model.jobs import NewJob
from glassq.model.leases import Leaving, Owner, Settlement
from glassq.model.verdicts import Action
from glassq.stores.sqlite.store import SqliteStorage

OWNER = Owner("n", "i")


def test_a_turn_costs_the_same_among_many_lanes(tmp_path: Path) -> None:
    """SQLite's own steps for a claim and the settlement that gives the lane up: a hundred times as many lanes
    add those of a deeper tree, and nothing more."""
    few, many = (_steps(tmp_path / f"{lanes}.db", lanes) for lanes in (20, 2000))
    assert few > 100
    assert many < 1.2 * few


def _steps(path: Path, lanes: int) -> int:
    """Steps of a turn in a file with so many lanes, each with two jobs."""
    with closing(SqliteStorage.open(f"sqlite:///{path}")) as storage:
        for first in range(0, 2 * lanes, 20):
            jobs = [NewJob(body=b"job", lane=f"lane {number % lanes}") for number in range(first, first + 20)]
            storage.append("q", jobs)
        _turn(storage)
        writer = storage._connections._writer
        assert writer is not None
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        writer.set_progress_handler(count, 1)
        _turn(storage)
        return steps


def _turn(storage: SqliteStorage) -> None:
    """One job of one lane, which is then given up."""
    (grant,) = storage.claim(OWNER, ["q"], lanes=1, window=64, lease_seconds=15).grants
    job = grant.jobs[0].id
    what = Settlement(lease=grant.lease, job_id=job, action=Action.ACK, leaving=Leaving.YIELD)
    assert storage.settle(OWNER, [what])[0].ordinal > 0
