"""What the end of a job does to those who wait for it: in the transaction that ends it.

A child is told of the end of each of its parents, and then is as all it was told says: released when there is
nothing left to wait for; cancelled when a parent failed it, and dropped or kept (withdrawn) as that is final
or may be undone by a replay; brought back when it is undone. Cancelled, it has ended itself, and so on. Only
so many are told in one transaction; a parent with children left is noted, and a later one goes on there.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from glassq.flowstorage import MAX_DELIVERIES
from glassq.model.flows import FlowEnded
from glassq.model.jobs import JobState
from glassq.stores.sqlite import flowrecords
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.rows import Placed
from glassq.stores.sqlite.tallies import Tally
from glassq.stores.sqlite.ties import (
    Child,
    Tie,
    await_less,
    child_to_be_told,
    drop_edges,
    drop_result,
    end_tied,
    has_children,
    is_refused,
    let_out,
    let_out_heir,
    owing_to,
    revive,
    tell,
    tie,
    tie_of,
    to_be_told,
    withdraw,
)


class Ends:
    """Ends of jobs at work in one transaction, which is one of `queue`, where it is `now`."""

    def __init__(self, cx: Connection, known: Known, queue: int, now: int) -> None:
        self._cx = cx
        self._known = known
        self.now = now
        self.own = Tally(queue, known.queue(cx, queue), now)
        """What is added to the counters of that queue."""
        self._tallies = {queue: self.own}
        self._left = MAX_DELIVERIES
        self._ended: dict[str, Tie] = {}
        self._owing: set[str] = set()
        self._released: dict[int, list[Child]] = {}
        self._flows: dict[str, None] = {}
        self.placed: list[Placed] = []
        """Jobs that joined their lanes."""
        self.cancelled = 0
        self.relay = False

    def note(
        self, job: str, outcome: JobState | None, *, final: bool = True, result: bytes | None = None
    ) -> bool:
        """A job has ended, or (None) is unsettled again; whether anybody has to hear of it."""
        found = self._ended.pop(job, None) or self._known.tie(job) or tie_of(self._cx, job)
        if found is None:
            return False
        if found.flow is not None and found.outcome is not outcome:
            flowrecords.note(self._cx, found, outcome, self.now)
            self._known.note_in_flow(found, outcome)
            if outcome is not None and not found.has_company:
                self._flows[found.flow] = None
        if outcome is not None and final:
            if found.awaited:  # it ended without having been released
                self._owing.update(owing_to(self._cx, job))
            if found.parents:
                drop_edges(self._cx, job)
        # Written when it has been told. What it says of its workflow may not be true by then.
        found.outcome, found.final, found.result, found.left = outcome, final, result, None
        self._ended[job] = found
        return True

    def note_in_flow(self, flow: str, job: str, outcome: JobState | None) -> None:
        """The same of one job of a workflow, by somebody who knows it of another shard."""
        told = Tie(self.own.queue, flow, flowrecords.outcome_of(self._cx, flow, job))
        if told.outcome is not outcome:
            flowrecords.note(self._cx, told, outcome, self.now)
            flowrecords.note_foreign(self._cx, told, job, outcome)
            self._known.forget()
        self._flows[flow] = None

    def tie(
        self,
        queue: int,
        job: str,
        flow: str | None = None,
        outcome: JobState | None = None,
        *,
        final: bool = False,
    ) -> None:
        """From now on others have to hear of the end of a job; nothing if that is noted."""
        if tie(self._cx, queue, job, flow, outcome, final=final):
            self._tally(queue).tied += 1

    def open_gate(self, queue: int, gate: str) -> None:
        """Let go whoever waits at a gate."""
        self.tie(queue, gate, outcome=JobState.SUCCEEDED, final=True)
        self._ended[gate] = Tie(queue, outcome=JobState.SUCCEEDED, final=True)

    def tell_one(self, parent: str, child: str, outcome: JobState | None, *, final: bool) -> None:
        """Tell a child of an end, whoever says so; of what this file knows itself, it tells that."""
        known = self._ended.get(parent) or tie_of(self._cx, parent)
        if known is not None:
            outcome, final = known.outcome, known.final
            self._owing.add(parent)
        found = child_to_be_told(self._cx, parent, child, outcome, final=final)
        self._tell(parent, found, outcome, final=final)

    def _tell(
        self,
        parent: str,
        children: Sequence[Child],
        outcome: JobState | None,
        *,
        final: bool,
    ) -> None:
        """Tell children; what each does then follows from all that it was told."""
        self._left -= len(children)
        tell(self._cx, parent, children, outcome, final=final)
        released: list[Child] = []
        wait_on: list[Child] = []
        for child in children:
            if child.refuses(outcome):
                self._refuse(child, final=final)
                continue
            is_back = not child.withdrawn or self._revive(child)
            if child.is_good(outcome):
                done = is_back and child.awaited == 1
                (released if done else wait_on).append(child)
        if wait_on:
            await_less(self._cx, wait_on)
        if released:
            let_out(self._cx, released)
            self._release(released)

    def _release(self, children: Sequence[Child]) -> None:
        for child in children:
            self._tally(child.queue).deferred -= 1
            self._released.setdefault(child.queue, []).append(child)

    def _refuse(self, child: Child, *, final: bool) -> None:
        """Cancel a child: for good, or for as long as that end may be undone."""
        if not child.withdrawn:
            self._cancel(child)
        if final:
            self.note(child.id, JobState.CANCELLED)
        elif not child.withdrawn:
            self.note(child.id, JobState.CANCELLED, final=False)
            withdraw(self._cx, child.id)

    def _cancel(self, child: Child) -> None:
        tally = self._tally(child.queue)
        tally.deferred -= 1
        tally.cancelled += 1
        self.cancelled += 1
        if child.dedup is not None:
            self._cx.execute(
                "DELETE FROM dedup WHERE queue = ? AND id = ? AND job = ? AND until IS NULL",
                (child.queue, child.dedup, child.id),
            )

    def _revive(self, child: Child) -> bool:
        """Bring a child back, unless there is something else against it; whether it is back."""
        if is_refused(self._cx, child.id):
            return False
        tally = self._tally(child.queue)
        tally.deferred += 1
        tally.replayed += 1
        self.note(child.id, None, final=False)
        revive(self._cx, child.id)
        return True

    # -- at the end --------------------------------------------------------------------------------------

    def carry_out(self) -> bool:
        """Tell whoever has to be told, and do what follows from it; whether idle lanes became ready."""
        while self._ended:
            job = next(iter(self._ended))
            self._tell_children(job, self._ended.pop(job))
        for parent in self._owing:
            found = tie_of(self._cx, parent)
            if found is not None:
                left = to_be_told(self._cx, parent, found.outcome, 1, final=found.final)
                if not left and not has_children(self._cx, parent):
                    drop_result(self._cx, parent)
                self._close(parent, found, untold=bool(left))
        opened = [self._place(queue, jobs) for queue, jobs in self._released.items()]
        for tally in self._tallies.values():
            tally.write(self._cx)
        return any(opened)

    def _tell_children(self, job: str, ended: Tie) -> None:
        most = max(0, self._left)
        found = to_be_told(self._cx, job, ended.outcome, most + 1, final=ended.final)
        if len(found) == 1 and most and found[0].inherits_from(ended.outcome):
            self._leave_all(job, ended, found[0])
            return
        if ended.result is not None and not found and not has_children(self._cx, job):
            ended.result = None
        self._close(job, ended, untold=len(found) > most)
        if found:
            self._tell(job, found[:most], ended.outcome, final=ended.final)

    def _leave_all(self, job: str, ended: Tie, child: Child) -> None:
        """What an only child, who waits for nobody else, has to know of a success comes into its own row: so
        nothing is written that is taken away again when it ends."""
        self._left -= 1
        let_out_heir(self._cx, child, job, ended.result)
        ended.result = None
        self._close(job, ended, untold=False)
        self._release([child])
        self._known.released(child.id, child.queue, child.flow)

    def _close(self, job: str, ended: Tie, *, untold: bool) -> None:
        """Write down how a job ended, and whether it has children that are yet to be told."""
        self.relay = self.relay or untold
        end_tied(self._cx, job, ended, untold=untold)
        if ended.final and not untold:
            self._tally(ended.queue).tied -= 1

    def _place(self, queue: int, jobs: Sequence[Child]) -> bool:
        """Put those that are released into their lanes; whether any of these was idle."""
        tally = self._tally(queue)
        now = tally.now
        # order: a released job takes its sequence here, behind all that are in its lane.
        seqs = tally.take_seqs(len(jobs))
        placed = [job.placed(seq, now) for seq, job in zip(seqs, jobs, strict=True)]
        self.placed += placed
        return tally.join(self._cx, self._known, placed)

    def _tally(self, queue: int) -> Tally:
        tally = self._tallies.get(queue)
        if tally is None:
            tally = self._tallies[queue] = Tally.begin(self._cx, self._known, queue, self.now)
        return tally

    def ended_flows(self) -> tuple[FlowEnded, ...]:
        """Workflows that ended with this, for whoever can tell; what is not asked for here a relay tells."""
        if not self._flows:
            return ()
        told = [flowrecords.tell(self._cx, flow) for flow in self._flows]
        return tuple(each for each in told if each is not None)
