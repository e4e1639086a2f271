"""When a lane may have another owner: what is no finding, and what is a figure only."""

from __future__ import annotations

from pathlib import Path

from glassq.model.leases import Leaving
from glassq.testing.history import Report, check, read
from glassq.testing.history.clocks import StoreClock
from tests.unit.playing import LEASE, Play, Process, lines_of, write_history


def judged(play: Play) -> Report:
    """The verdict on a play that is over."""
    return check(read([write_history(play.dump(), play.folder / "history")]))


def test_the_next_incarnation_of_a_node_takes_over_at_once(tmp_path: Path) -> None:
    """An instance that comes back under its name does not wait for its own lease to end."""
    play = Play(tmp_path)
    former = Process(play, "node")
    former.enqueue(2)
    former.start()
    Process(play, "node").drain()
    report = judged(play)
    assert report.findings == []
    assert report.figures["claims"] == {"handover": 1, "ready": 1}


def test_a_lane_that_was_handed_over_may_be_anybodys(tmp_path: Path) -> None:
    """An instance that comes back frees all lanes of its former life, and takes one; another one takes the
    rest, with the same cause."""
    play = Play(tmp_path)
    former, other = Process(play, "node"), Process(play)
    for lane in "ab":
        former.enqueue(1, lane=lane)
        former.start()
        former.grant = None
    back = Process(play, "node")
    assert back.claim()
    other.drain()
    back.drain()
    assert judged(play).findings == []


def test_a_lease_that_ended_by_a_clock_that_was_set_is_a_figure(tmp_path: Path) -> None:
    """Each owner has one fresh lease when the store's clock is set. Where it is set twice before the owner
    asks again, another one takes the lane early: counted, not accused."""
    play = Play(tmp_path)
    owner, other = Process(play), Process(play)
    owner.enqueue(2)
    owner.start()
    for _ in range(2):
        play.clock.step_wall(3600.0)
        assert other.grant is None
        other.claim()
    assert other.grant is not None
    other.drain()
    report = judged(play)
    assert report.findings == []
    assert report.figures["takeovers_by_a_set_clock"] == 1


def test_a_callback_that_outlives_its_lane_leaves_it_free(tmp_path: Path) -> None:
    """A lane that is held empty for a callback vanishes with its owner; whoever enqueues next finds it as if
    nobody had ever held it."""
    play = Play(tmp_path)
    former = Process(play, "node")
    former.enqueue(1)
    former.start()
    former.end()
    former.settle(leaving=Leaving.KEEP)
    assert former.kept is not None
    other = Process(play)
    assert not Process(play, "node").claim()
    other.enqueue(1)
    other.drain()
    lines = play.dump()
    assert [line["cause"] for line in lines_of(lines, "lease.taken")] == ["ready", "ready"]
    assert check(read([write_history(lines, tmp_path / "history")])).findings == []


def test_a_lease_that_was_asked_to_be_given_up_may_be_anybodys(tmp_path: Path) -> None:
    """A release whose answer never came may have been carried out."""
    play = Play(tmp_path)
    former, other = Process(play), Process(play)
    former.enqueue(1)
    assert former.claim()
    assert former.grant is not None
    former.store.release(former.owner, [former.grant.lease])
    play.pass_time(LEASE / 5)
    other.drain()
    lines = play.dump()
    assert check(read([write_history(lines, tmp_path / "history")])).findings == []
    lines.remove(lines_of(lines, "lease.releasing")[0])
    found = check(read([write_history(lines, tmp_path / "history")])).counts
    assert found == {"I6": 1}


def test_a_clock_that_was_set_is_seen_between_two_answers() -> None:
    """A jump lies between the call whose answer was of the time before it and the answer after it; a slow
    answer alone is none."""
    steady = [(float(at), at + 0.1, 1000.0 + at) for at in range(5)]
    slow = (5.0, 9.0, 1008.0)
    assert not StoreClock([*steady, slow]).jumped_between(0.0, 100.0)
    back = StoreClock([*steady, (6.0, 6.1, 900.0), (7.0, 7.1, 901.0)])
    assert back.jumped_between(5.0, 5.5)
    assert not back.jumped_between(0.0, 3.9)
    assert not back.jumped_between(6.2, 8.0)


def test_a_worker_that_gets_its_lane_back_runs_one_attempt_at_a_time(tmp_path: Path) -> None:
    """It outlives its lease in a job and is given the lane again: the next attempt begins when that job has
    ended. Side by side would be a finding, although the lease was over."""
    play = Play(tmp_path)
    process = Process(play)
    process.enqueue(1)
    assert process.start()
    first, process.grant = process.grant, None
    play.pass_time(LEASE + 1)
    assert process.claim()
    second, attempts = process.grant, process.attempts
    process.grant, process.attempts = first, 0
    process.end()
    process.grant, process.attempts = second, attempts
    process.drain()
    lines = play.dump()
    assert check(read([write_history(lines, tmp_path / "history")])).findings == []
    ended, began = lines_of(lines, "end")[0], lines_of(lines, "start")[1]
    ended["m"], began["m"] = began["m"], ended["m"]
    assert check(read([write_history(lines, tmp_path / "history")])).counts == {"I6": 1}
