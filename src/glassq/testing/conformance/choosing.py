"""What a worker with assigned keys is granted, and what is left to others."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from glassq.model.leases import Claimed, Leaving, Owner
from glassq.storage import Choice, Terms
from glassq.testing.conformance.scenario import (
    ALICE,
    BOB,
    LEASE,
    QUEUE,
    Scenario,
    lanes_of,
)

CAROL = Owner("carol", "first")


class Choosing(Scenario):
    """Assigned lanes come first, then those that may be stolen, then any; each stays where it is."""

    def choose(self, owner: Owner = ALICE, *, lanes: int = 10, **wanted: Any) -> Claimed:
        """Claim lanes of this choice. Patterns are told from keys by stars; lanes stay for two leases."""
        entries = wanted.pop("assigned", ())
        choice = Choice(
            assigned=tuple(each for each in entries if "*" not in each),
            patterns=tuple(each for each in entries if "*" in each),
            **{"stays": 2 * LEASE, **wanted},
        )
        self.store.report(owner, [QUEUE])
        return self.claim(owner, lanes=lanes, window=1, terms={QUEUE: Terms(choice=choice)})

    def serve(self, claimed: Claimed, owner: Owner = ALICE) -> None:
        """A turn of each lane."""
        for grant in claimed.grants:
            self.settle(grant, owner=owner, leaving=Leaving.YIELD)

    def fill(self, *lanes: str, jobs: int = 3) -> None:
        """Some jobs in each of these, in this order."""
        for lane in lanes:
            self.put(*map(str, range(jobs)), lane=lane)

    # -- what comes first ----------------------------------------------------------------------------------

    def test_assigned_lanes_come_first(self) -> None:
        """By name and by pattern alike, the one that waited longest before the others; then all else."""
        self.fill("x", "b-1", "a", "y", "b-2", "z")
        claimed = self.choose(assigned=["a", "b-*"], lanes=2)
        assert lanes_of(claimed) == ["b-1", "a"]
        assert claimed.others.keys() == {QUEUE}
        assert lanes_of(self.choose(BOB, assigned=["z"])) == ["z", "x", "y", "b-2"]

    def test_a_star_stands_for_any_text(self) -> None:
        """Also for none; and nothing else stands for anything but itself."""
        self.fill("a", "ab", "a.b", "a?b", "axxb", "b", "a[x]b", "äöb")
        expected = {
            "a*": {"a", "ab", "a.b", "a?b", "axxb", "a[x]b"},
            "*b": {"ab", "a.b", "a?b", "axxb", "b", "a[x]b", "äöb"},
            "a*b": {"ab", "a.b", "a?b", "axxb", "a[x]b"},
            "a?*": {"a?b"},
            "*[x]*": {"a[x]b"},
            "a*x*x*b": {"axxb"},
            "a*a": set(),
            "*ö*": {"äöb"},
            "a.*b": {"a.b"},
        }
        for pattern, fitting in expected.items():
            claimed = self.choose(assigned=[pattern], exclusive=True)
            assert set(lanes_of(claimed)) == fitting, pattern
            self.store.release(ALICE, [grant.lease for grant in claimed.grants])

    def test_an_exclusive_worker_leaves_all_else_alone(self) -> None:
        """Others are told of; nothing but the assigned is granted, however many slots there are."""
        self.fill("x", "a")
        claimed = self.choose(assigned=["a"], exclusive=True)
        assert lanes_of(claimed) == ["a"]
        assert claimed.others.keys() == {QUEUE}
        assert lanes_of(self.choose(assigned=["a"], exclusive=True)) == []
        assert lanes_of(self.claim(BOB)) == ["x"]

    def test_stolen_lanes_come_in_the_order_given(self) -> None:
        """Behind all that is assigned and before any other; and they are marked as stolen."""
        self.fill("x", "c-2", "b", "c-1", "a")
        claimed = self.choose(assigned=["a"], steal_from=("c-1", "b", "c-*"))
        assert lanes_of(claimed) == ["a", "c-1", "b", "c-2", "x"]
        assert [grant.stolen for grant in claimed.grants] == [False, True, True, True, False]

    def test_nothing_is_stolen_while_there_is_enough_of_ones_own(self) -> None:
        """Stealing is for idle hands."""
        self.fill("b", "a-1", "a-2")
        claimed = self.choose(assigned=["a-*"], steal_from=("b",), lanes=2)
        assert lanes_of(claimed) == ["a-1", "a-2"]

    def test_what_is_not_assigned_is_taken_when_it_has_waited(self) -> None:
        """Its own worker has had the time to take it; since its last turn, not since its job came."""
        self.fill("b")
        wanted: dict[str, Any] = {"assigned": ["a"], "steal_from": ("b",), "patience": 2.0}
        assert lanes_of(self.choose(**wanted)) == []
        self.clock.advance(2)
        self.serve(claimed := self.choose(BOB, assigned=["b"]), BOB)
        assert lanes_of(claimed) == ["b"]
        assert lanes_of(self.choose(**wanted)) == []
        self.clock.advance(2)
        assert lanes_of(self.choose(**wanted)) == ["b"]

    def test_whoever_has_no_choice_takes_any(self) -> None:
        """At once, whatever is assigned to whom."""
        self.fill("a", "b")
        self.serve(self.choose(assigned=["a", "b"]))
        assert lanes_of(self.claim(BOB)) == ["a", "b"]

    def test_nothing_is_chosen_in_a_paused_queue(self) -> None:
        """And nothing is passed over."""
        self.fill("a-1")
        self.store.pause(QUEUE)
        paused = self.choose(assigned=["a-*"])
        assert lanes_of(paused) == []
        self.store.resume(QUEUE)
        assert lanes_of(self.choose(assigned=["a-*"], after=paused.looked)) == ["a-1"]

    # -- looking through -------------------------------------------------------------------------------------

    def test_a_pattern_is_looked_for_a_part_at_a_time(self) -> None:
        """However many lanes of others stand before: a bounded look each, at once until all were seen."""
        self.fill(*(f"x{number}" for number in range(250)), "a-1", jobs=1)
        after: Mapping[str, str] = {}
        looks = 0
        while not (claimed := self.choose(assigned=["a-*"], exclusive=True, after=after)).grants:
            assert claimed.next_due == 0
            after, looks = claimed.looked, looks + 1
        assert lanes_of(claimed) == ["a-1"]
        assert looks == 2
        assert claimed.next_due != 0

    def test_a_look_goes_on_where_it_ended(self) -> None:
        """What has become ready since is seen, at the tail and at the front, and nothing else."""
        self.fill(*(f"x{number}" for number in range(30)), "a-0", jobs=2)
        claimed = self.choose(assigned=["a-*"], exclusive=True)
        assert lanes_of(claimed) == ["a-0"]
        held, [other] = claimed, self.claim(BOB, lanes=1).grants
        self.fill("y", "a-1")
        claimed = self.choose(assigned=["a-*"], exclusive=True, after=held.looked)
        assert lanes_of(claimed) == ["a-1"]
        self.store.release(ALICE, [held.grants[0].lease])
        self.store.release(BOB, [other.lease])
        self.store.release(ALICE, [claimed.grants[0].lease], front=False)
        claimed = self.choose(assigned=["a-*"], exclusive=True, after=claimed.looked)
        assert lanes_of(claimed) == ["a-0", "a-1"]
        assert lanes_of(self.choose(assigned=["a-*"], exclusive=True, after=claimed.looked)) == []

    def test_what_there_was_no_room_for_is_found_next(self) -> None:
        """A look ends at the first lane that is wanted and not granted."""
        self.fill("x", *(f"a-{number}" for number in range(5)))
        after: Mapping[str, str] = {}
        found = []
        for _ in range(6):
            claimed = self.choose(assigned=["a-*"], exclusive=True, lanes=1, after=after)
            after = claimed.looked
            found += lanes_of(claimed)
        assert found == [f"a-{number}" for number in range(5)]

    def test_all_that_is_chosen_is_granted(self) -> None:
        """A claim takes a bounded number of jobs; what does not go into it is not passed over."""
        self.fill(*(f"a-{number}" for number in range(20)), jobs=40)
        choice = Choice(patterns=("a-*",), exclusive=True, stays=2 * LEASE)
        found: list[str] = []
        for _ in range(10):
            terms = {QUEUE: Terms(turn=32, choice=choice)}
            claimed = self.claim(lanes=15, window=64, terms=terms)
            choice = Choice(patterns=("a-*",), exclusive=True, stays=2 * LEASE, after=claimed.looked)
            found += lanes_of(claimed)
        assert found == [f"a-{number}" for number in range(20)]

    # -- owners ----------------------------------------------------------------------------------------------

    def test_a_lane_changes_its_owner_once_in_two_leases(self) -> None:
        """Stolen, it stays with the thief, whoever it is assigned to; then its owner has it back for long."""
        self.fill("a", jobs=40)
        self.store.report(BOB, [QUEUE])
        mine: dict[str, Any] = {"assigned": ["a"]}
        theirs: dict[str, Any] = {"assigned": ["b"], "steal_from": ("a",)}
        self.serve(self.choose(ALICE, **mine))
        changes, last, time = [], ALICE, 0.0
        for turn in range(36):
            first, second = (ALICE, BOB) if turn % 2 else (BOB, ALICE)
            for owner in (first, second):
                claimed = self.choose(owner, **(mine if owner is ALICE else theirs))
                if claimed.grants:
                    self.serve(claimed, owner)
                    changes += [time] if owner != last else []
                    last = owner
                    break
            self.live_through(LEASE / 4)
            time += LEASE / 4
        assert len(changes) >= 4
        gaps = [later - earlier for earlier, later in pairwise(changes)]
        assert min(gaps) >= 2 * LEASE

    def test_a_lane_that_was_stolen_is_not_starved(self) -> None:
        """Nobody else may serve it: so it comes with what is assigned once it has waited."""
        self.fill("b", "a-1", "a-2")
        wanted: dict[str, Any] = {"assigned": ["a-*"], "patience": 1.0, "lately": ("b",)}
        self.clock.advance(1)
        self.serve(self.choose(steal_from=("b",), **wanted))
        self.fill("a-0")
        assert lanes_of(self.choose(lanes=1, **wanted)) == ["a-1"]
        self.clock.advance(1)
        assert lanes_of(self.choose(lanes=3, **wanted)) == ["a-2", "b", "a-0"]

    def test_a_lane_that_was_stolen_does_not_come_before_others(self) -> None:
        """A thief with time left goes on with whoever waits longest."""
        self.fill("b-1", "b-2", jobs=9)
        self.clock.advance(1)
        wanted: dict[str, Any] = {"assigned": ["a"], "steal_from": ("b-*",), "patience": 1.0, "lanes": 1}
        found: list[str] = []
        for _ in range(4):
            self.serve(claimed := self.choose(**wanted, lately=tuple(found)))
            found += lanes_of(claimed)
        assert found == ["b-1", "b-2", "b-1", "b-2"]

    def test_a_lane_is_its_owners_without_waiting(self) -> None:
        """What is one's own already needs no patience."""
        self.fill("a-1", "b", "a-2")
        wanted: dict[str, Any] = {"assigned": ["a-*"], "steal_from": ("b",), "patience": 1.0}
        self.clock.advance(1)
        claimed = self.choose(**wanted)
        assert lanes_of(claimed) == ["a-1", "a-2", "b"]
        self.serve(claimed)
        again = self.choose(**wanted, lately=("b",))
        assert lanes_of(again) == ["a-1", "a-2", "b"]
        assert not any(grant.stolen for grant in again.grants)

    def test_what_was_got_lately_may_be_anothers_by_now(self) -> None:
        """Then it is no more than any other lane."""
        self.fill("b")
        self.serve(self.choose(ALICE, assigned=["a"]))
        self.serve(self.choose(BOB, assigned=["b"]), BOB)
        wanted: dict[str, Any] = {"assigned": ["a"], "exclusive": True}
        assert lanes_of(self.choose(ALICE, **wanted, lately=("b",))) == []

    def test_the_lanes_of_a_worker_that_left_are_free(self) -> None:
        """It said goodbye."""
        self.fill("a")
        bell = self.store.listen(BOB, [QUEUE])
        self.serve(self.choose(ALICE, assigned=["x"]))
        self.serve(self.choose(BOB, assigned=["a"]), BOB)
        assert lanes_of(self.choose(ALICE, assigned=["a"])) == []
        bell.close()
        assert lanes_of(self.choose(ALICE, assigned=["a"])) == ["a"]

    def test_the_lanes_of_a_silent_worker_are_free_after_a_lease(self) -> None:
        """It died, for all one can know, and held none of them."""
        self.fill("a")
        self.serve(self.choose(ALICE, assigned=["x"]))
        self.serve(self.choose(BOB, assigned=["a"]), BOB)
        self.live_through(LEASE - 1)
        assert lanes_of(self.choose(ALICE, assigned=["a"])) == []
        self.live_through(2)
        assert lanes_of(self.choose(ALICE, assigned=["a"])) == ["a"]

    def test_the_lanes_of_a_former_self_are_free(self) -> None:
        """The same node began anew."""
        self.fill("a")
        self.serve(self.choose(BOB, assigned=["x"]), BOB)
        self.serve(self.choose(ALICE, assigned=["a"]))
        assert lanes_of(self.choose(Owner(ALICE.node, "second"), assigned=["a"])) == ["a"]

    def test_a_lane_that_nobody_had_for_two_leases_is_anybodys(self) -> None:
        """Nothing is kept of it, and whoever has it first is no thief to the next."""
        self.fill("a", jobs=1)
        self.serve(self.choose(ALICE, assigned=["a"]))
        self.live_through(2 * LEASE + 1)
        self.serve(self.choose(CAROL, assigned=["c"]), CAROL)
        self.fill("a")
        self.serve(self.choose(BOB, assigned=["b"]), BOB)
        assert lanes_of(self.choose(ALICE, assigned=["a"])) == ["a"]

    def test_a_lane_that_was_held_all_the_time_is_its_holders(self) -> None:
        """However long ago it was claimed: it changed its owner then, and does again only now."""
        self.fill("a")
        held = self.choose(ALICE, assigned=["x"]).grants[0]
        for _ in range(12):
            self.clock.advance(LEASE / 3)
            assert not self.renew(ALICE, [held.lease])
            self.choose(CAROL, assigned=["c"])
        self.settle(held, leaving=Leaving.YIELD)
        self.serve(self.choose(BOB, assigned=["a"]), BOB)
        assert lanes_of(self.choose(ALICE, assigned=["x"], steal_from=("a",))) == []

    def test_a_chosen_queue_leaves_nothing_behind(self) -> None:
        """Forgotten with all that was known of owners."""
        self.fill("a", jobs=1)
        bell = self.store.listen(ALICE, [QUEUE])
        self.serve(self.choose(ALICE, assigned=["a"]))
        bell.close()
        assert self.store.forget(QUEUE)
        assert self.store.queues() == []
