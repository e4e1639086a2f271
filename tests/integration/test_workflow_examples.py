"""The examples of workflows do what they say, on each store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(program: str, *words: str, folder: Path, url: str, **environment: str) -> str:
    """Run an example in a process of its own; what it printed."""
    result = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / program), *words],
        cwd=folder,
        env={**os.environ, "GLASSQ_URL": url, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def sales(folder: Path) -> list[tuple[str, int]]:
    """What is in the table; nothing where there is none."""
    if not (folder / "sales.db").exists():
        return []
    with closing(sqlite3.connect(folder / "sales.db")) as table:
        return table.execute("SELECT product, cents FROM sales ORDER BY day, product").fetchall()


def test_etl(tmp_path: Path, store_url: str) -> None:
    """Files in, rows out; a bad file stops the whole, and after a repair and a replay the rest follows."""
    (tmp_path / "north.csv").write_text("day,product,cents\n2026-01-01, Tea ,500\n2026-01-02,test,0\n")
    (tmp_path / "south.csv").write_text("day,product,cents\n2026-01-03,Coffee,three\n")
    printed = run("etl/etl.py", "north.csv", "south.csv", folder=tmp_path, url=store_url)
    assert " failed\n" in printed
    assert 's0["extract"]' in printed
    assert sales(tmp_path) == []

    (tmp_path / "south.csv").write_text("day,product,cents\n2026-01-03,Coffee,300\n")
    replay = [sys.executable, "-m", "glassq", "dead", "replay", "files", "--yes", "--url", store_url]
    subprocess.run(replay, check=True, capture_output=True, timeout=60)
    run("etl/etl.py", folder=tmp_path, url=store_url)
    assert sales(tmp_path) == [("tea", 500), ("coffee", 300)]


@pytest.mark.parametrize(
    ("fails", "ledger"),
    [
        ("", ["reserve", "charge", "ship", "done"]),
        ("ship", ["reserve", "charge", "undoing", "refund", "release"]),
        ("charge", ["reserve", "undoing", "release"]),
        ("reserve", ["undoing"]),
    ],
)
def test_saga(tmp_path: Path, store_url: str, fails: str, ledger: list[str]) -> None:
    """What was done is undone, the last first, whichever step fails."""
    printed = run("saga/orders.py", "o-1", folder=tmp_path, url=store_url, FAIL=fails)
    assert printed.splitlines() == [
        f"o-1: {'failed' if fails else 'succeeded'}",
        *(f"{what} o-1" for what in ledger),
    ]
