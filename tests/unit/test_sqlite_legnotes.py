"""The file beside a database in which it is noted that jobs of legs have ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from glassq.errors import StorageUnavailable
from glassq.stores.sqlite import legnotes
from glassq.stores.sqlite.legnotes import LegNotes, LegsAreOver, Note

SIZE = 32


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[LegNotes]:
    """Those of a process that has a leg under way, of the number 1."""
    with closing(LegNotes(tmp_path / "jobs.db")) as made:
        assert made.begin(1, first=True) == 0
        yield made


@pytest.fixture
def other(tmp_path: Path) -> LegNotes:
    """Those of another process."""
    return LegNotes(tmp_path / "jobs.db")


def beside(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "jobs.db-legs"


def test_what_is_noted_is_seen_by_all(notes: LegNotes, other: LegNotes) -> None:
    """The last note of each leg counts."""
    notes.add(1, 1, 10, 100)
    assert notes.begin(2, first=False) == 2 * SIZE
    notes.add(2, 1, 50, 101)
    notes.add(1, 2, 11, 102)
    assert other.noted([(1, 0), (2, 2 * SIZE)]) == {1: Note(2, 11, 102, 1), 2: Note(1, 50, 101, 2)}


def test_a_note_counts_for_whoever_ends_the_leg_or_is_refused(notes: LegNotes, other: LegNotes) -> None:
    """Fence: nothing is in between. It stays so for whoever ends it again, as the first one may be killed
    before what was done with it is committed."""
    notes.add(1, 1, 10, 100)
    assert other.finish([(1, 0)]) == {1: Note(1, 10, 100, 1)}
    for _ in range(2):
        with pytest.raises(LegsAreOver):
            notes.add(1, 2, 11, 101)
        assert notes.begin(2, first=False) is None
        assert other.finish([(1, 0)]) == {1: Note(1, 10, 100, 1)}


def test_notes_of_others_between_are_no_end(notes: LegNotes, other: LegNotes) -> None:
    """Only a record that says so is one."""
    assert other.begin(7, first=True) == SIZE
    notes.add(1, 1, 10, 100)
    other.add(7, 1, 20, 100)
    notes.add(1, 2, 11, 101)
    assert notes.noted([(1, 0), (7, SIZE)]) == {1: Note(2, 11, 101, 1), 7: Note(1, 20, 100, 7)}


@pytest.mark.parametrize("ending", [b"", b"x" * 5])
def test_a_file_that_is_long_or_ends_in_the_middle_of_a_record_is_begun_anew(
    notes: LegNotes, other: LegNotes, tmp_path: Path, ending: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had the old one open notes nothing in the new one; nothing of the old leg is seen any more."""
    notes.add(1, 1, 10, 100)
    assert other.finish([(1, 0)]) == {1: Note(1, 10, 100, 1)}
    with beside(tmp_path).open("ab") as file:
        file.write(ending)
    if not ending:
        monkeypatch.setattr(legnotes, "_LONGEST", SIZE)
    size = beside(tmp_path).stat().st_size
    assert other.begin(2, first=True) == size  # what ends the leg 1 may not be committed
    assert other.noted([(1, 0)]) == {1: Note(1, 10, 100, 1)}
    assert other.begin(2, first=True, anew=True) == 0
    assert beside(tmp_path).stat().st_size == SIZE
    assert other.noted([(1, 0)]) == {}
    with pytest.raises(LegsAreOver):
        notes.add(1, 2, 11, 101)
    assert notes.begin(3, first=True) == SIZE
    notes.add(3, 1, 30, 100)
    assert other.noted([(3, SIZE)]) == {3: Note(1, 30, 100, 3)}


def test_half_a_record_is_none(notes: LegNotes, other: LegNotes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of one: it is refused, and what was noted before is not lost."""
    notes.add(1, 1, 10, 100)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, what: write(file, what[:20]))
        with pytest.raises(LegsAreOver):
            notes.add(1, 2, 11, 101)
        with pytest.raises(StorageUnavailable) as full:
            other.finish([(1, 0)])
    assert full.value.reason == "enospc"
    assert other.finish([(1, 0)]) == {1: Note(1, 10, 100, 1)}


def test_nothing_is_noted_where_the_file_cannot_be_used(tmp_path: Path) -> None:
    """No leg begins; whoever must know what is noted is told why it cannot."""
    (tmp_path / "else").touch()
    beside(tmp_path).symlink_to(tmp_path / "else")
    notes = LegNotes(tmp_path / "jobs.db")
    assert notes.begin(1, first=True) is None
    with pytest.raises(LegsAreOver):
        notes.add(1, 1, 10, 100)
    with pytest.raises(StorageUnavailable, match=r"jobs\.db-legs"):
        notes.finish([(1, 0)])
    beside(tmp_path).unlink()
    assert notes.finish([(1, 0)]) == notes.noted([(1, 0)]) == {}


def test_the_file_is_nobody_elses(notes: LegNotes, tmp_path: Path) -> None:
    """It tells how many jobs a queue has."""
    notes.add(1, 1, 10, 100)
    assert beside(tmp_path).stat().st_mode & 0o777 == 0o600
