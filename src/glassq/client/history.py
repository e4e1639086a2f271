"""What happened to a job, from the notes of its settlements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glassq.codec.accounts import Account, read_account
from glassq.model.jobs import HistoryEntry
from glassq.model.keeping import MAX_NOTES, Note
from glassq.model.verdicts import Action


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
