"""How jobs come in that wait for others, and how they are taken out again before they were released."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sqlite3 import Connection

from glassq.flowstorage import never_was
from glassq.model.edges import After
from glassq.model.jobs import Appended, Disposition, JobState, NewJob
from glassq.model.names import is_gate, queue_of
from glassq.model.verdicts import Action
from glassq.stores.sqlite import legs
from glassq.stores.sqlite.ending import Ends
from glassq.stores.sqlite.flowrecords import sweep_flows
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.rows import OUTCOMES
from glassq.stores.sqlite.ties import Tie, defer, leave, tie_of

FindQueue = Callable[[Connection, str], int | None]
"""The row of a queue by its name."""


def tie_jobs(
    cx: Connection,
    known: Known,
    find: FindQueue,
    queue: int,
    jobs: Sequence[NewJob],
    answers: Sequence[Appended],
) -> bool:
    """Note who waits for whom of jobs that were appended, store those that wait, and release those that have
    nothing to wait for any more; whether any joined its lane."""
    legs.end_known(cx, known)  # somebody hears of the ends of jobs from now on
    stood = known.queue(cx, queue)
    ends = Ends(cx, known, queue, stood.seen)
    sweep_flows(cx, ends.now, len(jobs))
    made = {answer.id for answer in answers if answer.disposition is Disposition.CREATED}
    unsettled: set[str] = set()
    number = stood.enqueued - len(made)
    for job, answer in zip(jobs, answers, strict=True):
        if answer.disposition is Disposition.DUPLICATE:
            continue
        number += 1
        if job.after:
            parents: dict[str, tuple[int, After]] = {}
            for place, each in enumerate(job.after):
                parent = each.job if isinstance(each.job, str) else answers[each.job].id
                parents.setdefault(parent, (place, each))
            defer(cx, queue, answer.id, job, parents, number)
            ends.own.tied += 1
            ends.own.deferred += 1
            # It is told of ends when all it waits for is known: else it would be released by the first.
            for parent in parents:
                if parent not in unsettled:
                    _hear(cx, find, ends, parent, answer.id, known=parent in made)
        elif job.flow:
            ends.tie(queue, answer.id, job.flow)
        if job.after or job.flow:
            unsettled.add(answer.id)
    return ends.carry_out()


def _hear(cx: Connection, find: FindQueue, ends: Ends, parent: str, child: str, *, known: bool) -> None:
    """Tell a new child how a parent ended, if it has. `known`: they were appended together."""
    if is_gate(parent):
        return
    found = tie_of(cx, parent)
    if found is None:
        queue = find(cx, queue_of(parent))
        found = _look_up(cx, queue, parent, known=known)
        if found is None:
            if _is_later(parent, child):
                raise never_was(parent)
            outcome, result = how_it_ended(cx, queue, parent, ends.now)
            if result is not None:
                leave(cx, ends.own.queue, parent, outcome, result)
            ends.tell_one(parent, child, outcome, final=True)
            return
        ends.tie(found.queue, parent, outcome=found.outcome, final=found.final)
    if found.outcome is not None:
        ends.tell_one(parent, child, found.outcome, final=found.final)


def _is_later(parent: str, child: str) -> bool:
    """Whether one producer would give this id only after that of the child. What other producers gave nobody
    keeps."""
    who, _, number = parent.partition("/")[2].rpartition(":")
    producer, _, last = child.partition("/")[2].rpartition(":")
    return who == producer and int(number) > int(last)


def _look_up(cx: Connection, queue: int | None, job: str, *, known: bool) -> Tie | None:
    """How it is with a job nobody had to hear of until now; None when it is gone. Reads the queue, unless it
    was appended right now: ids are in no index, which every job would pay for."""
    if queue is None:
        return None
    if known:
        return Tie(queue)
    for table, outcome in (("scheduled", None), ("dead", JobState.BURIED), ("jobs", None)):
        if cx.execute(f"SELECT 1 FROM {table} WHERE queue = ? AND id = ?", (queue, job)).fetchone():
            return Tie(queue, outcome=outcome)
    return None


def how_it_ended(cx: Connection, queue: int | None, job: str, now: int) -> tuple[JobState, bytes | None]:
    """How a job ended that is not there any more, with its result: it succeeded, unless a note is kept."""
    row = cx.execute(
        "SELECT action, result FROM notes WHERE queue = ? AND job = ? AND until > ?"
        " ORDER BY number DESC LIMIT 1",
        (queue, job, now),
    ).fetchone()
    return (JobState.SUCCEEDED, None) if row is None else (OUTCOMES[Action(row[0])], row[1])


def take_out(cx: Connection, queue: int, job: str) -> bool:
    """Take a deferred job out because somebody asked for it; whether it was there. Who counts it, counts."""
    row = cx.execute(
        "SELECT dedup FROM ties WHERE job = ? AND queue = ? AND outcome IS NULL AND body IS NOT NULL",
        (job, queue),
    ).fetchone()
    if row is None:
        return False
    if row[0] is not None:
        cx.execute(
            "DELETE FROM dedup WHERE queue = ? AND id = ? AND job = ? AND until IS NULL", (queue, row[0], job)
        )
    cx.execute("UPDATE queues SET deferred = deferred - 1 WHERE id = ?", (queue,))
    return True
