"""The checker finds what breaks the contract: one defect at a time, planted into a valid history."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glassq.model.verdicts import Action
from glassq.testing.history import Report, check, read
from tests.unit.playing import LEASE, QUEUE, Line, Play, Process, lines_of, write_history

Lines = list[Line]


def tell(folder: Path) -> Lines:
    """Retries, a crash, an outlived lease, dead letters, a replay, a cancelled job, and two jobs left."""
    play = Play(folder)
    first, second = Process(play), Process(play)
    first.enqueue(5, lane="a")
    first.enqueue(1, lane="a")
    second.enqueue(1, lane="a")
    first.work()
    first.work(Action.RETRY)
    first.work()
    first.work(Action.BURY)
    first.work(Action.BURY)
    first.start()  # outlives its lease
    play.pass_time(LEASE + 1)
    second.work()
    first.end()
    first.settle()
    second.drain()
    second.enqueue(3, lane="b")
    second.start()  # and is killed
    play.pass_time(LEASE + 1)
    third = Process(play)
    third.drain()
    third.store.replay(QUEUE, [third.store.dead(QUEUE, 1)[0].job.id], front=True)
    third.drain()
    third.enqueue(3, lane="c")
    third.store.cancel(third.store.waiting(QUEUE, 3)[2].job.id)
    return play.dump()


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """A history without a fault."""
    return tell(tmp_path_factory.mktemp("play"))


def judge(lines: Lines, folder: Path, **options: Any) -> Report:
    """The checker's verdict on these lines."""
    return check(read([write_history(lines, folder / "history")]), **options)


# -- finding one's way ------------------------------------------------------------------------------------


def job(number: int, lines: Lines) -> str:
    """The id of the job with this seq."""
    return next(
        str(each[0]) for ok in lines_of(lines, "enqueue.ok") for each in ok["jobs"] if each[1] == number
    )


def start_of(number: int, lines: Lines) -> Line:
    """The first start of a job."""
    return lines_of(lines, "start", lambda line: line["id"] == job(number, lines))[0]


def end_of(number: int, lines: Lines) -> Line:
    """The first end of a job."""
    return lines_of(lines, "end", lambda line: line["id"] == job(number, lines))[0]


def settled(number: int, lines: Lines) -> Line:
    """The answer that a job is settled for good."""
    return lines_of(
        lines, "settle.ok", lambda line: line["id"] == job(number, lines) and line["ordinal"] > 0
    )[0]


def dump_of(lines: Lines) -> Line:
    """The dump of the queue."""
    return lines_of(lines, "dump")[0]


def insert(lines: Lines, after: Line, *new: Line) -> None:
    """Put lines behind another one of the same process, a moment later each."""
    at = next(index for index, line in enumerate(lines) if line is after)
    for number, line in enumerate(new, 1):
        line |= {"p": after["p"], "m": after["m"] + number * 1e-7}
        lines.insert(at + number, line)


def later(line: Line, **changes: Any) -> Line:
    """A copy with some fields changed."""
    return {**copy.deepcopy(line), **changes}


# -- defects ----------------------------------------------------------------------------------------------


def lose_a_waiting_job(lines: Lines) -> None:
    """I1: a job that waited is in no list any more."""
    dump = dump_of(lines)
    dump["unsettled"].pop()
    dump["stats"]["ready"] -= 1
    dump["stats"]["settled"]["cancelled"] += 1


def lose_an_acknowledged_job(lines: Lines) -> None:
    """I1: an append was acknowledged and not stored."""
    ok = lines_of(lines, "enqueue.ok")[-1]
    ok["jobs"].append(["q/lost:1", ok["jobs"][-1][1] + 1, "c", 3, ok["jobs"][-1][4], 0])


def reorder_first_starts(lines: Lines) -> None:
    """I2: two jobs of one lane began in the wrong order."""
    first, second = start_of(6, lines), start_of(7, lines)
    for field in ("id", "seq"):
        first[field], second[field] = second[field], first[field]


def overtake_a_begun_head(lines: Lines) -> None:
    """I2: a job began although the head before it had begun and was not settled."""
    known = job(1, lines)
    lines[:] = [line for line in lines if not (line.get("id") == known and line["e"].startswith("settle"))]


def leave_a_job_behind(lines: Lines) -> None:
    """I2: a job is still in its lane, and later ones have begun."""
    left = dump_of(lines)["unsettled"][0]
    left["lane"], left["seq"] = "a", 0


def swap_ordinals(lines: Lines) -> None:
    """I3: the store settled two jobs of a lane in the wrong order."""
    first, second = settled(1, lines), settled(2, lines)
    first["ordinal"], second["ordinal"] = second["ordinal"], first["ordinal"]


def repeat_an_ordinal(lines: Lines) -> None:
    """I3: two settlements were counted as one."""
    settled(2, lines)["ordinal"] = settled(1, lines)["ordinal"]


def settle_without_ordinal(lines: Lines) -> None:
    """I3: a settlement was not counted."""
    settled(2, lines)["ordinal"] = 0


def lower_a_token(lines: Lines) -> None:
    """I3: a settlement under a lower token than the one before it in its lane."""
    known, lowest = job(7, lines), start_of(1, lines)["token"]
    for line in lines:
        if line.get("id") == known:
            line["token"] = lowest - 1


def take_the_fence_away(lines: Lines) -> None:
    """I4: the store took a settlement of an owner whose lane had been taken over."""
    fenced = lines_of(lines, "settle.fenced")[0]
    fenced |= {"e": "settle.ok", "status": "done", "ordinal": 90}


def start_a_settled_job(lines: Lines) -> None:
    """I5: a job ran again after it had been settled."""
    last = start_of(7, lines)
    insert(lines, settled(7, lines), later(start_of(1, lines), token=last["token"]))


def settle_twice(lines: Lines) -> None:
    """I5: a job was settled for good twice."""
    ok = settled(7, lines)
    again = later(settled(1, lines), token=ok["token"], ordinal=91, found=ok["found"])
    asked = later(lines_of(lines, "settle.invoked")[0], id=again["id"], token=ok["token"], action="ack")
    insert(lines, ok, asked, again)


def keep_a_settled_job(lines: Lines) -> None:
    """I5: a settled job is still in the store."""
    dump = dump_of(lines)
    dump["unsettled"].append(later(dump["unsettled"][0], id=job(7, lines), seq=99))


def start_on_after_a_takeover(lines: Lines) -> None:
    """I5: a worker that woke up after its lease went on with its window."""
    outlived, start = end_of(5, lines), start_of(5, lines)
    insert(lines, outlived, later(start, id=job(6, lines), seq=6), later(start))


def run_two_at_once(lines: Lines) -> None:
    """I6: an attempt began before the one before it had ended, under one token."""
    end_of(1, lines)["m"] = start_of(2, lines)["m"] + 1e-6


def run_in_two_processes(lines: Lines) -> None:
    """I6: two processes ran jobs under one token."""
    other = lines_of(lines, "begin")[2]
    for line in lines:
        if line.get("id") == job(2, lines) and line["e"] in ("start", "end"):
            line["p"] = other["p"]
    lines.sort(key=lambda line: float(line["m"]) * (line["e"] != "begin"))


def take_over_a_live_owner(lines: Lines) -> None:
    """I6: a lane was taken over although its owner had just renewed its lease."""
    start = start_of(5, lines)
    taken = lines_of(
        lines, "lease.taken", lambda line: line["lane"] == "a" and line["token"] > start["token"]
    )[0]
    at = taken["m"] - 1.0
    lease = [start["queue"], start["lane"], start["token"]]
    renewed = {"e": "lease.renewed", "t": 0.0, "seconds": LEASE, "leases": [lease], "lost": []}
    lines.append({**renewed, "p": start["p"], "m": at + 0.001, "sent": at})


def lose_everything_in_silence(lines: Lines) -> None:
    """I7: the store began anew, and nobody said so."""
    for line in lines:
        if line["m"] > start_of(7, lines)["m"] and line.get("found"):
            line["found"][0] = "another"


def swap_two_appends(lines: Lines) -> None:
    """I8: what was enqueued later has the lower seq."""
    first, second = lines_of(lines, "enqueue.ok")[0], lines_of(lines, "enqueue.ok")[1]
    first["jobs"][-1][1], second["jobs"][0][1] = second["jobs"][0][1], first["jobs"][-1][1]


def give_a_seq_twice(lines: Lines) -> None:
    """I8: two jobs have one place."""
    appends = lines_of(lines, "enqueue.ok")
    appends[2]["jobs"][0][1] = appends[1]["jobs"][0][1]


def tear_a_batch(lines: Lines) -> None:
    """I8: another job is between the jobs of one append."""
    lines_of(lines, "enqueue.ok")[-1]["jobs"][-1][1] += 1


def change_a_seq(lines: Lines) -> None:
    """I8: a job began with another seq than it was given."""
    start_of(7, lines)["seq"] = 70


def lose_a_dead_letter(lines: Lines) -> None:
    """I9: a buried job is no dead letter."""
    dump = dump_of(lines)
    dump["dead"].pop()
    dump["stats"]["dead_letters"] -= 1


def bury_out_of_nowhere(lines: Lines) -> None:
    """I9: a dead letter that nobody buried."""
    dump = dump_of(lines)
    dump["dead"].append(later(dump["dead"][0], id=job(1, lines), seq=1))
    dump["stats"]["dead_letters"] += 1


def forget_a_time(lines: Lines) -> None:
    """I9: a dead letter does not know since when."""
    dump_of(lines)["dead"][0]["buried_at"] = 0.0


def change_field(field: str, value: object) -> Callable[[Lines], None]:
    """I9: a dead letter that is not what was buried."""

    def change(lines: Lines) -> None:
        dump_of(lines)["dead"][0][field] = value

    change.__name__ = f"change_{field}"
    return change


def count_wrongly(lines: Lines) -> None:
    """I10: the store's sums do not come out."""
    dump_of(lines)["stats"]["enqueued"] += 1


def count_one_more(lines: Lines) -> None:
    """I10: the sums come out, but nobody enqueued or settled so many."""
    stats = dump_of(lines)["stats"]
    stats["enqueued"] += 1
    stats["settled"]["succeeded"] += 1


def count_one_as_another(lines: Lines) -> None:
    """I10: a success is counted as expired."""
    stats = dump_of(lines)["stats"]
    stats["settled"]["expired"] += 1
    stats["settled"]["succeeded"] -= 1


def forget_a_replay(lines: Lines) -> None:
    """I10: a replayed job is not counted."""
    stats = dump_of(lines)["stats"]
    stats["replayed"] -= 1
    stats["settled"]["buried"] -= 1


def miscount_dead_letters(lines: Lines) -> None:
    """I10: more dead letters by the figures than there are."""
    dump_of(lines)["stats"]["dead_letters"] += 1


def run_a_stranger(lines: Lines) -> None:
    """I10: a job began that nobody enqueued."""
    insert(lines, settled(7, lines), later(start_of(7, lines), id="q/stranger:1", seq=500))


DEFECTS: list[tuple[Callable[[Lines], None], str]] = [
    (lose_a_waiting_job, "I1"),
    (lose_an_acknowledged_job, "I1"),
    (reorder_first_starts, "I2"),
    (overtake_a_begun_head, "I2"),
    (leave_a_job_behind, "I2"),
    (swap_ordinals, "I3"),
    (repeat_an_ordinal, "I3"),
    (settle_without_ordinal, "I3"),
    (lower_a_token, "I3"),
    (take_the_fence_away, "I4"),
    (start_a_settled_job, "I5"),
    (settle_twice, "I5"),
    (keep_a_settled_job, "I5"),
    (start_on_after_a_takeover, "I5"),
    (run_two_at_once, "I6"),
    (run_in_two_processes, "I6"),
    (take_over_a_live_owner, "I6"),
    (lose_everything_in_silence, "I7"),
    (swap_two_appends, "I8"),
    (give_a_seq_twice, "I8"),
    (tear_a_batch, "I8"),
    (change_a_seq, "I8"),
    (lose_a_dead_letter, "I9"),
    (bury_out_of_nowhere, "I9"),
    (forget_a_time, "I9"),
    (change_field("lane", "b"), "I9"),
    (change_field("level", 5), "I9"),
    (change_field("body", "ffff"), "I9"),
    (change_field("seq", 40), "I9"),
    (change_field("reason", "none"), "I9"),
    (change_field("error", "ffff"), "I9"),
    (change_field("attempts", 7), "I9"),
    (count_wrongly, "I10"),
    (count_one_more, "I10"),
    (count_one_as_another, "I10"),
    (forget_a_replay, "I10"),
    (miscount_dead_letters, "I10"),
    (run_a_stranger, "I10"),
]


# -- tests ------------------------------------------------------------------------------------------------


def test_a_valid_history_is_clean(valid: Lines, tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong, and the figures tell what happened."""
    report = judge(valid, tmp_path)
    assert report.findings == []
    assert report.notes == []
    figures = report.figures
    assert figures["jobs_acknowledged"] == 13
    assert figures["settlements_fenced"] == 1
    assert figures["overlaps"] == 1
    assert figures["takeovers"] == 2
    assert figures["reruns_per_lane"] == {"q/a": 1, "q/b": 1}
    assert figures["max_reruns_per_takeover"] == 1


@pytest.mark.parametrize(("plant", "invariant"), DEFECTS, ids=[plant.__name__ for plant, _ in DEFECTS])
def test_a_planted_defect_is_found(
    valid: Lines, plant: Callable[[Lines], None], invariant: str, tmp_path: Path
) -> None:
    """Each defect is found under the invariant it breaks, and shown with the lines that prove it."""
    lines = copy.deepcopy(valid)
    plant(lines)
    report = judge(lines, tmp_path, losses_expected=True)
    assert invariant in report.counts, report.findings
    found = [finding for finding in report.findings if finding.invariant == invariant]
    assert all(finding.what and finding.where for finding in found)


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
