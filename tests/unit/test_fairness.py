"""Who gets how much of a worker: turns by weight, slots by queue."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import pytest

from glassq.errors import BadOption
from glassq.model.leases import Claimed, Grant, Lease
from glassq.model.watermarks import Watermark
from glassq.policy.fairness import in_need, should_yield, slots_of, weight_of
from glassq.registry import Registry
from glassq.storage import Terms
from glassq.systemclock import SystemClock
from glassq.telemetry import Bus
from glassq.worker.holdings import HeldLane, Holdings
from glassq.worker.shares import Shares

# -- what is declared ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("turn", 0, "from 1 up"),
        ("turn", 10_001, "at most 10,000"),
        ("turn", True, "from 1 up"),
        ("slots", 0, "from 1 up"),
        ("slots", "2", "from 1 up"),
        ("weights", 3, "maps keys to weights"),
        ("weights", ["vip"], "maps keys to weights"),
        ("weights", {"vip": 0}, "1 to 100"),
        ("weights", {"vip": 101}, "1 to 100"),
        ("weights", {"vip": 1.5}, "1 to 100"),
        ("weights", {"vip": True}, "1 to 100"),
        ("weights", {7: 2}, "use str"),
        ("weights", {"": 2}, "1 to 512 characters"),
    ],
)
def test_what_cannot_be_is_refused(option: str, value: Any, message: str) -> None:
    """With the bounds, when the queue is declared."""
    with pytest.raises(BadOption, match=message):
        Registry(Bus()).declare("orders", **{option: value})


def test_weights_are_of_keys() -> None:
    """1 unless told otherwise; the lane without a key has the one a callable gives it."""
    assert weight_of(None, "vip") == 1
    assert weight_of({"vip": 3}, "vip") == 3
    assert weight_of({"vip": 3}, "other") == 1
    assert weight_of({"vip": 3}, None) == 1
    assert weight_of(lambda key: 2 if key is None else len(key), None) == 2
    assert weight_of(lambda key: 2 if key is None else len(key), "four") == 4
    with pytest.raises(ValueError, match="1 to 100, got 'x'"):
        weight_of(lambda _: "x", "vip")  # type: ignore[arg-type]


# -- slots -----------------------------------------------------------------------------------------------


def test_one_slot_is_kept_from_each_queue_for_the_others() -> None:
    """Unless told otherwise; alone, a queue has all there are, and where there is one all share it."""
    assert slots_of(None, all_slots=4, queues=1) == 4
    assert slots_of(None, all_slots=4, queues=2) == 3
    assert slots_of(None, all_slots=1, queues=2) == 1
    assert slots_of(2, all_slots=4, queues=1) == 2
    assert slots_of(9, all_slots=4, queues=3) == 4


def test_a_slot_goes_to_the_queue_that_holds_the_fewest() -> None:
    """And among those to the one that was served longest ago."""
    assert in_need(["a", "b", "c"], {"a": 1}, {"b": 7, "c": 3}) == ["c", "b", "a"]


def test_room_is_made_for_a_queue_with_fewer_slots() -> None:
    """Not for one that has as many already, or may have no more."""
    assert should_yield("a", ["b"], {"a": 2, "b": 1}, {"b": 2})
    assert not should_yield("a", ["b"], {"a": 2, "b": 2}, {"b": 4})
    assert not should_yield("a", ["b"], {"a": 2, "b": 1}, {"b": 1})
    assert not should_yield("a", ["a"], {"a": 2}, {"a": 4})


class Hall:
    """A worker's slots, queues, and the lanes it holds."""

    def __init__(self, slots: int = 4) -> None:
        self.registry = Registry(Bus())
        self.holdings = Holdings()
        self.shares = Shares(self.registry, self.holdings, slots)

    def hold(self, queue: str, *lanes: str) -> None:
        """The worker has got these."""
        for lane in lanes:
            self.holdings.add([HeldLane(Lease(queue, lane, 1), 1.0, SystemClock())])

    def grant(
        self, queue: str, *, others: Collection[str] = (), served: tuple[str, ...] = ("a", "b")
    ) -> None:
        """A claim has got a lane of this queue, and left some of those."""
        self.shares.look(
            Claimed(
                grants=(Grant(lease=Lease(queue, "x", 1), jobs=()),),
                now=0.0,
                others=dict.fromkeys(others, 1),
                found=dict.fromkeys(served, Watermark()),
            )
        )


def test_queues_take_turns() -> None:
    """One in which nothing waits does not give its turn to the one behind it."""
    hall = Hall()
    served = []
    for _ in range(6):
        first = next(queue for queue in hall.shares.ordered(("a", "b", "empty")) if queue != "empty")
        hall.grant(first)
        served.append(first)
    assert served == ["a", "b"] * 3


def test_a_queue_is_granted_what_it_may_still_have() -> None:
    """Lanes that wait for a thread come on top: they take a slot only when there is one for them."""
    hall = Hall()
    hall.registry.declare("a", turn=5, slots=2)
    hall.hold("a", "x")
    hall.shares.ordered(("a", "b"))
    assert hall.shares.terms(("a", "b"), 10) == {
        "a": Terms(turn=5, lanes=11, begin=1),
        "b": Terms(lanes=13, begin=3),
    }
    assert hall.shares.fits("a", ["a", "b"])
    assert not hall.shares.fits("a", ["a", "a"])


def test_a_queue_alone_in_its_worker_has_no_bounds() -> None:
    """Nobody is held up by it."""
    hall = Hall()
    hall.shares.ordered(("a",))
    assert hall.shares.terms(("a",), 10) == {"a": Terms()}
    assert not hall.shares.bounded
    hall.shares.ordered(("a", "b"))
    assert hall.shares.bounded


def test_lanes_make_room_while_another_queue_waits() -> None:
    """As of the last claim."""
    hall = Hall(slots=1)
    hall.shares.ordered(("a", "b"))
    hall.hold("a", "x")
    hall.grant("a", others={"b"})
    assert hall.shares.should_yield("a")
    hall.grant("a")
    assert not hall.shares.should_yield("a")


def test_lanes_make_room_while_another_shard_of_their_queue_waits() -> None:
    """Shards of a queue take turns in its slots; of their own lanes each answer of the store tells."""
    hall = Hall(slots=1)
    hall.shares.ordered(("a",))
    hall.hold("a#0", "x")
    hall.grant("a#0", others={"a#0"}, served=("a#0", "a#1"))
    assert not hall.shares.should_yield("a#0")
    hall.grant("a#0", others={"a#0", "a#1"}, served=("a#0", "a#1"))
    assert hall.shares.should_yield("a#0")


def test_a_turn_is_as_long_as_its_lane_is_heavy() -> None:
    """Of the queue's own, which are jobs."""
    hall = Hall()
    hall.registry.declare("a", turn=4, weights={"vip": 3})
    assert hall.shares.turns_of("a", ["vip", "other", ""]) == [12, 4, 4]
    assert hall.shares.turns_of("b", ["vip"]) == [1]


def test_weights_that_fail_weigh_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The queue is served all the same; the log says it once."""
    hall = Hall()
    hall.registry.declare("a", weights=lambda key: 1 // len(key or "") - 1)
    with caplog.at_level(logging.ERROR):
        assert hall.shares.turns_of("a", ["", "xy", "x"]) == [1, 1, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "weights of queue a failed; such keys weigh 1"
    ]
