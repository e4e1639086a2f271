"""Processes that are asked to end, and processes that stand still for longer than their leases."""

from __future__ import annotations

import math
import signal
import time
from random import Random
from statistics import median

from tests.chaos.bounds import assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.events import Event
from tests.chaos.figures import Figures
from tests.chaos.processes import Process
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.test_kills import begin
from tests.chaos.tracing import Held, held_by, reruns, stay_of

STANDBY = 0.1
"""Seconds within which a standby goes on with the lanes of a worker that ends in peace."""


def test_ends_in_peace(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """SIGTERM and SIGINT: what runs is finished, nothing runs again, the worker exits 0; a standby goes on
    with its lanes at once, without waiting for a lease."""
    stage = stages(store_url)
    begin(stage)
    ends = time.monotonic() + sizes.budget
    ended = []
    for _ in range(sizes.pick(5, 75)):
        stage.wait_for_more("start", chance.randint(1, 20))
        stage.worker()
        victim = chance.choice(serving(stage))
        victim.signal(chance.choice((signal.SIGTERM, signal.SIGINT)))
        assert victim.wait() == 0
        ended.append(victim.pid)
        figures.count(stops=1)
        if time.monotonic() > ends:
            break
    stage.check_history()
    again = reruns(stage.events("start"), stage.events("settle.ok"))
    assert not again, f"ran again although nobody died: {again}"
    causes = {event["cause"] for event in stage.events("lease.taken")}
    assert causes == {"ready"}, "a lane was not given back by the worker that ended"
    gaps = handovers(stage, ended)
    figures.time(f"handover_{stage.store}", gaps)
    assert gaps, "no worker that ended left a lane with jobs in it: what is tested here?"
    assert median(gaps) <= STANDBY, f"a standby waited {median(gaps):.3f} s"
    assert max(gaps) < stage.lease, f"a standby waited {max(gaps):.3f} s, as if for a lease"


def serving(stage: Stage) -> list[Process]:
    """The workers that have had lanes."""
    known = {event["pid"] for event in stage.events("lease.taken")}
    return [each for each in stage.alive("work") if each.pid in known]


def handovers(stage: Stage, ended: list[int]) -> list[float]:
    """Seconds between the last settlement of a worker that ended, in each lane, and the next claim there,
    where the next job was in the lane by then."""
    accepted = {job[0]: event["m"] for event in stage.events("enqueue.ok") for job in event["jobs"] if job[1]}
    first: dict[Held, Event] = {}
    for event in stage.events("start"):
        first.setdefault(stay_of(event), event)
    last: dict[tuple[int, str, str], Event] = {}
    for event in stage.events("settle.ok"):
        if event["pid"] in ended:
            last[event["pid"], event["queue"], event["lane"]] = event
    gaps = []
    for left in last.values():
        following = next_claim(stage, left)
        begun = first.get(stay_of(following)) if following else None
        if following is None or begun is None or left["action"] == "retry":  # a retry waits for its time
            continue
        if accepted.get(begun["id"], math.inf) < left["m"]:
            gaps.append(max(0.0, following["m"] - left["m"]))
    return gaps


def next_claim(stage: Stage, left: Event) -> Event | None:
    """The first claim of a lane after a stay there."""
    later = [
        event
        for event in stage.events("lease.taken")
        if (event["queue"], event["lane"]) == (left["queue"], left["lane"]) and event["token"] > left["token"]
    ]
    return min(later, key=lambda event: int(event["token"]), default=None)


def test_stands_still_past_its_lease(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """SIGSTOP at any moment until others have taken every lane, then SIGCONT: what the sleeper reports is
    refused. What it was about to begin, having looked at its lease, it may still begin, once in a stay;
    nothing more."""
    stage = stages(store_url)
    begin(stage)
    ends = time.monotonic() + sizes.budget
    for _ in range(sizes.pick(5, 75)):
        stage.wait_for_more("start", chance.randint(1, 20))
        sleeper = chance.choice(serving(stage))
        sleeper.stop()
        held = stays_of(stage, sleeper)
        stage.worker()
        wait_for_takeover(stage, held)
        woken = sleeper.go_on()
        wait_for_end(stage, held)
        sleeper.signal(signal.SIGTERM)
        assert sleeper.wait() == 0
        late = [
            event
            for event in stage.events("start")
            if event["pid"] == sleeper.pid and event["m"] > woken and stay_of(event) in held
        ]
        figures.count(stops=1, lanes_lost=len(held), begun_after_waking=len(late))
        # Between looking at its lease and beginning a job it may have been stopped, so one can slip through.
        assert len({stay_of(event) for event in late}) == len(late), f"begun under passed tokens: {late}"
        looks = {stay_of(event): event["looked"] for event in stage.events("begun_late")}
        unlooked = [event for event in late if looks.get(stay_of(event), woken) >= woken]
        assert not unlooked, f"looked at a lease that was over, and begun: {unlooked}"
        if time.monotonic() > ends:
            break
    stage.check_history()
    assert_reruns(stage)


def test_begins_nothing_after_its_lease(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """Stopped between two jobs of a lane, past the point at which the first one is settled, until another
    worker has run the rest: when it goes on it begins none of them, not once."""
    stage = stages(store_url)
    for _ in range(sizes.pick(3, 30)):
        sleeper, woken = sleep_between_jobs(stage, chance.randint(1, 5))
        late = [each for each in stage.events("start") if each["pid"] == sleeper.pid and each["m"] > woken]
        figures.count(stops=1, begun_after_waking=len(late))
        assert not late, f"begun after its lease: {late}"
        for worker in stage.alive("work"):
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0
    stage.check_history()
    assert_reruns(stage)


def sleep_between_jobs(stage: Stage, settled: int) -> tuple[Process, float]:
    """A worker stands still after so many of six jobs of a lane, until another one has run the others; who it
    was, and when it was woken."""
    stage.start("enqueue", "6", "0.01").wait()
    before = len({event["id"] for event in stage.events("settle.ok")})
    hold = stage.folder / f"hold-{before}"
    sleeper = stage.worker(1, GLASSQ_CRASH_AT=f"hold@event_AttemptSettled:{settled}", CHAOS_HOLD=str(hold))
    stage.wait_for(
        lambda: sleeper.pid in {event["pid"] for event in stage.events("at_point")}, "it to get there"
    )
    sleeper.stop()
    held = stays_of(stage, sleeper)
    assert len(held) == 1
    stage.worker(1)
    stage.wait_for(
        lambda: len({event["id"] for event in stage.events("settle.ok")}) == before + 6, "all jobs"
    )
    hold.touch()
    woken = sleeper.go_on()
    wait_for_end(stage, held)
    return sleeper, woken


def stays_of(stage: Stage, process: Process) -> set[Held]:
    """What a process that stands still holds, as far as it has written."""
    return held_by(process.pid, stage.events("lease.taken"), stage.events("lease.left", "lease.lost"))


def wait_for_end(stage: Stage, held: set[Held]) -> None:
    """Until those who held these stays have noticed that they ended."""
    stage.wait_for(
        lambda: held <= {stay_of(event) for event in stage.events("lease.left", "lease.lost")},
        "the sleeper to notice",
    )


def wait_for_takeover(stage: Stage, held: set[Held]) -> None:
    """Until somebody else has claimed each lane after these stays."""

    def taken_over(stay: Held) -> bool:
        queue, lane, token = stay
        return any(
            (event["queue"], event["lane"]) == (queue, lane) and event["token"] > token
            for event in stage.events("lease.taken")
        )

    stage.wait_for(lambda: all(taken_over(stay) for stay in held), "others to take over")
