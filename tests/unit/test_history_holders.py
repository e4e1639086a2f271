"""What holders of a lane cannot know yet: that a settlement was lost, or that the store lost the lease."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.defects import Lines
from tests.unit.playing import LEASE, Play, Process
from tests.unit.test_history_checker import judge
from tests.unit.test_history_lives import LIFE, Server

OLD, NEW = 10, 20


class Lane(Server):
    """The same with workers that hold its lane, under tokens that the test gives."""

    def find(self) -> list[Any]:
        """Where the queue stands, nothing being settled."""
        seq, (run, began) = len(self._jobs), self._run
        return [LIFE, seq, seq, 0, run, began, 0]

    def say(self, process: str, event: str, token: int, **fields: Any) -> None:
        """A line about a lease."""
        self.write(process, event, queue="q", lane="a", token=token, **fields)

    def claim(self, process: str, token: int) -> None:
        """A worker is given the lane."""
        sent, owner = self._time, f"{process}/life/0"
        lease = {"cause": "ready", "seconds": 1.0, "sent": sent, "owner": owner, "now": sent}
        self.say(process, "lease.taken", token, **lease, found=self.find())

    def run(self, process: str, token: int, *jobs: int, leaving: str = "stay") -> None:
        """Jobs begin and end, one after the other, and their settlements are sent."""
        for seq in jobs:
            job = {"id": f"q/a:{seq}"}
            self.say(process, "start", token, **job, seq=seq, level=3, attempt=1, replayed=False)
            self.say(process, "end", token, **job, attempt=1, outcome="returned")
            self.say(process, "settle.invoked", token, **job, action="ack", leaving=leaving)

    def refuse(self, process: str, token: int, job: int) -> None:
        """A settlement is answered: the lane is not this worker's."""
        self.say(process, "settle.fenced", token, id=f"q/a:{job}", action="ack")

    def confirm(self, process: str, token: int) -> None:
        """A lease is extended."""
        sent, leases = self._time + 0.05, [["q", "a", token]]
        self.write(process, "lease.renewed", seconds=1.0, sent=sent, leases=leases, lost=[])


def lose_a_lease(jobs: int) -> Lane:
    """A server with some jobs that was cut back to where their lane was nobody's, as its holder, `a`, does
    not know."""
    server = Lane()
    for _ in range(jobs + 1):
        server.enqueue("a")
    server.claim("a", OLD)
    server.run("a", OLD, 1)
    done = {"ordinal": 1, "status": "done", "held": True, "now": 0.0, "found": server.find()}
    server.say("a", "settle.ok", OLD, id="q/a:1", action="ack", **done)
    server.restart(lost=1)
    return server


@pytest.mark.parametrize("knows", [False, True], ids=["unaware", "confirmed"])
def test_a_head_under_a_lost_lease_is_no_head_to_the_next_holder(tmp_path: Path, knows: bool) -> None:
    """The store that forgot the lease, and the settlement of the job before, gives both jobs to another. Had
    it confirmed the lease since, that would be a finding."""
    server = lose_a_lease(2)
    server.enqueue("b")
    if knows:
        server.confirm("a", OLD)
    server.run("a", OLD, 2)
    server.refuse("a", OLD, 2)
    server.claim("b", NEW)
    server.run("b", NEW, 1)
    assert server.judge(tmp_path).get("I2", 0) == 2 * knows  # it began, and is still in


@pytest.mark.parametrize("knows", [False, True], ids=["unaware", "refused"])
def test_who_lost_a_lease_with_the_store_runs_ahead_until_refused(tmp_path: Path, knows: bool) -> None:
    """Another owner is there at once, and the old one cannot know before an answer comes: it starts as much
    as it may run ahead. After a refusal it is to start nothing more."""
    server = lose_a_lease(4)
    server.claim("b", NEW)
    server.run("a", OLD, 2)
    if knows:
        server.refuse("a", OLD, 2)
    server.run("a", OLD, 3, 4)
    server.refuse("a", OLD, 3)
    assert server.judge(tmp_path).get("I5", 0) == knows


# -- a settlement that was lost on its way ----------------------------------------------------------------


def tell_of_a_lost_settlement(folder: Path, *, taken_over: bool = True, urgent: int = 0) -> Lines:
    """Of three jobs the first one is done and its settlement lost, the second one has begun meanwhile, and
    waits for the answer; then perhaps another worker takes over and does all three, and what is `urgent`."""
    play = Play(folder)
    first, second = Process(play), Process(play)
    first.enqueue(3)
    assert first.start()
    first.end()
    lost = {"action": "ack", "reason": "", "error": "", "ran": True, "leaving": "stay"}
    first.tape.write("settle.invoked", **first._lane(), id=first.jobs[0].id, **lost)
    first.jobs.popleft()
    assert first.start()
    first.end()
    play.pass_time(LEASE + 1)
    if urgent:
        second.enqueue(urgent, level=5)
    if taken_over:
        second.drain()
    return play.dump()


def test_a_job_whose_settlement_was_lost_runs_again_before_its_next(tmp_path: Path) -> None:
    """The next one had begun when that was sent, and goes back behind it."""
    assert judge(tell_of_a_lost_settlement(tmp_path), tmp_path).findings == []


def test_what_went_back_is_still_to_begin_next(tmp_path: Path) -> None:
    """A later job that begins before it is found."""
    lines = tell_of_a_lost_settlement(tmp_path)
    starts = [line for line in lines if line["e"] == "start"]
    middle, taker = starts[1]["id"], starts[-1]["p"]
    lines[:] = [line for line in lines if line["p"] != taker or line.get("id") != middle]
    found = judge(lines, tmp_path).findings
    assert any(f"while {middle} had begun and was not settled" in each.what for each in found), found


def test_a_higher_level_may_come_before_what_went_back(tmp_path: Path) -> None:
    """To the store that job has not begun."""
    lines = tell_of_a_lost_settlement(tmp_path, urgent=1)
    starts = [(line["seq"], line["level"]) for line in lines if line["e"] == "start"]
    assert starts == [(1, 3), (2, 3), (1, 3), (4, 5), (2, 3), (3, 3)]
    assert judge(lines, tmp_path).findings == []


def test_a_job_that_was_not_sent_lets_no_other_one_begin(tmp_path: Path) -> None:
    """Without a settlement on its way the next one began too early."""
    lines = tell_of_a_lost_settlement(tmp_path)
    lines.remove(next(line for line in lines if line["e"] == "settle.invoked"))
    assert judge(lines, tmp_path).counts["I2"] == 2


def test_a_job_whose_settlement_was_lost_may_be_left(tmp_path: Path) -> None:
    """Nobody has come yet to run it again: it is still in though the next one has begun."""
    lines = tell_of_a_lost_settlement(tmp_path, taken_over=False)
    assert judge(lines, tmp_path).findings == []
    lines.remove(next(line for line in lines if line["e"] == "settle.invoked"))
    assert judge(lines, tmp_path).counts == {"I2": 2}
