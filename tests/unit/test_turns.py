"""One thread's way through lanes: what begins after what, what is heard when, and what is given back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from glassq.model.leases import Lease
from glassq.testing.clock import FakeClock
from glassq.worker.bundles import Bundles
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler
from glassq.worker.turns import Turns

Follow = Callable[[str], Lease | None]


class Lane:
    """A lane as its thread sees it; the test says what the store answers, and when."""

    def __init__(self, play: Play, name: str, queue: str = "orders") -> None:
        self.lease = Lease(queue, name, 1)
        self.paused = False
        self.answered = False
        self.asks_for_next = True
        self.breaks = False
        self.is_short = False
        self.served, self.sent_after = 0, -1
        self.stays = self.over = (self,)
        self._play = play

    def run(self, follow: Follow, _bundle: object = None) -> None:
        """One job, whose settlement is sent when the next lane is known."""
        self._play.told.append(f"run {self.lease.lane}")
        if self.breaks:
            raise RuntimeError(self.lease.lane)
        if self.asks_for_next:
            begins = follow(self.lease.queue)
            self._play.told.append(f"sent {self.lease.lane}, begins {begins.lane if begins else 'nothing'}")

    def stay(self) -> Lane:
        """What is left of it."""
        return self

    def begin_after(self, queue: str) -> Lease | None:
        """As a lane that waited."""
        return self.lease if queue == self.lease.queue else None

    def heard(self) -> bool:
        """Whether the answer is there."""
        return self.answered

    def leave(self) -> None:
        """Heard of."""
        self._play.told.append(f"heard {self.lease.lane}")

    def fail(self) -> None:
        """What should not happen has happened."""
        self._play.told.append(f"failed {self.lease.lane}")


class Play:
    """A thread among its lanes."""

    def __init__(self, *lanes: str, most: int = 16) -> None:
        self.told: list[str] = []
        self.lanes = [Lane(self, name) for name in lanes]
        self.waiting = deque(self.lanes)
        self.given_back: list[str] = []
        self.done: list[str] = []
        taken: Any = self.take
        given: Any = self.give_back
        done: Any = lambda lanes: self.done.extend(lane.lease.lane for lane in lanes)  # noqa: E731
        bundles = Bundles(cast("Settler", None), FakeClock(), WorkerOptions(max_in_flight=most // 2))
        self.turns = Turns(
            bundles=bundles,
            next_lane=taken,
            is_watched=lambda: bool(self.waiting),
            give_back=given,
            done=done,
            unfinished=set(),
            resume=lambda _: None,
            is_wanted=lambda: True,
            are_free=lambda: False,
            share=lambda _: None,
        )

    def take(self) -> Lane | None:
        """The next one that waits."""
        return self.waiting.popleft() if self.waiting else None

    def give_back(self, queue: str, lanes: Sequence[Lane]) -> None:
        """These, and those of the queue that wait."""
        kept = [lane for lane in self.waiting if lane.lease.queue != queue]
        withdrawn = [lane for lane in self.waiting if lane.lease.queue == queue]
        self.given_back += [lane.lease.lane for lane in (*lanes, *withdrawn)]
        self.waiting = deque(kept)

    def run(self) -> list[str]:
        """Serve the first lane, and what follows."""
        first: Any = self.waiting.popleft()
        self.turns.run(first)
        return self.told


def test_the_end_of_a_turn_says_which_lane_begins() -> None:
    """It is on the wire before that lane's job runs; and nobody waits for its answer."""
    play = Play("a", "b")
    assert play.run() == [
        "run a",
        "sent a, begins b",
        "run b",
        "sent b, begins nothing",
        "heard a",
        "heard b",
    ]
    assert play.done == ["a", "b"]


def test_answers_that_are_there_are_taken_in_between_lanes() -> None:
    """In the order of the lanes."""
    play = Play("a", "b")
    play.lanes[0].answered = True
    assert play.run().index("heard a") < play.told.index("run b")


def test_no_more_than_the_most_are_on_their_way() -> None:
    """What a stall of the server leaves unacknowledged is bounded."""
    play = Play(*"abcd", most=2)
    assert play.run().index("heard a") == play.told.index("run d") - 1


def test_a_lane_that_ended_in_another_way_is_followed_too() -> None:
    """A retry, a callback: its settlement was waited for, and nothing was said of the next lane."""
    play = Play("a", "b")
    play.lanes[0].asks_for_next = False
    assert play.run()[:2] == ["run a", "run b"]


def test_the_end_of_a_turn_says_nothing_of_another_queue() -> None:
    """That lane says so itself."""
    play = Play("a", "b")
    play.lanes[1].lease = Lease("mail", "b", 1)
    assert play.run()[1:3] == ["sent a, begins nothing", "run b"]


def test_a_paused_queues_lanes_are_given_back() -> None:
    """Also the one that was about to begin: a task that pauses its own queue is the last to run."""
    play = Play("a", "b", "c", "d")
    play.lanes[0].paused = play.lanes[0].answered = True
    play.lanes[2].lease = Lease("mail", "c", 1)
    assert "run b" not in play.run()
    assert play.given_back == ["b", "d"]
    assert "run c" in play.told


def test_what_breaks_in_one_lane_strands_no_other() -> None:
    """The lane that was to follow is given back: nobody else knows of it."""
    play = Play("a", "b", "c")

    def broken(follow: Follow, _bundle: object) -> bool:
        follow("orders")
        raise RuntimeError("a")

    play.lanes[0].run = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError):
        play.run()
    assert play.told == ["failed a", "heard a"]
    assert play.given_back[0] == "b"
    assert play.done == ["a"]
