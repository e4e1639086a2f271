"""A store that lost data: what it may have lost, and who must have said so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from glassq.testing.history import running
from glassq.testing.history.report import Findings
from tests.unit.defects import Lines, dump_of, job
from tests.unit.playing import QUEUE, Play, Process, lines_of
from tests.unit.test_history_checker import judge


def tell_of_a_loss(folder: Path) -> Lines:
    """The store is emptied while jobs wait in it, and goes on with new ones."""
    play = Play(folder)
    first, second = Process(play), Process(play)
    first.enqueue(4, lane="a")
    first.work()
    second.enqueue(2, lane="b")
    play.lose_everything([first, second])
    second.enqueue(2, lane="b")
    first.enqueue(1, lane="a")
    first.grant = None
    first.drain()
    second.drain()
    play.pass_time(1.0)
    first.enqueue(1, lane="c")
    second.enqueue(1, lane="c")
    return play.dump()


def test_a_loss_that_was_reported_is_judged_as_asked(tmp_path: Path) -> None:
    """A loss that is expected and told to whoever could know is no finding; one that is not expected is."""
    lines = tell_of_a_loss(tmp_path)
    report = judge(lines, tmp_path, losses_expected=True)
    assert report.findings == []
    assert (report.figures["losses"], report.figures["losses_reported"]) == (1, 2)
    assert judge(lines, tmp_path).counts == {"I7": 1}


def test_a_loss_that_one_process_kept_silent_about_is_found(tmp_path: Path) -> None:
    """Each process that was told of what is gone has to report it."""
    lines = tell_of_a_loss(tmp_path)
    lines.remove(lines_of(lines, "loss")[0])
    assert judge(lines, tmp_path, losses_expected=True).counts == {"I7": 1}


def test_what_is_left_after_a_loss_has_no_holes(tmp_path: Path) -> None:
    """A job that is still there although earlier ones were lost is found."""
    lines = tell_of_a_loss(tmp_path)
    dump = dump_of(lines)
    left = {"id": job(3, lines), "seq": 3, "lane": "a", "level": 3, "body": "", "replayed": False}
    dump["unsettled"].append(left)
    assert "I7" in judge(lines, tmp_path, losses_expected=True).counts


def test_a_life_that_left_no_trace_is_not_counted(tmp_path: Path) -> None:
    """Its only append was not answered: the job that was taken out then is in no figure of what came after.
    Where nothing may be lost, that is a finding."""
    play = Play(tmp_path)
    processes = [Process(play), Process(play)]
    processes[0].enqueue(2)
    processes[0].forget_answer()
    assert processes[1].store.cancel(processes[1].store.waiting(QUEUE, 1)[0].job.id)
    play.lose_everything(processes)
    processes[1].enqueue(1)
    lines = play.dump()
    assert judge(lines, tmp_path, losses_expected=True).findings == []
    assert judge(lines, tmp_path).counts == {"I10": 1}


def test_what_was_taken_out_in_a_life_that_is_known_is_counted(tmp_path: Path) -> None:
    """Once the store has told where it stands, nothing done there is missing, whatever else may be lost."""
    play = Play(tmp_path)
    process = Process(play)
    process.enqueue(2)
    assert process.store.cancel(process.store.waiting(QUEUE, 1)[0].job.id)
    lines = play.dump()
    assert judge(lines, tmp_path, losses_expected=True).findings == []
    stats = dump_of(lines)["stats"]
    stats["settled"]["cancelled"], stats["settled"]["succeeded"] = 0, 1
    report = judge(lines, tmp_path, losses_expected=True)
    assert "0 cancelled in the store, 1 by the history" in str(report.findings)


# -- two losses, one report ---------------------------------------------------------------------------


def tell_of_two_losses(folder: Path) -> Lines:
    """The store is emptied twice; each time both processes had been told of jobs, and ask again."""
    play = Play(folder)
    both = [Process(play), Process(play)]
    for _ in range(2):
        for process in both:
            process.enqueue(2)
        play.lose_everything(both)
        play.pass_time(1.0)
        for process in both:
            process.enqueue(1)
    play.pass_time(1.0)
    for process in both:
        process.enqueue(1)
    return play.dump()


def test_each_of_two_losses_is_reported_by_each_process(tmp_path: Path) -> None:
    """Two losses and two processes: four reports, and nothing is found."""
    report = judge(tell_of_two_losses(tmp_path), tmp_path, losses_expected=True)
    assert report.findings == []
    assert (report.figures["losses"], report.figures["losses_reported"]) == (2, 4)


@pytest.mark.parametrize("silent", [0, 1], ids=["the first", "the second"])
def test_a_report_of_one_loss_does_not_stand_for_another(tmp_path: Path, silent: int) -> None:
    """Processes that keep silent about one of two losses are found out, each for itself."""
    lines = tell_of_two_losses(tmp_path)
    for process in {line["p"] for line in lines_of(lines, "loss")}:
        lines.remove(lines_of(lines, "loss", lambda line, its=process: line["p"] == its)[silent])  # type: ignore[misc]
    assert judge(lines, tmp_path, losses_expected=True).counts == {"I7": 2}


def test_who_ended_at_once_need_not_have_reported(tmp_path: Path) -> None:
    """A process that was killed right after the answer that shows a loss may have died before its report."""
    lines = tell_of_a_loss(tmp_path)
    report = lines_of(lines, "loss")[0]
    met = next(line for line in lines if line["p"] == report["p"] and line["m"] > report["m"])
    lines[:] = [line for line in lines if line["p"] != report["p"] or line["m"] <= met["m"]]
    lines.remove(report)
    assert judge(lines, tmp_path, losses_expected=True).counts.get("I7") is None


# -- a queue that is not there in the end -----------------------------------------------------------------


def tell_of_an_end(folder: Path) -> Lines:
    """The store is emptied in the end; a worker that asks for jobs notices, and nobody enqueues after it."""
    play = Play(folder)
    worker = Process(play)
    worker.enqueue(3)
    play.lose_everything([worker])
    assert not worker.claim()
    return play.dump()


def test_a_queue_that_was_emptied_in_the_end_is_a_loss(tmp_path: Path) -> None:
    """What somebody was told of as lost is judged as a loss, not job by job."""
    lines = tell_of_an_end(tmp_path)
    assert judge(lines, tmp_path, losses_expected=True).findings == []
    assert judge(lines, tmp_path).counts == {"I7": 1}


def test_a_queue_that_vanished_without_a_word_is_missed(tmp_path: Path) -> None:
    """Without that report each job that is gone is found."""
    lines = [line for line in tell_of_an_end(tmp_path) if line["e"] != "loss"]
    assert judge(lines, tmp_path, losses_expected=True).counts == {"I1": 3}


def test_a_dump_that_was_cut_is_named(tmp_path: Path) -> None:
    """A dump without its end, and an end that lists a queue without a dump: each is a note, no finding."""
    lines = tell_of_a_loss(tmp_path)

    def left_without(event: str) -> list[str]:
        report = judge([line for line in lines if line["e"] != event], tmp_path, losses_expected=True)
        assert report.clean
        return report.notes

    assert any("the dump was cut: some queues may be missing" in note for note in left_without("dump.end"))
    assert any("the dump was cut: q may be missing" in note for note in left_without("dump"))


# -- sums over several lives ----------------------------------------------------------------------------


@pytest.mark.parametrize("change", [-1, 20])
def test_the_sums_of_the_last_life_are_compared(tmp_path: Path, change: int) -> None:
    """After a loss the figures still lie between what was surely done since, and all that was ever done."""
    lines = tell_of_a_loss(tmp_path)
    stats = dump_of(lines)["stats"]
    stats["enqueued"] += change
    stats["settled"]["succeeded"] += change
    assert judge(lines, tmp_path, losses_expected=True).counts == {"I10": 2}


@pytest.mark.parametrize(
    ("told", "found"), [("sea", 0), ("seasea", 0), ("asea", 1), ("sae", 1), ("saesea", 1), ("a", 0)]
)
def test_what_ran_once_more_after_a_loss_had_ended_before(told: str, found: int) -> None:
    """In the same stay, as the store knows nothing of its settlement: the first one came in time. What is
    told are starts, ends and settlements of one job, in their order."""
    findings = Findings(cast("Any", SimpleNamespace(place=str)))
    starts = [
        SimpleNamespace(id="x", file="f", token=1, where=at) for at, kind in enumerate(told) if kind == "s"
    ]
    attempts = SimpleNamespace(end_of=lambda start: SimpleNamespace(where=told.index("e", start.where)))
    asked = SimpleNamespace(file="f", token=1, where=told.index("a"), action="ack")
    settling: Any = SimpleNamespace(asked=asked)
    running._ran_before(settling, cast("Any", starts), cast("Any", attempts), findings)
    assert findings.counts["I5"] == found
