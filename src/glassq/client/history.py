"""What happened to a job, from the notes of its settlements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glassq.client.shown import keep_in
from glassq.codec.accounts import Account, read_account
from glassq.errors import ResultNotKept
from glassq.model.jobs import HistoryEntry
from glassq.model.keeping import MAX_NOTES, Note
from glassq.model.names import check_id
from glassq.model.verdicts import Action
from glassq.storage import Storage


def find_history(storage: Storage, job_id: str) -> list[HistoryEntry]:
    """What happened to a job, as far as it is kept; `ResultNotKept`. May read its queue before its first
    attempt has ended."""
    notes = storage.notes(check_id("job_id", "a job's id", job_id), MAX_NOTES)
    if notes:
        return history_of(notes)
    record = storage.get(job_id)
    if record is None or not keep_in(record.body):
        raise nothing_kept(job_id)
    enqueued = record.eligible_at
    return [] if enqueued is None else [HistoryEntry(event="enqueued", at=enqueued)]


def nothing_kept(job_id: str) -> ResultNotKept:
    """For a job of which nobody knows what became of it."""
    return ResultNotKept(
        f"nothing is kept of {job_id}: the time of its result is over (result_ttl), it was purged, or its "
        "task keeps no results (declare it with result_ttl=)"
    )


def history_of(notes: Sequence[Note]) -> list[HistoryEntry]:
    """One entry per attempt and end, oldest first, with those in between that nobody told the end of."""
    accounts = [(note, read_account(note.said)) for note in notes]
    return [*_enqueued(accounts[0][1]), *_attempts(accounts)]


def _enqueued(first: Account) -> Iterator[HistoryEntry]:
    if first.enqueued_at is not None:
        yield HistoryEntry(event="enqueued", at=first.enqueued_at)


def _attempts(accounts: Sequence[tuple[Note, Account]]) -> Iterator[HistoryEntry]:
    first = accounts[0][1]
    # Of what is older than the oldest note that is kept nobody knows any more whether it was lost.
    told = first.attempt - first.ran if len(accounts) == MAX_NOTES else 0
    for note, said in accounts:
        for number in range(told + 1, said.attempt - said.ran + 1):
            yield HistoryEntry(event="lost", attempt=number)
        told = max(told, said.attempt)
        if said.ran:
            yield HistoryEntry(
                event="attempt",
                at=note.at,
                attempt=said.attempt,
                began_at=note.at - said.seconds,
                outcome=said.outcome,
                worker=said.worker,
                error=said.error,
            )
        if note.action is Action.HALT:
            yield HistoryEntry(event="halted", at=note.at, outcome=note.reason)
        elif note.outcome is not None:
            yield HistoryEntry(event="settled", at=note.at, outcome=note.outcome)
