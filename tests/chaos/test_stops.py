"""Processes that are asked to end, and processes that stand still for longer than their leases."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from random import Random

from tests.chaos.conftest import Stages
from tests.chaos.events import Event
from tests.chaos.figures import Figures
from tests.chaos.processes import Process
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.test_kills import begin
from tests.chaos.tracing import Held, held_by, reruns, stay_of


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
    figures.time(f"handover_{stage.store}", handovers(stage, ended))


def serving(stage: Stage) -> list[Process]:
    """The workers that have had lanes."""
    known = {event["pid"] for event in stage.events("lease.taken")}
    return [each for each in stage.alive("work") if each.pid in known]


def handovers(stage: Stage, ended: list[int]) -> list[float]:
    """Seconds between the last settlement of a worker that ended, in each lane, and the next claim there."""
    taken: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in stage.events("lease.taken"):
        taken[event["queue"], event["lane"]].append(event)
    last: dict[tuple[int, str, str], Event] = {}
    for event in stage.events("settle.ok"):
        if event["pid"] in ended:
            last[event["pid"], event["queue"], event["lane"]] = event
    gaps = []
    for (_, queue, lane), left in last.items():
        later = [event["m"] for event in taken[queue, lane] if event["token"] > left["token"]]
        if later and left["action"] != "retry":  # a retry waits for its time first
            gaps.append(min(later) - left["m"])
    return gaps


def test_stands_still_past_its_lease(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """SIGSTOP until others have taken every lane, then SIGCONT: what the sleeper reports is refused, and it
    begins nothing more under an old token."""
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
        late = [
            event
            for event in stage.events("start")
            if event["pid"] == sleeper.pid and event["m"] > woken and stay_of(event) in held
        ]
        figures.count(stops=1, lanes_lost=len(held), begun_after_waking=len(late))
        # Between looking at its lease and beginning a job it may have been stopped, so one can slip through.
        assert len({stay_of(event) for event in late}) == len(late), f"begun under passed tokens: {late}"
        sleeper.signal(signal.SIGTERM)
        assert sleeper.wait() == 0
        if time.monotonic() > ends:
            break
    stage.check_history()


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
