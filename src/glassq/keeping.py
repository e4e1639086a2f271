"""The part of the storage protocol about what is kept for a time beside the jobs: notes of how they ended,
and values by name. Neither is in any job's path; both go with their queue when that is forgotten."""

from __future__ import annotations

from typing import Protocol

from glassq.model.keeping import Note, Value

MAX_VALUE_BYTES = 1 << 20
"""What one `put` takes at most."""
MAX_VALUE_NAME = 512
"""Characters of a value's name."""
MAX_VALUES = 100
"""Values that one `values` answers at most."""


class Keeping(Protocol):
    """What a store keeps, see `glassq.storage.Storage`. One call is one round trip."""

    def notes(self, job_id: str, limit: int = 1) -> list[Note]:
        """What was kept of a job's settlements (`Settlement.keep`), the last `limit` of them, oldest first.

        Empty when nothing was to be kept, its time is over, or the job was replayed or purged since. Reads
        only, and no lane: a job is found at once, however many there are.
        """
        ...

    def put(self, queue: str, name: str, body: bytes, seconds: float | None) -> None:
        """Keep a value under this name for so long, or with None until it is dropped, in place of the last.

        At most `MAX_VALUE_BYTES` (`ValueError` otherwise). May be repeated.
        """
        ...

    def value(self, queue: str, name: str) -> Value | None:
        """The value of this name, if its time is not over. Reads only."""
        ...

    def values(self, queue: str, prefix: str, *, after: str = "", limit: int = MAX_VALUES) -> list[Value]:
        """Values whose names begin with `prefix`, by name (as UTF-8), from behind the name `after` on.

        At most `limit`, and no more than `MAX_VALUES` or `MAX_VALUE_BYTES` in all: go on behind the last name
        until there are none. Reads only.
        """
        ...

    def drop(self, queue: str, name: str) -> bool:
        """Forget a value; False when there was none. May be repeated."""
        ...


def check_value(name: str, body: bytes, seconds: float | None) -> None:
    """`ValueError` for what no store keeps as a value."""
    if not 0 < len(name) <= MAX_VALUE_NAME:
        raise ValueError(f"a value's name has 1 to {MAX_VALUE_NAME} characters, got {len(name)}")
    if len(body) > MAX_VALUE_BYTES:
        raise ValueError(f"a value has at most {MAX_VALUE_BYTES} bytes, got {len(body)}")
    if seconds is not None and seconds <= 0:
        raise ValueError(f"a value is kept for more than 0 seconds, got {seconds}")
