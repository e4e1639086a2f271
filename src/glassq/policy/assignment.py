"""Which keys a worker means by those it names."""

from __future__ import annotations

from collections.abc import Iterable

ANY_TEXT = "*"


def is_pattern(entry: str) -> bool:
    """Whether it stands for many keys."""
    return ANY_TEXT in entry


def fits(key: str, entry: str) -> bool:
    """Whether a key is the one that is named, or fits the pattern: a `*` stands for any text, also for none,
    and nothing else has a meaning."""
    start, *parts = entry.split(ANY_TEXT)
    if not parts:
        return key == start
    *middle, end = parts
    if not key.startswith(start):
        return False
    at = len(start)
    for part in middle:  # the first place at which it stands leaves most to those behind it
        found = key.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(key) - len(end) >= at and key.endswith(end)


def fits_any(key: str, entries: Iterable[str]) -> bool:
    """Whether a key is among those that are named."""
    return any(fits(key, entry) for entry in entries)
