"""What a job's notes say of its attempts, those included that nobody told the end of."""

from __future__ import annotations

from glassq.client.history import history_of
from glassq.codec.accounts import Account, account_bytes
from glassq.model.keeping import MAX_NOTES, Note
from glassq.model.verdicts import Action


def note(action: Action, attempt: int, *, ran: bool = True, reason: str = "") -> Note:
    """What a worker leaves of its attempt, which is this one."""
    said = Account(task="t", enqueued_at=1.0, attempt=attempt, ran=ran, seconds=0.5, outcome="o", worker="w")
    return Note(action=action, at=10.0 * attempt, until=99.0, reason=reason, said=account_bytes(said))


def told(*notes: Note) -> list[tuple[str, int]]:
    """The events, with their attempts."""
    return [(each.event, each.attempt) for each in history_of(notes)]


def test_attempts_without_an_end_are_lost() -> None:
    """Their worker died: the next one counts on from them."""
    assert told(note(Action.RETRY, 2), note(Action.ACK, 5)) == [
        ("enqueued", 0),
        ("lost", 1),
        ("attempt", 2),
        ("lost", 3),
        ("lost", 4),
        ("attempt", 5),
        ("settled", 0),
    ]


def test_an_end_without_an_attempt_is_none() -> None:
    """Expired, cancelled, or given up after its workers died: what it had is told, and no more."""
    assert told(note(Action.EXPIRE, 0, ran=False)) == [("enqueued", 0), ("settled", 0)]
    crashed = told(note(Action.BURY, 2, ran=False))
    assert crashed == [("enqueued", 0), ("lost", 1), ("lost", 2), ("settled", 0)]


def test_a_halt_is_no_end() -> None:
    """A human decides; until then that is the last that is known."""
    assert told(note(Action.HALT, 1, reason="exception")) == [("enqueued", 0), ("attempt", 1), ("halted", 0)]


def test_what_is_older_than_the_oldest_note_is_not_called_lost() -> None:
    """Of a job with very many attempts the last ones are known."""
    notes = [note(Action.RETRY, 900 + number) for number in range(MAX_NOTES)]
    assert told(*notes)[1:] == [("attempt", 900 + number) for number in range(MAX_NOTES)]


def test_a_note_without_words_is_told_by_what_the_store_knows() -> None:
    """Nobody said anything beside the settlement."""
    bare = Note(action=Action.CANCEL, at=3.0, until=9.0, reason="cancelled")
    assert told(bare) == [("settled", 0)]
