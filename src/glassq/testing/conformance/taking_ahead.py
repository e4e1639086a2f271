"""What is promised of lanes that are granted to begin later, and of windows in a crowd."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.jobs import Cancellation
from glassq.model.leases import ClaimCause, Grant, Leaving, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.storage import Terms
from glassq.testing.conformance.scenario import ALICE, BOB, LEASE, QUEUE, Scenario, bodies, lanes_of, near


class TakingAhead(Scenario):
    """A worker that takes more lanes than it has threads. Stores may keep from granting such lanes."""

    def take_ahead(self, lanes: str, *, begin: int = 1) -> tuple[Grant, ...]:
        """Fill lanes of these names, one job each, and claim them all."""
        for lane in lanes:
            self.put(f"{lane}1", lane=lane)
        return self.store.claim(
            ALICE, [QUEUE], lanes=len(lanes), window=1, lease_seconds=LEASE, begin=begin
        ).grants

    def blamed(self, lanes: int) -> dict[str, int]:
        """Of each lane that is there for the next worker, after the end of all leases."""
        self.live_through(LEASE + 1)
        claimed = self.claim(BOB, lanes=lanes)
        assert all(grant.attempts == grant.crashes for grant in claimed.grants)
        return {grant.lease.lane: grant.crashes for grant in claimed.grants}

    def turn_end(self, grant: Grant, begins: Grant | None) -> Settlement:
        """The success of the lane's only job, and the end of its turn."""
        return Settlement(
            lease=grant.lease,
            job_id=grant.jobs[0].id,
            action=Action.ACK,
            leaving=Leaving.YIELD,
            begins=None if begins is None else begins.lease,
        )

    def test_no_more_lanes_begin_than_were_asked_to(self) -> None:
        """The first ones begin; the others, if any are granted, wait for their worker's word."""
        grants = self.take_ahead("wxyz", begin=2)
        assert [grant.begun for grant in grants] == [True, True, False, False][: len(grants)]
        assert [grant.lease.lane for grant in grants] == list("wxyz")[: len(grants)]

    def test_all_lanes_begin_unless_it_is_said(self) -> None:
        """As many as are asked for."""
        for lane in "xyz":
            self.put("1", lane=lane)
        assert [grant.begun for grant in self.claim().grants] == [True] * 3

    def test_a_crash_is_not_blamed_on_what_had_not_begun(self) -> None:
        """O4: a job that never ran has had no attempt, and its worker's death was not its doing."""
        grants = self.take_ahead("xyz")
        assert self.blamed(3) == {"x": 1, "y": 0, "z": 0}
        assert all(not grant.begun for grant in grants[1:])

    def test_a_crash_is_blamed_on_what_was_said_to_have_begun(self) -> None:
        """By a word of its own, or by the end of the turn before it."""
        grants = self.take_ahead("wxyz")
        for later in grants[1:2]:
            self.store.begin(ALICE, later.lease)
        for later in grants[2:3]:
            assert self.store.settle(ALICE, [self.turn_end(grants[0], later)])[0].status is SettleStatus.DONE
        begun = {"w": 1, "x": 0, "y": 0, "z": 0}
        if len(grants) == 4:
            begun = {"x": 1, "y": 1, "z": 0}
        assert self.blamed(4) == begun

    def take_together(self, owner: Owner, *, begin: int) -> dict[str, Grant]:
        """Claim all lanes for a worker that runs them in a row."""
        terms = {QUEUE: Terms(together=True)}
        claimed = self.store.claim(
            owner, [QUEUE], lanes=9, window=1, lease_seconds=LEASE, begin=begin, terms=terms
        )
        return {grant.lease.lane: grant for grant in claimed.grants}

    def test_lanes_that_are_run_in_a_row_begin_together(self) -> None:
        """A crash is blamed on all of them: any may have been the one that ran."""
        for lane in "xyz":
            self.put("1", lane=lane)
        granted = self.take_together(ALICE, begin=1)
        assert "x" in granted
        assert all(grant.begun for grant in granted.values())
        assert self.blamed(3) == {lane: int(lane in granted) for lane in "xyz"}

    def test_what_was_blamed_once_begins_by_itself(self) -> None:
        """So only the job that kills its workers is blamed again and again, and others of its kind begin
        behind it."""
        for lane in "xyz":
            self.put("1", lane=lane)
        self.take_together(ALICE, begin=3)
        self.live_through(LEASE + 1)
        self.put("1", lane="w")
        granted = self.take_together(BOB, begin=1)
        assert [lane for lane, grant in granted.items() if grant.begun and grant.crashes] == ["x"]
        assert all(grant.begun for lane, grant in granted.items() if lane == "w")
        assert self.blamed(4) == {"w": int("w" in granted), "x": 2, "y": 1, "z": 1}

    def test_a_turns_end_says_that_the_queue_is_paused(self) -> None:
        """So a worker that holds further lanes of it begins none of them."""
        self.put("1", lane="x")
        self.put("1", "2", lane="y")
        granted = self.take_together(ALICE, begin=2)
        self.store.pause(QUEUE)
        ends = [self.turn_end(granted[lane], None) for lane in "xy"]
        assert [answer.paused for answer in self.store.settle(ALICE, ends)] == [True, True]

    def test_what_was_given_back_unharmed_may_begin_with_others(self) -> None:
        """Nothing is noted of its head then; but one that failed comes by itself."""
        self.put("1", lane="x")
        self.put("1", lane="y")
        granted = self.take_together(ALICE, begin=2)
        self.store.release(ALICE, [granted["x"].lease])
        what = Settlement(lease=granted["y"].lease, job_id=granted["y"].jobs[0].id, action=Action.RETRY)
        assert self.store.settle(ALICE, [what])[0].status is SettleStatus.DONE
        begun = {lane: grant.begun for lane, grant in self.take_together(BOB, begin=0).items()}
        assert begun.get("x", True)
        assert not begun.get("y", False)

    def test_a_worker_that_was_late_begins_nothing_of_another_one(self) -> None:
        """O5: its word is about its own lease."""
        grants = self.take_ahead("xy")
        for lost in grants[1:]:
            self.live_through(LEASE + 1)
            again = self.store.claim(BOB, [QUEUE], lanes=2, window=1, lease_seconds=LEASE, begin=0).grants
            assert {grant.lease.lane for grant in again} == {"x", "y"}
            self.store.begin(ALICE, lost.lease)
            self.store.settle(ALICE, [self.turn_end(grants[0], lost)])
            assert self.blamed(2) == {"x": 1, "y": 0}

    def test_a_lane_that_had_not_begun_is_given_back_as_it_was(self) -> None:
        """To the front, with its head untouched; the last one first, to keep their order."""
        grants = self.take_ahead("xyz")
        self.store.release(ALICE, [grant.lease for grant in reversed(grants[1:])])
        claimed = self.claim(BOB)
        assert lanes_of(claimed) == ["y", "z"]
        assert [(each.attempts, each.cause) for each in claimed.grants] == [(0, ClaimCause.READY)] * 2

    def test_the_head_of_a_lane_that_waits_in_its_worker_is_the_workers(self) -> None:
        """It may begin at any moment: so a cancel asks for it, and its worker is told."""
        for later in self.take_ahead("xy")[1:]:
            assert self.store.cancel(later.jobs[0].id) is Cancellation.ASKED
            renewed = self.store.renew(ALICE, [later.lease], lease_seconds=LEASE)
            assert renewed.cancelled == {later.jobs[0].id}

    def test_the_head_of_a_lane_that_waits_in_its_worker_keeps_its_wishes(self) -> None:
        """A crash before it began leaves it to be cancelled by whoever comes next."""
        for later in self.take_ahead("xy")[1:]:
            self.store.cancel(later.jobs[0].id)
            self.live_through(LEASE + 1)
            again = {grant.lease.lane: grant for grant in self.claim(BOB).grants}
            assert again["y"].cancelled
            assert again["y"].crashes == 0

    def test_a_window_in_a_crowd_is_a_turn(self) -> None:
        """What a worker would not run while others wait, it need not be given."""
        for lane in "xyz":
            self.put("1", "2", "3", lane=lane)
        terms = {QUEUE: Terms(turn=2)}
        granted = self.claim(ALICE, lanes=1, terms=terms).grants
        assert [bodies(grant) for grant in granted] == [["1", "2"]]
        rest = self.claim(BOB, lanes=2, terms=terms).grants
        assert [bodies(grant) for grant in rest] == [["1", "2", "3"]] * 2

    def test_no_more_lanes_of_a_queue_begin_than_its_terms_allow(self) -> None:
        """What is granted besides waits in the worker, if it is granted."""
        for queue in ("one", "two"):
            for lane in ("x", "y"):
                self.put("1", lane=lane, queue=queue)
        claimed = self.store.claim(
            ALICE,
            ["one", "two"],
            lanes=4,
            window=1,
            lease_seconds=LEASE,
            begin=3,
            terms={"one": Terms(lanes=2, begin=1)},
        )
        begun = [(each.lease.queue, each.lease.lane) for each in claimed.grants if each.begun]
        assert begun == [("one", "x"), ("two", "x"), ("two", "y")]

    def test_a_turns_end_need_not_be_waited_for(self) -> None:
        """Sent, it is done before whatever is sent later; the lane is at the tail then."""
        for lane in "xy":
            self.put("1", "2", lane=lane)
        first, second = self.claim(lanes=2, window=1).grants
        sent = [self.store.settle_later(ALICE, self.turn_end(grant, None)) for grant in (first, second)]
        claimed = self.claim(BOB)
        assert [(grant.lease.lane, bodies(grant)) for grant in claimed.grants] == [("x", ["2"]), ("y", ["2"])]
        answers = [each.answer() for each in sent]
        assert [(each.status, each.ordinal, each.held) for each in answers] == [
            (SettleStatus.DONE, 1, False),
            (SettleStatus.DONE, 2, False),
        ]
        assert all(near(each.now, self.clock.wall()) for each in answers)

    def test_running_ahead_from_the_start(self) -> None:
        """As far as the grant says, the jobs behind the head are the worker's: a cancel asks for them."""
        self.put("1", "2", "3", "4")
        [grant] = self.store.claim(ALICE, [QUEUE], lanes=1, window=3, lease_seconds=LEASE, ahead=2).grants
        assert grant.ahead in (0, 2)
        asked = Cancellation.ASKED if grant.ahead else Cancellation.REMOVED
        assert self.store.cancel(grant.jobs[2].id) is asked

    def test_a_lone_job_is_not_run_ahead_of(self) -> None:
        """There is nothing to go on with."""
        self.put("1")
        [grant] = self.store.claim(ALICE, [QUEUE], lanes=1, window=3, lease_seconds=LEASE, ahead=2).grants
        assert grant.ahead == 0
