"""What `Glassq(history=...)` writes, and that it never changes what happens."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.errors import BadOption
from glassq.model.jobs import NewJob
from glassq.model.leases import Owner
from glassq.observe.history import CUT, SUFFIX, HistoryFile
from glassq.testing.history import check, dump, read
from glassq.testing.history import lines as kinds


def events(directory: Path) -> list[str]:
    """The names of all events in a directory, file by file."""
    files = sorted(directory.glob("*.jsonl"))
    return [json.loads(line)["e"] for file in files for line in file.read_text().splitlines()]


def test_a_real_run_is_recorded_and_clean(tmp_path: Path) -> None:
    """An application that retries, buries and succeeds leaves a history in which nothing is found."""
    directory = tmp_path / "deep" / "history"
    url = f"sqlite:///{tmp_path}/jobs.db"
    with Glassq(url, history=directory, registry=CollectorRegistry()) as app:

        @app.fifo("mail", max_retries=1, retry_wait=0, key="to")
        def send(to: str, number: int) -> None:
            if number % 4 == 0:
                raise ValueError(to)

        for number in range(20):
            send(f"user{number % 3}", number)
        assert app.worker().run_until_idle(30)
        dump(app, directory)
    report = check(read([directory]))
    assert report.findings == []
    assert report.figures["jobs_acknowledged"] == 20
    assert report.figures["settlements"] == {"ack": 15, "bury": 5, "retry": 5}
    assert report.figures["starts"] == report.figures["attempts_ended"] == 25


def test_a_start_is_written_before_the_code_runs(tmp_path: Path) -> None:
    """A task finds its own start on the disk: a kill at any moment of it leaves a trace."""
    directory = tmp_path / "history"
    seen: list[list[str]] = []
    with Glassq(f"sqlite:///{tmp_path}/j.db", history=directory, registry=CollectorRegistry()) as app:

        @app.fifo("mail")
        def send() -> None:
            seen.append(events(directory))

        send()
        assert app.worker().run_until_idle(30)
    assert ("start" in seen[0], "end" in seen[0]) == (True, False)
    assert "end" in events(directory)


def test_files_are_private(tmp_path: Path) -> None:
    """What is recorded is for its owner alone."""
    HistoryFile(tmp_path / "history").write("lease.left", queue="q", lane="", token=1)
    (file,) = (tmp_path / "history").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_directory_that_cannot_be_made_is_a_wrong_option(tmp_path: Path) -> None:
    """The mistake shows when the application is made, not when it runs."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadOption, match="history: cannot make the directory"):
        Glassq(history=tmp_path / "file" / "below", registry=CollectorRegistry())


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    """Lines of many threads never mix."""
    history = HistoryFile(tmp_path)

    def write() -> None:
        for number in range(200):
            history.write("lease.left", queue="q" * 300, lane="", token=number)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events(tmp_path).count("lease.left") == 1600


def test_a_forked_child_has_a_file_of_its_own(tmp_path: Path) -> None:
    """Parent and child never share a file, and both are read."""
    history = HistoryFile(tmp_path)
    history.write("lease.left", queue="q", lane="", token=1)
    child = os.fork()
    if child == 0:
        history.write("lease.left", queue="q", lane="", token=2)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    history.write("lease.left", queue="q", lane="", token=3)
    found = read([tmp_path])
    assert sorted(file.pid for file in found.files) == sorted([os.getpid(), child])
    assert events(tmp_path).count("lease.left") == 3


def test_a_history_that_cannot_be_written_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is logged once; half a line ends the file, whose name says at once that it lacks events,
    and the next file says how many."""
    history = HistoryFile(tmp_path)
    history.write("lease.left", queue="q", lane="", token=1)
    write = os.write
    with monkeypatch.context() as full, caplog.at_level(logging.ERROR, "glassq.history"):
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
        history.write("lease.left", queue="q", lane="", token=2)
        assert not read([tmp_path]).complete  # a kill now would leave it so
        history.write("lease.left", queue="q", lane="", token=3)
    history.write("lease.left", queue="q", lane="", token=4)
    assert [record.message.count("is incomplete") for record in caplog.records] == [1]
    found = read([tmp_path])
    assert not found.complete
    assert len(found.torn) == 1
    assert [each["missing"] for each in _lines_of(tmp_path, "incomplete")] == [2]
    (cut,) = tmp_path.glob(f"*{CUT}{SUFFIX}")
    assert cut.stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 2


def test_a_history_that_can_never_be_written_is_known_to_be_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has not got one line onto the disk leaves a mark all the same, and one only."""
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:0]))
        history = HistoryFile(tmp_path)
        for token in range(5):
            history.write("lease.left", queue="q", lane="", token=token)
    (cut,) = tmp_path.iterdir()
    assert cut.name == f"{cut.name.partition('.')[0]}{CUT}{SUFFIX}"
    assert not read([tmp_path]).complete


def test_what_a_cut_process_did_not_write_is_held_against_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the histories is full while jobs run on a healthy store, and the process ends without ever
    having written again: nothing is found, and the notes say what was not checked."""
    directory = tmp_path / "history"
    with Glassq(f"sqlite:///{tmp_path}/j.db", history=directory, registry=CollectorRegistry()) as app:

        @app.fifo("mail")
        def send(number: int) -> None:
            pass

        for number in range(4):
            send(number)
        monkeypatch.setattr(HistoryFile, "_append", _no_room)
        send(4)
        assert app.worker().run_until_idle(30)
    monkeypatch.undo()
    with Glassq(f"sqlite:///{tmp_path}/j.db", registry=CollectorRegistry()) as app:
        dump(app, directory)
    report = check(read([directory]))
    assert report.findings == []
    assert report.figures["jobs_acknowledged"] == 4
    assert "incomplete" in report.notes[0]


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_steers_a_queue_is_recorded(tmp_path: Path) -> None:
    """Pauses, releases and retries of halted lanes are written down, each with its answer, and read back."""
    directory = tmp_path / "history"
    with Glassq(f"sqlite:///{tmp_path}/j.db", history=directory, registry=CollectorRegistry()) as app:
        store, owner = app.storage, Owner("node", "life")
        store.append("mail", [NewJob(body=b"job", lane="a")])
        store.listen(owner, ["mail"]).close()
        (grant,) = store.claim(owner, ["mail"], lanes=1, window=1, lease_seconds=15).grants
        store.release(owner, [grant.lease])
        assert [store.pause("mail", "a"), store.pause("mail", "a"), store.resume("mail", "a")] == [
            False,
            True,
            True,
        ]
        assert store.retry_lane("mail", "a") is False
    found = read([directory])
    assert [each.owner for each in found.of(kinds.Listening)] == ["node/life/0"]
    assert [each.token for each in found.of(kinds.LeaseReleasing)] == [grant.lease.token]
    assert [each.already for each in found.of(kinds.PauseOk)] == [False, True]
    assert [each.resumed for each in found.of(kinds.ResumeOk)] == [True]
    assert [each.retried for each in found.of(kinds.RetryOk)] == [False]


def _lines_of(directory: Path, event: str) -> list[dict[str, Any]]:
    texts = (file.read_text() for file in directory.glob("*.jsonl"))
    whole = [line for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in map(json.loads, whole) if line["e"] == event]


def test_without_a_history_nothing_is_recorded(tmp_path: Path) -> None:
    """An application that was not asked to record has neither the wrapper nor listeners for it."""
    with Glassq(f"sqlite:///{tmp_path}/j.db", registry=CollectorRegistry()) as app:
        assert type(app.storage.inner).__name__ == "InstrumentedStorage"
