"""When a worker claims, and when it only says that it is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from glassq.errors import StorageUnavailable
from glassq.model.leases import Claimed
from glassq.model.watermarks import Watermark
from glassq.testing.clock import FakeClock
from glassq.worker.claiming import Claiming
from glassq.worker.granted import GrantedLane
from glassq.worker.holdings import Holdings
from glassq.worker.options import WorkerOptions
from glassq.worker.pool import LanePool


class Post:
    """A worker's claiming, with a store that grants nothing and a bell that rings when the test says so."""

    def __init__(self, queues: int = 1) -> None:
        self.clock = FakeClock()
        self.queues = tuple(f"q{number}" for number in range(queues))
        self.happened: list[str] = []
        self.others: dict[str, int] = {}
        self.rings: list[bool] = []
        self.fails = False
        with_: Any = SimpleNamespace(
            clock=self.clock, storage=self, options=WorkerOptions(), owner=None, stopping=lambda: False
        )
        pool: LanePool[GrantedLane] = LanePool(4, "lane", serve=lambda _: None, on_free=lambda: None)
        shares: Any = SimpleNamespace(
            ordered=lambda queues: queues,
            terms=lambda *_, **__: {},
            look=lambda _: None,
            several=False,
            bounded=False,
        )
        rest: Any = None
        self.claiming = Claiming(
            with_,
            queues=lambda: self.queues,
            doorbell=self,
            pool=pool,
            holdings=Holdings(),
            shares=shares,
            reach=SimpleNamespace(lanes=lambda: 0, look=lambda _: None),  # type: ignore[arg-type]
            assignment=None,
            bundles=SimpleNamespace(  # type: ignore[arg-type]
                send_old=lambda: False, take_away=lambda _: [], have_going_on=lambda: False
            ),
            beats=SimpleNamespace(beat=self._beat),  # type: ignore[arg-type]
            random=lambda: 0.5,
            rest=self.clock.sleep,
            give_back=rest,
            withdraw=rest,
        )

    def _beat(self, *, busy: bool) -> None:
        del busy
        self.happened.append(f"beat at {self.clock.monotonic() - self.began:g}")

    def claim(self, *_: object, **__: object) -> Claimed:
        """As of a store."""
        self.happened.append(f"claim at {self.clock.monotonic() - self.began:g}")
        if self.fails:
            raise StorageUnavailable("gone", "connection")
        return Claimed(grants=(), now=0.0, others=self.others, found=dict.fromkeys(self.queues, Watermark()))

    def wait(self, timeout: float | None) -> bool:
        """As of a doorbell."""
        assert timeout is not None
        if self.rings and self.rings.pop(0):
            return True
        self.clock.advance(timeout)
        return False

    def ring(self) -> None:
        """As of a doorbell."""
        self.happened.append("ring")

    def attend(self, queues: object) -> None:
        """As of a doorbell."""

    def close(self) -> None:
        """As of a doorbell."""

    def turn(self, times: int) -> list[str]:
        """What happens in so many turns."""
        self.began = self.clock.monotonic()
        for _ in range(times):
            self.claiming.turn()
        return self.happened


def test_an_idle_worker_claims_and_is_heard_of_now_and_then() -> None:
    """The claim is a safety net: the bell has not rung."""
    assert Post().turn(3) == [
        "beat at 0",
        "claim at 0",
        "beat at 0",
        "claim at 5",
        "beat at 5",
        "claim at 10",
    ]


@pytest.mark.parametrize(("queues", "seconds"), [(60, 9), (100, 15), (1000, 15)])
def test_a_worker_of_many_queues_claims_more_seldom(queues: int, seconds: int) -> None:
    """A claim looks into each of them; it is heard of as often as others."""
    happened = Post(queues).turn(8)
    beats = sorted({float(each.split()[-1]) for each in happened if each.startswith("beat")})
    assert beats[:3] == [0, 5, 10 if seconds > 10 else 9]
    assert [each for each in happened if "claim" in each][:2] == ["claim at 0", f"claim at {seconds}"]


def test_a_ring_is_answered_with_a_claim_at_once() -> None:
    """However many queues there are."""
    post = Post(100)
    post.rings = [True, True]
    assert [each for each in post.turn(3) if "claim" in each] == ["claim at 0"] * 3


def test_a_free_thread_calls_for_a_claim_when_something_was_left() -> None:
    """Else the end of a lane is told, and nothing more."""
    post = Post()
    post.turn(1)
    post.happened.clear()
    post.claiming.freed()
    assert post.happened == ["beat at 0"]
    post.others = dict.fromkeys(post.queues, 1)
    post.turn(1)
    post.happened.clear()
    post.claiming.freed()
    assert post.happened == ["ring"]


def test_a_claim_that_failed_is_made_again_after_a_pause() -> None:
    """And as long as it is not known what is there, a thread that is free asks."""
    post = Post()
    post.fails = True
    happened = post.turn(3)
    claims = [float(each.split()[-1]) for each in happened if "claim" in each]
    assert 0 == claims[0] < claims[1] < claims[2] < 1
    post.claiming.freed()
    assert happened[-1] == "ring"
