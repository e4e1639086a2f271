"""What counts as a history, and what the command says about one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glassq.cli.commands import run
from glassq.testing.history import UnreadableHistory, check, read
from tests.unit.playing import Line, Play, Process, write_history


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A directory with the history of one job."""
    play = Play(tmp_path)
    process = Process(play)
    process.enqueue(1)
    process.drain()
    return write_history(play.dump(), tmp_path / "history")


def first_file(history: Path) -> Path:
    """The file of the process that worked."""
    return min(history.glob("*.jsonl"))


def test_a_torn_last_line_is_what_a_kill_leaves(history: Path) -> None:
    """Half a line at the end of a file is counted and left out; everything before it is read."""
    with first_file(history).open("a") as file:
        file.write('{"e":"start","m":10')
    read_back = read([history])
    assert len(read_back.torn) == 1
    assert check(read_back).clean


def test_a_torn_line_elsewhere_is_refused(history: Path) -> None:
    """A damaged line in the middle is named with its file and number."""
    lines = first_file(history).read_text().splitlines()
    lines[1] = lines[1][:30]
    first_file(history).write_text("\n".join(lines) + "\n")
    with pytest.raises(UnreadableHistory, match=r"-tape\.jsonl:2 is no line of a history"):
        read([history])


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    """An empty directory, a missing file, another kind of file: each is named, with what to give instead."""
    with pytest.raises(UnreadableHistory, match=r"has no \*\.jsonl files"):
        read([tmp_path])
    with pytest.raises(UnreadableHistory, match="cannot be read: No such file"):
        read([tmp_path / "none.jsonl"])
    (tmp_path / "other.jsonl").write_text('{"e":"dump.end","m":1.0,"queues":[]}\n')
    with pytest.raises(UnreadableHistory, match="does not begin as a history does"):
        read([tmp_path])


def test_a_later_format_is_refused(history: Path) -> None:
    """A history of a later version is not misread."""
    lines: list[Line] = [json.loads(line) for line in first_file(history).read_text().splitlines()]
    lines[0]["v"] = 3
    write_history(lines, history)
    with pytest.raises(UnreadableHistory, match="has format 3, this glassq reads 2"):
        read([history])


def test_an_incomplete_history_accuses_nobody_of_what_is_missing(history: Path) -> None:
    """Where a process could not write, jobs are not called lost, and the report says why."""
    path = first_file(history)
    lines = [line for line in path.read_text().splitlines() if '"settle' not in line]
    lines.insert(1, '{"e":"incomplete","m":1.0,"missing":2}')
    path.write_text("\n".join(lines) + "\n")
    report = check(read([history]))
    assert report.clean
    assert "this history is incomplete" in report.notes[0]


def test_the_command_tells_clean_broken_and_unusable_apart(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit codes 0, 1 and 2; figures for people, one JSON document for programs."""
    assert run(["verify", str(history)]) == 0
    assert "nothing found" in capsys.readouterr().out
    path = first_file(history)
    path.write_text(path.read_text().replace('"ordinal": 1', '"ordinal": 0'))
    assert run(["verify", str(history)]) == 1
    assert "I3 broken 1 times" in capsys.readouterr().out
    assert run(["verify", "--json", str(history)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["clean"], told["counts"]) == (False, {"I3": 1})
    assert told["figures"]["jobs_acknowledged"] == 1
    assert run(["verify", str(history / "none")]) == 2
    assert "error: " in capsys.readouterr().err


def test_strict_takes_what_could_not_be_checked_for_a_failure(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dump without its end is a note: exit code 0, and 1 with `--strict`; a whole history passes both."""
    assert run(["verify", "--strict", str(history)]) == 0
    path = max(history.glob("*.jsonl"))
    path.write_text(
        "".join(path.read_text().splitlines(keepends=True)[:-1])
    )  # its last line is the dump's end
    assert run(["verify", str(history)]) == 0
    assert "note: the dump was cut" in capsys.readouterr().out
    assert run(["verify", "--strict", str(history)]) == 1
