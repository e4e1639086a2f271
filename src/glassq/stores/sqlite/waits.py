"""What lanes that nobody holds wait for: noted when such a time ends, or another one begins.

A lane's row has the stretches of time up to `since`; of a lane that nobody ever held that is 0, as it waits
since its first job. A queue's row has those in which nothing of it could be served.
"""

from __future__ import annotations

from sqlite3 import Connection

from glassq.model.jobs import Priority
from glassq.model.waits import BACKOFF, FAIRNESS, HALTED, NO_WORKER, PAUSED, merged, stretches_of, text_of

_MUCH, _FEW, _MOST = 360, 4, 1500
"""Of a lane so many characters are kept before they are merged, to so many stretches; of its queue so many
characters at most."""


def standstills(cx: Connection, queue: int, now: int) -> str:
    """The times in which nothing of the queue could be served, to this moment."""
    noted, served_until, paused, paused_at = cx.execute(
        "SELECT standstills, served_until, paused, paused_at FROM queues WHERE id = ?", (queue,)
    ).fetchone()
    if paused:
        return str(noted + text_of(paused_at, now, PAUSED))
    if served_until > now:
        return str(noted)
    stretches = stretches_of(noted)
    last = stretches[-1].end if stretches else 0
    return str(noted + text_of(max(served_until, last), now, NO_WORKER))


def note_standstills(cx: Connection, queue: int, now: int) -> None:
    """Keep them, as what holds the queue up is about to change."""
    text = standstills(cx, queue, now)
    if len(text) > _MOST:
        text = text[-_MOST:].partition(",0,")[2]
    cx.execute("UPDATE queues SET standstills = ? WHERE id = ?", (text, queue))


def waited(cx: Connection, queue: int, lane: str, waits: str, since: int, now: int, standing: str) -> str:
    """What a ready lane that is granted now has waited for, to be handed to its owner."""
    text = waits + _ready(since, now, standing)
    return merged(text, *_arrivals(cx, queue, lane), _FEW) if len(text) > _MUCH else text


def bring_up(cx: Connection, queue: int, lane: str, now: int) -> None:
    """Note what a lane that nobody holds has waited for, up to now. Comes before its state, or a pause of it,
    changes."""
    row = cx.execute(
        "SELECT state, place, waits, since, paused FROM lanes WHERE queue = ? AND lane = ?", (queue, lane)
    ).fetchone()
    if row is None or row[0] == "held":
        return
    state, place, text, since, paused = row
    if state == "halted":
        text += text_of(since, now, HALTED)
    else:
        if state == "waiting":
            text += text_of(since, min(place, now), BACKOFF)
            since = max(since, place)
        if paused:
            text += text_of(since, now, PAUSED)
        else:
            text += _ready(since, now, standstills(cx, queue, now))
    if len(text) > _MUCH:
        text = merged(text, *_arrivals(cx, queue, lane), _FEW)
    cx.execute("UPDATE lanes SET waits = ?, since = ? WHERE queue = ? AND lane = ?", (text, now, queue, lane))


def _ready(since: int, till: int, standing: str) -> str:
    """Of a lane that was ready all the time."""
    text = ""
    for begin, end, cause, _ in stretches_of(standing):
        if end > since and begin < till:
            text += text_of(since, begin, FAIRNESS)
            since = max(since, begin)
            text += text_of(since, min(end, till), cause)
            since = min(end, till)
    return text + text_of(since, till, FAIRNESS)


def _arrivals(cx: Connection, queue: int, lane: str) -> tuple[int, int]:
    """From when to when the jobs of a lane became eligible. A replayed one may stand before older ones."""
    firsts, lasts = [], []
    one = "SELECT eligible_at, replayed FROM jobs WHERE queue = ? AND lane = ? AND rank = ? ORDER BY seq"
    for level in Priority:
        first = cx.execute(f"{one} LIMIT 1", (queue, lane, -level)).fetchone()
        if first is not None:
            firsts.append(0 if first[1] else first[0])
            lasts += cx.execute(f"{one} DESC LIMIT 1", (queue, lane, -level)).fetchone()[:1]
    return min(firsts), max(lasts)
