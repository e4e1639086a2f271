"""What `settle_together` promises: ends of jobs in several lanes in one message."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from glassq.errors import StorageError
from glassq.model.leases import Grant, Leaving, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.settling import Settling
from glassq.storage import MAX_TOGETHER
from glassq.testing.conformance.scenario import ALICE, BOB, LEASE, QUEUE, Scenario, bodies, refused, stale


def turn_end(grant: Grant, action: Action = Action.ACK) -> Settlement:
    """The end of the head's attempt, and of the lane's turn."""
    return Settlement(
        lease=grant.lease,
        job_id=grant.jobs[0].id,
        action=action,
        reason="" if action is Action.ACK else "exception",
        error=b"" if action is Action.ACK else b"boom",
        leaving=Leaving.YIELD,
    )


def step(grant: Grant, index: int = 0) -> Settlement:
    """The end of this job's attempt, while the one behind it begins."""
    return Settlement(
        lease=grant.lease,
        job_id=grant.jobs[index].id,
        action=Action.ACK,
        next_id=grant.jobs[index + 1].id,
        begun=True,
    )


class SettlingTogether(Scenario):
    """A worker that serves lanes one after the other, and tells of their ends together."""

    def filled(self, lanes: str, *jobs: str) -> tuple[Grant, ...]:
        """Lanes of these names with these jobs each, all claimed with their heads."""
        for lane in lanes:
            self.put(*(jobs or ("1", "2")), lane=lane)
        return self.claim(lanes=len(lanes), window=1).grants

    def send_together(self, whats: Sequence[Settlement]) -> Sequence[Settling]:
        """On their way. One in each queue was answered before, and refused: until then a store may wait."""
        for each in whats:
            self.store.settle(ALICE, [msgspec.structs.replace(each, lease=stale(each.lease))])
        return self.store.settle_together(ALICE, whats)

    def end_together(self, whats: Sequence[Settlement]) -> list[Settled]:
        """Their answers."""
        return [each.answer() for each in self.send_together(whats)]

    def heads(self) -> list[tuple[str, list[str]]]:
        """What the next worker is granted."""
        granted = self.claim(BOB, window=1).grants
        return [(grant.lease.lane, bodies(grant)) for grant in granted]

    def test_turns_that_end_together_end_one_after_the_other(self) -> None:
        """Each lane is at the tail then, in the order in which they were told."""
        grants = self.filled("xyz")
        self.put("1", lane="w")
        answers = self.end_together([turn_end(grant) for grant in (grants[1], grants[0], grants[2])])
        assert [(each.status, each.ordinal, each.held, each.others) for each in answers] == [
            (SettleStatus.DONE, ordinal, False, True) for ordinal in (1, 2, 3)
        ]
        assert len({each.found for each in answers}) == 1
        assert self.heads() == [("w", ["1"]), ("y", ["2"]), ("x", ["2"]), ("z", ["2"])]

    def test_lanes_that_are_empty_then_vanish(self) -> None:
        """They leave nothing behind, and nobody is told that they wait."""
        grants = self.filled("xy", "1")
        [last] = self.filled("z")
        answers = self.end_together([turn_end(each) for each in (*grants, last)])
        assert [each.others for each in answers] == [False, False, True]
        assert self.heads() == [("z", ["2"])]
        assert self.stats().settled["succeeded"] == 3

    def test_nobody_waits_for_turns_that_end_together(self) -> None:
        """Sent, they have ended before whatever is sent later."""
        grants = self.filled("xy")
        sent = self.send_together([turn_end(grant) for grant in grants])
        assert self.heads() == [("x", ["2"]), ("y", ["2"])]
        assert [each.answer().status for each in sent] == [SettleStatus.DONE] * 2
        assert all(each.arrived() for each in sent)

    def test_each_of_those_told_together_may_be_repeated_by_itself(self) -> None:
        """After a lost answer the worker asks again for each: nothing is done twice."""
        grants = self.filled("xyz")
        whats = [turn_end(grant) for grant in grants]
        self.end_together(whats)
        before = self.stats(), self.unsettled()
        for asked in ([whats[1]], [whats[2], whats[0]], whats):
            for again in self.store.settle(ALICE, asked):
                assert (again.status is SettleStatus.DONE, again.held) == (False, False)
        assert (self.stats(), self.unsettled()) == before
        assert self.heads() == [("x", ["2"]), ("y", ["2"]), ("z", ["2"])]

    def test_a_lane_that_was_lost_is_fenced_among_others(self) -> None:
        """O5: its end is refused, theirs are not."""
        first, second, third = self.filled("xyz")
        lost = msgspec.structs.replace(second, lease=stale(second.lease))
        answers = self.end_together([turn_end(each) for each in (first, lost, third)])
        assert [(each.status, each.ordinal) for each in answers] == [
            (SettleStatus.DONE, 1),
            (SettleStatus.FENCED, 0),
            (SettleStatus.DONE, 2),
        ]
        assert self.heads() == [("x", ["2"]), ("z", ["2"])]
        assert self.settle(second).status is SettleStatus.DONE

    def test_a_failure_is_that_of_all_which_were_told_with_it(self) -> None:
        """A worker's mistake is refused whole: each is told, and each may be settled by itself."""
        grants = self.filled("xy")
        jobs = {record.job.body: record.job.id for record in self.store.waiting(QUEUE, 10)}
        wrong = msgspec.structs.replace(turn_end(grants[1]), job_id=jobs[b"2"])
        sent = self.send_together([turn_end(grants[0]), wrong])
        for each in sent:
            with refused(StorageError):
                each.answer()
        assert self.unsettled() == ["1", "2", "1", "2"]
        assert [self.settle(grant).status for grant in grants] == [SettleStatus.DONE] * 2

    def test_whatever_ends_a_turn_may_be_told_together(self) -> None:
        """Also what failed: buried, to be tried again, or halted."""
        grants = self.filled("wxyz")
        actions = (Action.BURY, Action.ACK, Action.RETRY, Action.HALT)
        answers = self.end_together(
            [turn_end(grant, action) for grant, action in zip(grants, actions, strict=True)]
        )
        assert [(each.status, each.held) for each in answers] == [(SettleStatus.DONE, False)] * 4
        assert [record.lane for record in self.store.dead(QUEUE, 10)] == ["w"]
        assert [record.lane for record in self.store.halted(QUEUE, 10)] == ["z"]
        assert sorted(self.heads()) == [("w", ["2"]), ("x", ["2"]), ("y", ["1"])]

    def test_turns_of_several_queues_may_end_together(self) -> None:
        """One message for each of them; what is returned is in the order that was asked."""
        self.put("1", "2", lane="x")
        self.put("1", queue="letters", lane="y")
        self.put("1", lane="z")
        grants = {grant.lease.lane: grant for grant in self.claim(queues=[QUEUE, "letters"]).grants}
        answers = self.end_together([turn_end(grants[lane]) for lane in "zyx"])
        assert [(each.status, each.ordinal) for each in answers] == [
            (SettleStatus.DONE, ordinal) for ordinal in (1, 1, 2)
        ]
        assert self.stats("letters").depth == 0
        assert self.heads() == [("x", ["2"])]

    def test_another_lane_begins_with_the_last_of_a_message(self) -> None:
        """A worker that dies then has the blame put on that one alone, where stores grant such lanes."""
        for lane in "xyz":
            self.put("1", "2", lane=lane)
        grants = self.store.claim(ALICE, [QUEUE], lanes=3, window=1, lease_seconds=LEASE, begin=1).grants
        if len(grants) == 1:
            return
        last = msgspec.structs.replace(turn_end(grants[1]), begins=grants[2].lease)
        self.end_together([turn_end(grants[0]), last])
        self.live_through(LEASE + 1)
        crashes = {grant.lease.lane: grant.crashes for grant in self.claim(BOB).grants}
        assert crashes == {"x": 0, "y": 0, "z": 1}

    def granted_ahead(self, lanes: str, *jobs: str) -> tuple[Grant, ...]:
        """Lanes of these names with these jobs each, all claimed with all of them, to be run ahead where the
        store allows that."""
        for lane in lanes:
            self.put(*jobs, lane=lane)
        return self.store.claim(
            ALICE, [QUEUE], lanes=len(lanes), window=9, lease_seconds=LEASE, ahead=len(jobs)
        ).grants

    def test_turns_go_on_while_others_end(self) -> None:
        """What goes on is held, and has jobs that nobody else gets; what has none left vanishes."""
        x, y, z = self.granted_ahead("xyz", "1", "2", "3")
        answers = self.end_together([step(x), turn_end(y), step(z)])
        assert [(each.status, each.ordinal, each.held, each.jobs) for each in answers] == [
            (SettleStatus.DONE, ordinal, held, ()) for ordinal, held in ((1, True), (2, False), (3, True))
        ]
        assert [each.change for each in answers] == [x.change, 0, z.change]
        assert self.heads() == [("y", ["2"])]
        answers = self.end_together([step(z, 1), step(x, 1)])
        assert [(each.ordinal, each.held) for each in answers] == [(4, True), (5, True)]
        ends = [msgspec.structs.replace(turn_end(grant), job_id=grant.jobs[2].id) for grant in (x, z)]
        assert [(each.ordinal, each.held) for each in self.end_together(ends)] == [(6, False), (7, False)]
        assert (self.stats().depth, self.stats().settled["succeeded"]) == (2, 7)

    def test_a_crash_is_blamed_on_the_jobs_that_have_begun(self) -> None:
        """Each step names its lane's."""
        x, y = self.granted_ahead("xy", "1", "2")
        self.end_together([step(x), turn_end(y)])
        self.live_through(LEASE + 1)
        found = [(each.lease.lane, bodies(each)[0], each.crashes) for each in self.claim(BOB).grants]
        assert sorted(found) == [("x", "2", 1), ("y", "2", 0)]

    def test_a_step_may_be_repeated_by_itself(self) -> None:
        """After a lost answer, in its order: what was done is said to be."""
        x, y = self.granted_ahead("xy", "1", "2", "3")
        self.end_together([step(x), step(y)])
        self.end_together([step(x, 1), turn_end(y)])
        before = self.stats(), self.unsettled()
        for asked, held in ((step(x), True), (step(x, 1), True), (step(y), False)):
            [again] = self.store.settle(ALICE, [asked])
            assert (again.status, again.held) == (
                (SettleStatus.ALREADY, True) if held else (SettleStatus.FENCED, False)
            )
        assert (self.stats(), self.unsettled()) == before

    def test_a_step_that_was_overtaken_is_refused_until_the_earlier_one_is_repeated(self) -> None:
        """O2: with all that was told with it."""
        x, y = self.granted_ahead("xy", "1", "2", "3")
        for each in self.send_together([step(x, 1), step(y)]):
            with refused(StorageError):
                each.answer()
        assert self.unsettled() == ["1", "2", "3"] * 2
        for index in (0, 1):
            assert self.store.settle(ALICE, [step(x, index)])[0].status is SettleStatus.DONE
        assert self.store.settle(ALICE, [step(y)])[0].status is SettleStatus.DONE

    def test_a_step_in_a_lane_that_was_lost_is_fenced_among_others(self) -> None:
        """O5: its job is not settled, theirs are."""
        x, y, z = self.granted_ahead("xyz", "1", "2")
        lost = msgspec.structs.replace(step(y), lease=stale(y.lease))
        answers = self.end_together([step(x), lost, step(z)])
        assert [(each.status, each.held) for each in answers] == [
            (SettleStatus.DONE, True),
            (SettleStatus.FENCED, False),
            (SettleStatus.DONE, True),
        ]
        assert self.unsettled() == ["2", "1", "2", "2"]

    def test_what_may_not_be_told_together_is_refused(self) -> None:
        """Two of a lane, more than a message takes, and what needs its answer."""
        [grant] = self.filled("x")
        end = turn_end(grant)
        many = [
            msgspec.structs.replace(end, lease=msgspec.structs.replace(end.lease, lane=str(each)))
            for each in range(MAX_TOGETHER + 1)
        ]
        for wrong in ([end, end], many, [msgspec.structs.replace(end, leaving=Leaving.STAY)]):
            with refused(ValueError):
                self.store.settle_together(ALICE, wrong)
        assert list(self.store.settle_together(ALICE, [])) == []
        assert self.settle(grant).status is SettleStatus.DONE
