"""What is kept for a time beside the jobs: how they ended, if that is asked for, and values by name."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

import msgspec

from glassq.keeping import MAX_VALUE_BYTES, MAX_VALUES
from glassq.model.jobs import JobState, NewJob
from glassq.model.keeping import MAX_NOTES, Note
from glassq.model.leases import Grant, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.testing.conformance.scenario import ALICE, BOB, LEASE, QUEUE, Scenario, near, refused

_KEEP = 60.0


class KeepingNotes(Scenario):
    """Settlements that are to be kept are, in their own step, and no others."""

    def settlement(
        self, grant: Grant, action: Action = Action.ACK, *, index: int = 0, **said: object
    ) -> Settlement:
        """A settlement of a job of the grant's window that is kept for a minute, unless said otherwise."""
        told: dict[str, object] = {"keep": _KEEP, "note": b"n", "window": 16, "change": grant.change, **said}
        what = Settlement(lease=grant.lease, job_id=grant.jobs[index].id, action=action)
        return msgspec.structs.replace(what, **told)

    def end(self, what: Settlement, owner: Owner = ALICE) -> Settled:
        """Settle it."""
        [answer] = self.store.settle(owner, [what])
        return answer

    def only(self, job_id: str) -> Note:
        """The one note of a job."""
        [note] = self.store.notes(job_id, 10)
        return note

    def test_a_result_is_kept_for_its_time(self) -> None:
        """With the outcome and the moment, as long as it was asked for and no longer; bytes are bytes."""
        self.put("a", "b")
        grant = self.claim_one()
        result = b"\x00\xff|:\r\n" * 10
        answer = self.end(self.settlement(grant, result=result, note=b"|who\x00"))
        note = self.only(grant.jobs[0].id)
        assert (note.outcome, note.reason, note.said) == (JobState.SUCCEEDED, "", b"|who\x00")
        assert (note.result, note.error) == (result, b"")
        assert near(note.at, answer.now)
        assert near(note.until, answer.now + _KEEP)
        assert self.another_handle().notes(grant.jobs[0].id) == [note]
        self.clock.advance(_KEEP - 1)
        assert self.only(grant.jobs[0].id) == note
        self.clock.advance(1.1)
        assert self.store.notes(grant.jobs[0].id) == []

    def test_nothing_is_kept_unasked(self) -> None:
        """Nor of jobs that are unknown, in queues that are, and by names that none has."""
        self.put("a")
        grant = self.claim_one()
        self.settle(grant)
        for job in (grant.jobs[0].id, f"{QUEUE}/nobody:1", "never-used/nobody:1", "no id", ""):
            assert self.store.notes(job) == []
        assert self.store.notes(grant.jobs[0].id, 0) == []

    def test_a_result_is_passed_on_without_being_kept(self) -> None:
        """`result` alone keeps nothing."""
        self.put("a")
        grant = self.claim_one()
        answer = self.end(self.settlement(grant, result=b"1", keep=0.0))
        assert (answer.status, self.stats().settled["succeeded"]) == (SettleStatus.DONE, 1)
        assert self.store.notes(grant.jobs[0].id) == []

    def test_a_result_may_be_empty_or_none(self) -> None:
        """Which are not the same."""
        self.put("a", "b")
        grant = self.claim_one()
        self.end(self.settlement(grant, result=b""))
        self.end(self.settlement(grant, index=1))
        assert [self.only(job.id).result for job in grant.jobs] == [b"", None]

    def test_every_end_is_kept_with_its_error(self) -> None:
        """Buried, expired, cancelled, halted: what the dead letter would have, and the reason."""
        ends = {
            Action.BURY: JobState.BURIED,
            Action.EXPIRE: JobState.EXPIRED,
            Action.CANCEL: JobState.CANCELLED,
            Action.HALT: None,
        }
        self.put("a", "b", "c", "d")
        grant = self.claim_one()
        for index, (action, outcome) in enumerate(ends.items()):
            self.end(self.settlement(grant, action, index=index, reason="because", error=b"boom|"))
            note = self.only(grant.jobs[index].id)
            assert (note.action, note.outcome) == (action, outcome)
            assert (note.reason, note.error, note.result) == ("because", b"boom|", None)
        [dead] = self.store.dead(QUEUE, 9)
        assert dead.error == b"boom|"

    def test_attempts_are_kept_one_by_one(self) -> None:
        """A retry's note lasts until its time after the job may run again; the last ones are told, oldest
        first."""
        self.put("a")
        for number in (b"1", b"2"):
            grant = self.claim_one()
            failed = self.settlement(grant, Action.RETRY, wait=100.0, reason="exception", note=number)
            self.end(failed)
            self.live_through(101.0)
        grant = self.claim_one()
        self.end(self.settlement(grant, result=b"done", note=b"3"))
        found = self.store.notes(grant.jobs[0].id, 10)
        assert [(each.action, each.said) for each in found] == [
            (Action.RETRY, b"1"),
            (Action.RETRY, b"2"),
            (Action.ACK, b"3"),
        ]
        assert len({each.until for each in found}) == 1
        assert [each.said for each in self.store.notes(grant.jobs[0].id, 2)] == [b"2", b"3"]

    def test_no_more_than_the_last_notes_are_kept(self) -> None:
        """However often a job is tried."""
        [job] = self.put("a")
        for number in range(MAX_NOTES + 3):
            self.end(self.settlement(self.claim_one(), Action.RETRY, note=str(number).encode()))
        found = self.store.notes(job.id, MAX_NOTES * 2)
        assert [int(each.said) for each in found] == list(range(3, MAX_NOTES + 3))

    def test_a_repetition_changes_nothing(self) -> None:
        """A settlement whose answer was lost is repeated, in a lane that goes on or has vanished, at once or
        later; what was kept stays as it is."""
        self.put("a", "b")
        grant = self.claim_one()
        for index in (0, 1):
            what = self.settlement(grant, index=index, result=b"1", next_id=None)
            self.end(what)
            first = self.only(what.job_id)
            self.clock.advance(1)
            again = self.end(what)
            assert again.status is not SettleStatus.DONE
            assert self.only(what.job_id) == first

    def test_a_fenced_settlement_keeps_nothing(self) -> None:
        """O5: whoever lost the lane says nothing any more, also not of what it returned."""
        self.put("a")
        late = self.claim_one()
        self.live_through(LEASE + 1)
        grant = self.claim_one(BOB)
        answer = self.end(self.settlement(late, result=b"wrong"))
        assert answer.status is SettleStatus.FENCED
        assert self.store.notes(late.jobs[0].id) == []
        self.end(self.settlement(grant, result=b"right"), BOB)
        self.end(self.settlement(late, result=b"wrong"))
        assert self.only(late.jobs[0].id).result == b"right"

    def test_it_is_kept_however_the_lane_is_left(self) -> None:
        """Also where several lanes are settled in one call, some of which keep nothing."""
        for lane in ("stay", "keep", "yield", "release", "plain"):
            self.put("a", "b", lane=lane)
        grants = {grant.lease.lane: grant for grant in self.claim().grants}
        whats = [
            self.settlement(grants[leaving], result=leaving.encode(), leaving=leaving) for leaving in Leaving
        ]
        whats.insert(2, self.settlement(grants["plain"], keep=0.0))
        answers = self.store.settle(ALICE, whats)
        assert {answer.status for answer in answers} == {SettleStatus.DONE}
        kept = [self.store.notes(what.job_id) for what in whats]
        assert [each[0].result if each else None for each in kept] == [
            b"stay",
            b"keep",
            None,
            b"yield",
            b"release",
        ]

    def test_it_is_kept_where_nobody_waits_for_the_answer(self) -> None:
        """Sent ahead, with the next job begun: what is not kept goes a shorter way."""
        self.put("a", "b", "c", "d")
        grant = self.claim_one()
        ahead = self.settlement(grant, keep=0.0, next_id=grant.jobs[1].id, ahead=4)
        self.end(ahead)
        sent = [
            self.store.settle_later(
                ALICE,
                self.settlement(
                    grant, index=index, next_id=grant.jobs[index + 1].id, ahead=4, begun=True, **said
                ),
            )
            for index, said in ((1, {"result": b"1"}), (2, {"keep": 0.0}))
        ]
        assert [each.answer().status for each in sent] == [SettleStatus.DONE] * 2
        assert self.only(grant.jobs[1].id).result == b"1"
        assert self.store.notes(grant.jobs[2].id) == []
        self.end(self.settlement(grant, index=3, result=b"3"))
        assert self.only(grant.jobs[3].id).result == b"3"

    def test_jobs_that_are_taken_out_leave_a_note_if_asked(self) -> None:
        """Cancelled while they wait, are scheduled or halted, or skipped; who is asked says it himself."""
        running, waiting = self.put("a", "b")
        [later] = self.store.append(QUEUE, [NewJob(body=b"c", due=60.0)])
        stopped, _ = self.put("d", "e", lane="halts")
        grants = {grant.lease.lane: grant for grant in self.claim().grants}
        self.halt(grants["halts"])
        for job in (running, waiting, later):
            self.store.cancel(job.id, keep=_KEEP, note=b"gone")
        assert self.store.notes(running.id) == []
        for job in (waiting, later):
            note = self.only(job.id)
            assert (note.outcome, note.reason, note.said) == (JobState.CANCELLED, "cancelled", b"gone")
        self.store.skip_lane(QUEUE, "halts", keep=_KEEP, note=b"skipped")
        assert (self.only(stopped.id).reason, self.only(stopped.id).said) == ("skipped", b"skipped")
        [unnoted] = self.put("f", lane="z")
        self.store.cancel(unnoted.id)
        assert self.store.notes(unnoted.id) == []

    def test_one_that_may_have_begun_is_noted_when_it_had_not(self) -> None:
        """Asked of a lane that is run ahead, and taken out when its worker was heard of: or else it says
        itself how it ended."""
        _, _, third, fourth = self.put("a", "b", "c", "d")
        grant = self.claim_one()
        answer = self.end(self.settlement(grant, keep=0.0, next_id=grant.jobs[1].id, ahead=4))
        for job in (third, fourth):
            self.store.cancel(job.id, keep=_KEEP, note=b"asked")
        went_on = self.settlement(
            grant, index=1, next_id=grant.jobs[2].id, ahead=4, begun=True, change=answer.change
        )
        answer = self.store.settle_later(ALICE, went_on).answer()
        if answer.held:  # in a store that is never run ahead they are gone by now
            self.end(self.settlement(grant, Action.CANCEL, index=2, note=b"heeded", change=answer.change))
            assert self.only(third.id).said == b"heeded"
        else:
            assert self.only(third.id).said == b"asked"
        assert (self.only(fourth.id).said, self.unsettled()) == (b"asked", [])

    def test_a_replayed_job_has_not_ended(self) -> None:
        """How it ended before is forgotten."""
        self.put("a")
        grant = self.claim_one()
        self.end(self.settlement(grant, Action.BURY, error=b"boom"))
        self.store.replay(QUEUE, [grant.jobs[0].id], front=True)
        assert self.store.notes(grant.jobs[0].id) == []
        self.end(self.settlement(self.claim_one(), result=b"well"))
        assert self.only(grant.jobs[0].id).result == b"well"

    def test_a_purge_takes_the_notes_of_its_jobs_along(self) -> None:
        """Of the dead ones, and of those that wait; results of others stay."""
        self.put("well", "dead", "tried")
        grant = self.claim_one()
        self.end(self.settlement(grant, result=b"1"))
        self.end(self.settlement(grant, Action.BURY, index=1, error=b"boom"))
        self.end(self.settlement(grant, Action.RETRY, index=2))
        well, dead, tried = (job.id for job in grant.jobs)
        assert all(self.store.notes(job) for job in (well, dead, tried))
        self.store.purge(QUEUE, dead=True)
        self.store.purge(QUEUE, dead=False)
        assert [bool(self.store.notes(job)) for job in (well, dead, tried)] == [True, False, False]


class KeepingValues(Scenario):
    """Values by name: there until their time is over, or they are dropped."""

    def test_a_value_is_there_for_its_time(self) -> None:
        """And replaced by the next one of its name, in value and time; one without an end stays."""
        put, value = self.store.put, self.store.value
        now = self.clock.wall()
        put(QUEUE, "a", b"1\x00\r\n", 60.0)
        put(QUEUE, "b", b"", None)
        found, lasting = value(QUEUE, "a"), value(QUEUE, "b")
        assert found
        assert lasting
        assert (found.name, found.body, lasting.body, lasting.until) == ("a", b"1\x00\r\n", b"", None)
        assert found.until is not None
        assert near(found.until, now + 60)
        put(QUEUE, "a", b"2", 10.0)
        self.clock.advance(9)
        assert [each.body for each in self.store.values(QUEUE, "")] == [b"2", b""]
        self.clock.advance(1.1)
        assert value(QUEUE, "a") is None
        assert self.store.drop(QUEUE, "a") is False
        assert [each.name for each in self.store.values(QUEUE, "")] == ["b"]
        self.clock.advance(1e9)
        assert value(QUEUE, "b") == lasting

    def test_values_are_dropped(self) -> None:
        """Once; in queues that do not exist there are none."""
        self.store.put(QUEUE, "a", b"1", None)
        assert (self.store.drop(QUEUE, "a"), self.store.drop(QUEUE, "a")) == (True, False)
        assert self.store.value(QUEUE, "a") is None
        assert self.store.values(QUEUE, "") == []
        assert self.store.value("never-used", "a") is None
        assert self.store.values("never-used", "") == []
        assert self.store.drop("never-used", "a") is False

    def test_values_are_listed_by_how_their_names_begin(self) -> None:
        """In pages, by name as bytes are ordered; names may be any text."""
        names = ["x", "x/", "x/10", "x/2", "x/é", "x/😀", "x0", "y"]
        for name in reversed(names):
            self.store.put(QUEUE, name, name.encode(), 60.0)
        self.store.put("other", "x/3", b"", None)
        assert [each.name for each in self.store.values(QUEUE, "x/")] == names[1:6]
        assert [each.name for each in self.store.values(QUEUE, "")] == names
        paged, after = [], ""
        while page := self.store.values(QUEUE, "x/", after=after, limit=2):
            assert len(page) <= 2
            paged += page
            after = page[-1].name
        assert [(each.name, each.body.decode()) for each in paged] == [(name, name) for name in names[1:6]]
        assert self.store.values(QUEUE, "x/", after="y") == []
        assert [each.name for each in self.store.values(QUEUE, "y", after="a")] == ["y"]
        assert self.store.values(QUEUE, "", limit=0) == []

    def test_a_page_is_bounded(self) -> None:
        """By number and by size, so that no answer keeps a server; ended ones do not cut it short."""
        for number in range(MAX_VALUES + 20):
            self.store.put(QUEUE, f"{number:03}", b"", 10.0 if number < 10 else None)
        self.clock.advance(11)
        page = self.store.values(QUEUE, "", limit=10_000)
        assert (len(page), page[0].name) == (MAX_VALUES, "010")
        for name in ("large-1", "large-2"):
            self.store.put(QUEUE, name, bytes(MAX_VALUE_BYTES), None)
        assert [each.name for each in self.store.values(QUEUE, "large")] == ["large-1"]
        assert [each.name for each in self.store.values(QUEUE, "large", after="large-1")] == ["large-2"]

    def test_what_cannot_be_a_value_is_refused(self) -> None:
        """Before anything is sent."""
        with refused(ValueError):
            self.store.put(QUEUE, "a", bytes(MAX_VALUE_BYTES + 1), None)
        with refused(ValueError):
            self.store.put(QUEUE, "", b"", None)
        with refused(ValueError):
            self.store.put(QUEUE, "a", b"", 0.0)
        assert self.store.queues() == []

    def test_values_have_no_part_in_the_jobs(self) -> None:
        """A queue with values alone is known, holds nothing, and is worked on as ever."""
        self.store.put(QUEUE, "a", b"1", None)
        assert self.store.queues() == [QUEUE]
        assert self.stats().depth == 0
        assert self.claim().grants == ()
        [job] = self.put("a")
        assert job.seq == 1
        self.settle(self.claim_one())
        assert self.store.value(QUEUE, "a")

    def test_forgetting_a_queue_forgets_what_it_kept(self) -> None:
        """Values and notes; as long as it holds jobs none of them."""
        self.put("a")
        grant = self.claim_one()
        for number in range(30):
            self.store.put(QUEUE, str(number), b"1", None)
        assert self.store.forget(QUEUE) is False
        assert len(self.store.values(QUEUE, "")) == 30
        what = Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, keep=60.0)
        self.store.settle(ALICE, [what])
        assert self.store.notes(what.job_id)
        assert self.store.forget(QUEUE) is True
        assert self.store.notes(what.job_id) == []
        self.put("b")
        assert self.store.values(QUEUE, "") == []

    def test_heartbeats_sweep_what_has_ended(self) -> None:
        """What nobody asks for any more does not stay for ever; what has not ended does."""
        for number in range(50):
            self.store.put(QUEUE, f"old-{number}", b"1", 10.0)
        self.store.put(QUEUE, "new", b"1", 60.0)
        self.clock.advance(11)
        for _ in range(2):
            self.store.report(ALICE, [QUEUE])
        assert [each.name for each in self.store.values(QUEUE, "")] == ["new"]
