"""Defects to plant into the lines of a valid history, the one that test_history_checker tells: what a store
or a worker would leave behind that breaks the contract."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.unit.playing import LEASE, QUEUE, Line, lines_of

Lines = list[Line]

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


def move_behind(lines: Lines, after: Line, *moved: Line) -> None:
    """Take lines out, and put them behind another one of their process."""
    for line in moved:
        del lines[next(index for index, each in enumerate(lines) if each is line)]
    insert(lines, after, *moved)


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


def lose_a_queue(lines: Lines) -> None:
    """I1: the store does not know a queue any more that jobs were put into."""
    lines.remove(dump_of(lines))
    lines_of(lines, "dump.end")[0]["queues"] = []


def takeover_of(number: int, lines: Lines) -> Line:
    """The claim that took a lane from the owner that had first begun a job."""
    start = start_of(number, lines)
    return lines_of(
        lines,
        "lease.taken",
        lambda line: line["lane"] == start["lane"] and line["token"] > start["token"],
    )[0]


def renew_until(taken: Line, start: Line, lines: Lines) -> None:
    """The owner that had begun a job was in touch with the store a moment before somebody else's claim."""
    at = taken["m"] - 1.0
    lease = [start["queue"], start["lane"], start["token"]]
    renewed = {"e": "lease.renewed", "t": 0.0, "seconds": LEASE, "leases": [lease], "lost": []}
    lines.append({**renewed, "p": start["p"], "m": at + 0.001, "sent": at})


def take_the_fence_away(lines: Lines) -> None:
    """I4: the store took a settlement of an owner whose lane had been taken over."""
    fenced = lines_of(lines, "settle.fenced")[0]
    fenced |= {"e": "settle.ok", "status": "done", "ordinal": 90, "held": True, "now": 0.0}


def settle_while_another_is_given_the_lane(lines: Lines) -> None:
    """I4: a settlement was under way when the lane was given to another owner, who began nothing; the store
    took it all the same, later by its own clock."""
    taken = takeover_of(5, lines)
    taken["cause"] = "lease_expired"
    fenced = lines_of(lines, "settle.fenced")[0]
    asked = lines_of(
        lines,
        "settle.invoked",
        lambda line: line["id"] == fenced["id"] and line["token"] == fenced["token"],
    )[0]
    asked["m"] = taken["m"] - 1e-3
    fenced |= {
        "e": "settle.ok",
        "status": "done",
        "ordinal": 90,
        "held": False,
        "now": taken["now"] + 1e-4,
    }


def start_a_settled_job(lines: Lines) -> None:
    """I5: a job ran again after it had been settled."""
    last = start_of(7, lines)
    insert(lines, settled(7, lines), later(start_of(1, lines), token=last["token"]))


def settle_before_it_runs(lines: Lines) -> None:
    """I5: a job was told to have succeeded, and only then its code ran."""
    move_behind(lines, settled(6, lines), start_of(6, lines), end_of(6, lines))


def settle_while_it_runs(lines: Lines) -> None:
    """I5: a job was told to have succeeded while its code was running."""
    move_behind(lines, settled(6, lines), end_of(6, lines))


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
    renew_until(takeover_of(5, lines), start_of(5, lines), lines)


def take_over_between_two_attempts(lines: Lines) -> None:
    """I6: the same, while that owner ran nothing."""
    start, taken = start_of(5, lines), takeover_of(5, lines)
    renew_until(taken, start, lines)
    mine = ("start", "end", "settle.invoked", "settle.fenced")
    lines[:] = [
        line
        for line in lines
        if not (line["e"] in mine and line["id"] == start["id"] and line["token"] == start["token"])
    ]


def take_over_from_one_that_is_killed_later(lines: Lines) -> None:
    """I6: the same, and that owner was killed before its attempt ended."""
    start = start_of(8, lines)
    renew_until(takeover_of(8, lines), start, lines)
    assert not [line for line in lines_of(lines, "end") if line["token"] == start["token"]]


def take_over_as_if_ready(lines: Lines) -> None:
    """I6: a held lane was given away as one that nobody held."""
    take_over_between_two_attempts(lines)
    takeover_of(8, lines)["cause"] = "ready"
    renew_until(takeover_of(8, lines), start_of(8, lines), lines)


def hand_over_to_a_stranger(lines: Lines) -> None:
    """I6: a lane was handed over as to the next incarnation of its owner's node, and there is none."""
    taken = takeover_of(8, lines)
    taken["cause"] = "handover"
    renew_until(taken, start_of(8, lines), lines)


def hand_over_to_itself(lines: Lines) -> None:
    """I6: a lane was handed over within one incarnation of a node."""
    hand_over_to_a_stranger(lines)
    start, taken = start_of(8, lines), takeover_of(8, lines)
    former = lines_of(lines, "lease.taken", lambda line: line["token"] == start["token"])[0]
    taken["owner"] = former["owner"].rpartition("/")[0] + "/1"
    listening = lines_of(lines, "worker.listening", lambda line: line["p"] == taken["p"])[0]
    listening["owner"] = taken["owner"]


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


def begin_a_stranger(lines: Lines, stranger: str) -> None:
    """A job that nobody is known to have enqueued ran to its end, in a lane of its own."""
    start = start_of(7, lines)
    of_job = [line for line in lines if line.get("id") == start["id"] and line["token"] == start["token"]]
    for line in of_job:
        if line["e"] == "start":
            insert(lines, settled(7, lines), later(line, id=stranger, lane="s", seq=500))


def leave_a_call_unanswered(lines: Lines, process: str, **unknown: Any) -> None:
    """A call of one job got no answer; with `unknown` its process lived to say so."""
    begin = lines_of(lines, "begin", lambda line: line["p"] == process)[0]
    call = {"call": f"{process}-x", "queue": QUEUE}
    asked = {"e": "enqueue.invoked", "t": 0.0, **call, "n": 1}
    told = {"e": "enqueue.unknown", "t": 0.0, **call, "error": "EnqueueUncertain", **unknown}
    insert(lines, begin, *([asked, told] if unknown else [asked]))


def producer_of(number: int, lines: Lines) -> str:
    """The process that enqueued a job."""
    known = job(number, lines)
    return next(
        str(line["p"])
        for line in lines_of(lines, "enqueue.ok")
        if known in [each[0] for each in line["jobs"]]
    )


def run_a_stranger_of_another(lines: Lines) -> None:
    """I10: a job began that nobody enqueued; a call of another process got no answer."""
    begin_a_stranger(lines, job(1, lines).rpartition(":")[0] + ":900")
    leave_a_call_unanswered(lines, producer_of(8, lines))


def run_a_stranger_of_another_call(lines: Lines) -> None:
    """I10: a job began that nobody enqueued; the call that got no answer was for another one."""
    begin_a_stranger(lines, job(1, lines).rpartition(":")[0] + ":900")
    other = job(1, lines).rpartition(":")[0] + ":901"
    leave_a_call_unanswered(lines, producer_of(1, lines), ids=[other])


DEFECTS: list[tuple[Callable[[Lines], None], str]] = [
    (lose_a_waiting_job, "I1"),
    (lose_an_acknowledged_job, "I1"),
    (lose_a_queue, "I1"),
    (reorder_first_starts, "I2"),
    (overtake_a_begun_head, "I2"),
    (leave_a_job_behind, "I2"),
    (swap_ordinals, "I3"),
    (repeat_an_ordinal, "I3"),
    (settle_without_ordinal, "I3"),
    (lower_a_token, "I3"),
    (take_the_fence_away, "I4"),
    (settle_while_another_is_given_the_lane, "I4"),
    (start_a_settled_job, "I5"),
    (settle_before_it_runs, "I5"),
    (settle_while_it_runs, "I5"),
    (settle_twice, "I5"),
    (keep_a_settled_job, "I5"),
    (start_on_after_a_takeover, "I5"),
    (run_two_at_once, "I6"),
    (run_in_two_processes, "I6"),
    (take_over_a_live_owner, "I6"),
    (take_over_between_two_attempts, "I6"),
    (take_over_from_one_that_is_killed_later, "I6"),
    (take_over_as_if_ready, "I6"),
    (hand_over_to_a_stranger, "I6"),
    (hand_over_to_itself, "I6"),
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
    (run_a_stranger_of_another, "I10"),
    (run_a_stranger_of_another_call, "I10"),
]
