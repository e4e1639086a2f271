"""What a history tells about deaths: how long lanes waited for a new owner, and what ran again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from tests.chaos.events import Event

RECLAIMED = ("owner_died", "lease_expired", "handover")

Held = tuple[str, str, int]
"""A stay in a lane: queue, lane and token."""


def stay_of(event: Event) -> Held:
    """Which stay an event belongs to."""
    return event["queue"], event["lane"], event["token"]


class Takeover(NamedTuple):
    """A lane that was taken back from a dead process, and the seconds since that death.

    `least` are those since the last death of anybody who may have been its owner meanwhile without having
    written so: it died with a claim in flight.
    """

    lane: str
    cause: str
    seconds: float
    least: float


def takeovers(
    taken: Iterable[Event], deaths: Mapping[int, float], in_flight: Collection[int]
) -> list[Takeover]:
    """How long each lane waited that a dead process held; `deaths` are monotonic times by pid."""
    found = []
    for before, after in _successions(taken):
        died = deaths.get(before["pid"])
        if died is None or not died <= after["m"] or after["cause"] not in RECLAIMED:
            continue
        unseen = [deaths[pid] for pid in in_flight if died <= deaths[pid] <= after["m"]]
        last = max([died, *unseen])
        found.append(Takeover(after["lane"], after["cause"], after["m"] - died, after["m"] - last))
    return found


def died_claiming(deaths: Iterable[int], claiming: Iterable[Event], noted: Iterable[Event]) -> set[int]:
    """Who of the dead was in the middle of a claim: what it was granted, nobody has read of."""
    begun = Counter(event["pid"] for event in claiming)
    ended = Counter(event["pid"] for event in noted)
    return {pid for pid in deaths if begun[pid] > ended[pid]}


def _successions(taken: Iterable[Event]) -> Iterable[tuple[Event, Event]]:
    """Each stay in a lane with the next one there."""
    lanes: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in taken:
        lanes[event["queue"], event["lane"]].append(event)
    for stays in lanes.values():
        yield from pairwise(sorted(stays, key=lambda event: int(event["token"])))


def reruns(starts: Iterable[Event], settled: Iterable[Event]) -> dict[Held, set[str]]:
    """Jobs that were started again although no settlement of their last start was acknowledged, by the stay
    that start was in."""
    answered = {(*stay_of(event), event["id"]) for event in settled}
    again: dict[Held, set[str]] = defaultdict(set)
    runs: dict[str, list[Event]] = defaultdict(list)
    for event in starts:
        runs[event["id"]].append(event)
    for job, events in runs.items():
        for before, _ in pairwise(sorted(events, key=lambda event: int(event["token"]))):
            if (*stay_of(before), job) not in answered:
                again[stay_of(before)].add(job)
    return again


def starts_ahead(events: Iterable[Event]) -> list[int]:
    """For each job that was started before its worker had heard of all earlier ones of its stay: of how many
    it had not. `events` are starts and settlements, asked for and answered, in their order."""
    asked: Counter[Held] = Counter()
    ahead = []
    for event in events:
        stay = stay_of(event)
        if event["e"] != "start":
            asked[stay] += 1 if event["e"] == "settle.invoked" else -1
        elif asked[stay]:
            ahead.append(asked[stay])
    return ahead


def starts_while_paused(events: Iterable[Event]) -> list[int]:
    """For each time that a queue or a lane was paused: how many jobs of one lane of it began meanwhile, at
    most. `events` are starts, pauses and resumptions in their order."""
    paused: dict[tuple[str, str | None], Counter[str]] = {}
    found = []
    for event in events:
        if event["e"] == "start":
            for (queue, lane), began in paused.items():
                if queue == event["queue"] and lane in (None, event["lane"]):
                    began[event["lane"]] += 1
            continue
        scope = event["queue"], event["lane"]
        ended = paused.pop(scope, None)
        if ended is not None:
            found.append(max(ended.values(), default=0))
        if event["e"] == "pause.ok":
            paused[scope] = Counter()
    return found


def held_by(pid: int, taken: Iterable[Event], given_up: Iterable[Event]) -> set[Held]:
    """The stays of a process that have not ended, as far as it has written."""
    ended = {stay_of(event) for event in given_up}
    return {stay_of(event) for event in taken if event["pid"] == pid} - ended
