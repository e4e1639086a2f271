from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from glassq.cli.probe import read_heartbeat
from glassq.model.events import StorageCalled, WorkerChanged
from glassq.observe.health import Health
from glassq.observe.heartbeat import HeartbeatFile
from glassq.telemetry import Bus
from tests.unit.observing import MovedClock


def written(path: Path, **beat: Any) -> str:
    """A heartbeat file with this content."""
    path.write_text(json.dumps({"wall": time.time(), "live": "pass", "ready": "pass", **beat}))
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the heartbeat file goes."""
    return tmp_path / "health.json"


def test_the_probe_reads_what_the_worker_writes(path: Path) -> None:
    """Live and ready are told apart: a worker that is starting is alive and not ready."""
    clock = MovedClock()
    bus, health = Bus(), Health(clock)
    health.attach(bus)
    bus.emit(WorkerChanged(worker="w", state="starting"))
    HeartbeatFile(path).write(health)
    assert read_heartbeat(str(path), 30, "live") == (0, "live")
    assert read_heartbeat(str(path), 30, "ready")[0] == 1
    bus.emit(WorkerChanged(worker="w", state="running"))
    bus.emit(StorageCalled(store="sqlite", operation="claim", seconds=0.0))
    HeartbeatFile(path).write(health)
    assert read_heartbeat(str(path), 30, "ready") == (0, "ready")


def test_the_file_is_replaced_whole_and_private(path: Path) -> None:
    """Nobody else reads it, and nothing is left beside it."""
    file, health = HeartbeatFile(path), Health(MovedClock())
    file.write(health)
    first = path.stat()
    file.write(health)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino != first.st_ino
    assert list(path.parent.iterdir()) == [path]
    file.remove()
    file.remove()
    assert list(path.parent.iterdir()) == []


def test_a_link_in_its_place_is_replaced_not_followed(path: Path) -> None:
    """What the link points to is not touched."""
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.symlink_to(victim)
    HeartbeatFile(path).write(Health(MovedClock()))
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_a_place_that_cannot_be_written_is_an_error_without_leftovers(path: Path) -> None:
    """A directory in the file's place: the error comes out, the temporary file does not stay."""
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        HeartbeatFile(path).write(Health(MovedClock()))
    assert list(path.parent.iterdir()) == [path]


def test_an_old_heartbeat_is_a_failure(path: Path) -> None:
    """A worker that was killed leaves its last good word behind."""
    code, text = read_heartbeat(written(path, wall=time.time() - 100), 30, "live")
    assert (code, "100 s old" in text) == (1, True)


@pytest.mark.parametrize("wall", [4e9, float("nan"), float("-inf"), 10**400, "now", None, [1]])
def test_a_time_that_cannot_be_is_a_failure(path: Path, wall: object) -> None:
    """Neither the future nor nonsense counts as fresh."""
    assert read_heartbeat(written(path, wall=wall), 30, "live")[0] == 1


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 60_000, b"{}", b'{"wall": 1e99}']
)
def test_what_is_no_heartbeat_is_a_failure(path: Path, content: bytes) -> None:
    """Whatever is in the file, the answer is one line and exit code 1."""
    path.write_bytes(content)
    code, text = read_heartbeat(str(path), 30, "live")
    assert code == 1
    assert "\n" not in text


def test_a_missing_or_unreadable_file_is_a_failure(path: Path) -> None:
    """The text says which, so that a wrong path is not taken for a dead worker."""
    assert read_heartbeat(str(path), 30, "live") == (
        1,
        f"no heartbeat: {path} does not exist; is a worker running with this file?",
    )
    assert "cannot be read" in read_heartbeat(str(path.parent), 30, "live")[1]


def test_a_pipe_in_its_place_does_not_hang_the_probe(path: Path) -> None:
    """Opening a pipe nobody writes to would wait for ever."""
    os.mkfifo(path)
    assert read_heartbeat(str(path), 30, "live")[0] == 1


@pytest.mark.parametrize(
    ("which", "age"), [("alive", 30.0), ("live", 0.0), ("live", -1.0), ("live", float("nan"))]
)
def test_a_wrong_question_is_exit_code_2(path: Path, which: str, age: float) -> None:
    """A misspelt probe must not look like a dead worker."""
    assert read_heartbeat(written(path), age, which)[0] == 2


def test_a_warning_passes(path: Path) -> None:
    """`warn` is for people; a restart would not help."""
    assert read_heartbeat(written(path, live="warn"), 30, "live") == (0, "live, with a warning")
    assert read_heartbeat(written(path, live=["pass"]), 30, "live")[0] == 1


def test_the_probe_needs_the_standard_library_alone(path: Path) -> None:
    """It starts every few seconds in every container: nothing heavy is loaded."""
    heavy = (
        "redis",
        "prometheus_client",
        "opentelemetry",
        "msgspec",
        "click",
        "asyncio",
        "sqlite3",
        "logging",
    )
    program = (
        "import sys\n"
        "from glassq.cli.probe import read_heartbeat\n"
        f"code, text = read_heartbeat({written(path)!r}, 30, 'live')\n"
        f"print(code, text, [name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "0 live []\n"
