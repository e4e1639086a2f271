"""Whoever leads the schedules dies, stands still or has its store's clock set: no slot twice, none missed."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest

from glassq import Glassq
from glassq.codec import open_envelope
from glassq.context import slot_in
from glassq.model.schedules import ScheduleView
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.processes import Process
from tests.chaos.servers import AOF_EVERYSEC, ServerClock, serving
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage

PROGRAM = "tests.chaos.timetabled"
QUEUE = "slots"
SCHEDULES = 40
LEASE = 1.0


class Watch:
    """The schedules of a stage as they are stored, and the slots that are in the queue."""

    def __init__(self, stage: Stage, app: Glassq) -> None:
        self._stage = stage
        self._app = app
        self._lead()
        stage.wait_for(lambda: len(self.views()) == SCHEDULES, "the schedules to be stored")
        self._begin = {view.name: int(view.next_at or 0) for view in self.views()}

    def _lead(self) -> Process:
        return self._stage.start("lead", module=PROGRAM)

    def lead(self) -> Process:
        """One candidate more."""
        return self._lead()

    def views(self) -> list[ScheduleView]:
        """What is stored now."""
        return self._app.schedules.all()

    def wait_for_slots(self, seconds: int) -> None:
        """Until every schedule has been moved on by so much."""
        begin = {view.name: int(view.next_at or 0) for view in self.views()}

        def moved() -> bool:
            return all((view.next_at or 0) >= begin[view.name] + seconds for view in self.views())

        self._stage.wait_for(moved, f"{seconds} s of slots")

    def check(self) -> int:
        """End all candidates; each slot since the beginning is there, once, in order. How many there are."""
        for process in self._stage.processes:
            if process.stopped:
                process.go_on()
        self.wait_for_slots(3)
        for process in self._stage.alive("lead"):
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
        found: dict[str, list[int]] = defaultdict(list)
        for record in self._app.storage.waiting(QUEUE, 1_000_000):
            slot = slot_in(open_envelope(record.job.body).headers)
            assert slot is not None
            found[f"schedule-{record.lane}"].append(int(slot.timestamp()))
        for view in self.views():
            slots = found[view.name]
            assert slots == list(range(slots[0], slots[-1] + 1)), f"{view.name} has gaps or doubles"
            assert slots[0] <= self._begin[view.name]
            assert slots[-1] + 1 == view.next_at
            assert view.slots_missed == 0
        return sum(map(len, found.values()))


@contextmanager
def watching(stage: Stage) -> Iterator[Watch]:
    """The schedules of a stage, looked at from outside."""
    with closing(Glassq(stage.url)) as app:
        yield Watch(stage, app)


@pytest.mark.parametrize("count", [2, 5])
def test_leaders_die_and_stand_still(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures, count: int
) -> None:
    """`kill -9` and SIGSTOP past the lease, at any moment: all slots of all schedules, each once."""
    stage = stages(store_url, lease=LEASE, CHAOS_SCHEDULES=str(SCHEDULES))
    with watching(stage) as watch:
        for _ in range(count - 1):
            watch.lead()
        ends = time.monotonic() + min(sizes.pick(4, 90), sizes.budget)
        while time.monotonic() < ends:
            time.sleep(until_a_bad_moment(chance))
            for stopped in [each for each in stage.processes if each.stopped]:
                if chance.random() < 0.4:
                    stopped.go_on()
            victim = chance.choice(stage.alive("lead"))
            if chance.random() < 0.5 and len(stage.alive("lead")) > 1:
                victim.stop()
                figures.count(stops=1)
            else:
                victim.kill()
                watch.lead()
                figures.count(kills=1)
        figures.count(slots=watch.check())


def until_a_bad_moment(chance: Random) -> float:
    """Seconds until a moment at which a leader is likely to enqueue, after a full second; or until any."""
    if chance.random() < 0.3:
        return chance.uniform(0.0, 0.6)
    return 1.0 - time.time() % 1.0 + chance.uniform(0.0, 0.1)


def test_the_servers_clock_is_set(tmp_path: Path, stages: Stages, sizes: Sizes, figures: Figures) -> None:
    """Ahead: the slots in between are due at once. Back: nothing is repeated, nothing left out."""
    clock = ServerClock(tmp_path / "clock")
    with serving(tmp_path / "server", *AOF_EVERYSEC, environment=clock.environment) as server:
        stage = stages(server.url, lease=LEASE, CHAOS_SCHEDULES=str(SCHEDULES))
        with watching(stage) as watch:
            watch.lead()
            for _ in range(sizes.pick(1, 6)):
                for offset in (5, 0):
                    clock.set(offset)
                    figures.count(clock_steps=1)
                    victim = stage.alive("lead")[0]
                    victim.kill()
                    watch.lead()
                    watch.wait_for_slots(2)
            figures.count(slots=watch.check())


def test_a_leader_that_ends_is_followed_at_once(
    store_url: str, stages: Stages, sizes: Sizes, figures: Figures
) -> None:
    """SIGTERM gives the lead away without waiting for a lease; the standby looks every fifth of one."""
    stage = stages(store_url, lease=10.0, CHAOS_SCHEDULES=str(SCHEDULES))
    with watching(stage) as watch:
        for _ in range(sizes.pick(1, 10)):
            watch.lead()
            watch.wait_for_slots(2)
            leaders = stage.alive("lead")
            leaders[0].signal(signal.SIGTERM)
            assert leaders[0].wait() == 0
            before = time.monotonic()
            watch.wait_for_slots(1)
            figures.time(f"handover_{stage.store}", [time.monotonic() - before])
            assert time.monotonic() - before < 6, "as if for a lease"
        figures.count(slots=watch.check())
