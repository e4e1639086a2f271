"""Values as people read them in tables. Whatever a job brought along is shown, never obeyed."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from rich.text import Text

from glassq.cli.escaping import printable

_LONGEST_REASON = 120
"""Characters of an error that a table shows; the whole of it is in `glassq dead show`."""


def count(number: int, *, alarming: bool = False) -> Text:
    """A number; none is dim, some of what should not be is red."""
    style = "dim" if number == 0 else "bold red" if alarming else ""
    return Text(f"{number:,}", style)


def age(seconds: float, *, alarming: bool = False) -> Text:
    """How old something is; a dash when there is nothing to be old."""
    if seconds <= 0:
        return Text("-", "dim")
    return Text(duration(seconds), "bold red" if alarming else "")


def since(moment: float) -> Text:
    """How long ago something was (epoch seconds by the store's clock, which may differ a little)."""
    return Text(duration(max(0.0, time.time() - moment)))


def moment(seconds: float) -> str:
    """A time of the store in UTC, and how long ago that is."""
    at = datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")
    return f"{at.replace('+00:00', ' UTC')}, {since(seconds)} ago"


def key(ordering_key: str | None) -> Text:
    """An ordering key; the lane without one cannot be mistaken for a key."""
    return Text("(no key)", "dim") if ordering_key is None else word(ordering_key)


def word(text: str) -> Text:
    """A name, id or key: nothing in it is markup or a command to the terminal."""
    return Text(printable(text))


def explained(task: str, reason: str, error: str) -> Text:
    """A task, and below it why it stopped: of an error the beginning says enough for a list."""
    why = printable(": ".join(filter(None, (reason, error.partition("\n")[0]))))
    cut = why if len(why) <= _LONGEST_REASON else f"{why[: _LONGEST_REASON - 1]}…"
    return word(task).append(f"\n{cut}", "red")


def counted(number: int, thing: str) -> str:
    """So many of something, in words: `1 lane`, `2 lanes`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def duration(seconds: float) -> str:
    """Seconds as people say them: `0.4 s`, `52 s`, `7 min`, `3.5 h`, `2.1 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} d"
