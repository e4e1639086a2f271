"""The proof, from the receiver's side alone: what it saw against what the log says it must see.

Pure functions over recorded deliveries; nothing here trusts a counter of the queue itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from glassq.cli.demo.eventlog import Event
from glassq.cli.demo.ledger import Delivery


class Finding(msgspec.Struct, frozen=True):
    """One promise, whether it was kept, and the facts in one sentence."""

    promise: str
    kept: bool
    facts: str


class Killed(msgspec.Struct, frozen=True):
    """The worker that was killed: its process id and how many lanes it could run at once."""

    pid: int
    concurrency: int


def prove(events: Sequence[Event], deliveries: Sequence[Delivery], killed: Killed) -> list[Finding]:
    """Every promise of the demo, checked."""
    seen = _by_event(deliveries)
    return [
        nothing_lost(events, seen),
        in_order(events, seen),
        retried_in_place(deliveries, seen),
        repeated_at_most(deliveries, seen, killed),
    ]


def nothing_lost(events: Sequence[Event], seen: Mapping[str, Sequence[Delivery]]) -> Finding:
    """Every event of the log was accepted, unchanged, and nothing else came."""
    known = {event.id: event for event in events}
    lost = [event for event in events if not any(each.accepted for each in seen.get(event.id, ()))]
    strange = [name for name in seen if name not in known]
    changed = [
        known[name] for name in seen if name in known and any(one.event != known[name] for one in seen[name])
    ]
    if lost:
        facts = f"{len(lost)} of {len(events)} events never accepted, the first one: {_name(lost[0])}"
    elif strange:
        facts = f"{len(strange)} events arrived that nobody sent, the first one: {strange[0]}"
    elif changed:
        facts = f"{len(changed)} events arrived changed, the first one: {_name(changed[0])}"
    else:
        facts = f"{len(events)} of {len(events)} events were accepted, each with the content it was sent with"
    return Finding("nothing lost", not (lost or strange or changed), facts)


def in_order(events: Sequence[Event], seen: Mapping[str, Sequence[Delivery]]) -> Finding:
    """No event even arrived before all earlier events of its customer had been accepted."""
    lanes: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.n):
        lanes[event.customer].append(event)
    for lane in lanes.values():
        passed = 0  # the tick at which the last of the events so far was accepted
        for ahead, event in zip([None, *lane], lane, strict=False):
            arrivals = seen.get(event.id, ())
            if arrivals and arrivals[0].arrived < passed:
                return Finding(
                    "in order", False, f"{_name(event)} arrived before {_name(ahead)} was accepted"
                )
            taken = [each.answered for each in arrivals if each.accepted and each.answered is not None]
            passed = max(passed, min(taken)) if taken else _NEVER
    return Finding(
        "in order",
        True,
        f"{len(lanes)} customers: no event arrived before the one ahead of it was accepted",
    )


def retried_in_place(deliveries: Sequence[Delivery], seen: Mapping[str, Sequence[Delivery]]) -> Finding:
    """Each refused event came again and was taken; meanwhile its customer waited and the others did not."""
    promise = "retried in place"
    refused = [each for each in deliveries if each.refused]
    if not refused:
        return Finding(promise, False, "the receiver refused nothing, so no retry was put to the test")
    passed_by: set[int] = set()
    for refusal in refused:
        later = [each for each in seen[refusal.event.id] if each.accepted and each.arrived > refusal.arrived]
        if not later:
            return Finding(promise, False, f"{_name(refusal.event)} was refused and never came again")
        passed_by |= {
            other.arrived
            for other in deliveries
            if other.event.customer != refusal.event.customer
            and (refusal.answered or 0) < other.arrived < later[0].arrived
        }
    if not passed_by:
        return Finding(promise, False, "while a customer waited for a retry, all other customers waited too")
    facts = f"{len(refused)} events answered 503 came again in place while {len(passed_by)} others went by"
    return Finding(promise, True, facts)


def repeated_at_most(
    deliveries: Sequence[Delivery], seen: Mapping[str, Sequence[Delivery]], killed: Killed
) -> Finding:
    """Only what the killed worker was running was delivered again after it had been accepted."""
    promise = "no needless repeat"
    by_arrival = sorted(deliveries, key=lambda delivery: delivery.arrived)
    last = {each.event.customer: each.event for each in by_arrival if each.worker == killed.pid}
    repeated = [arrivals for arrivals in seen.values() if sum(each.accepted for each in arrivals) > 1]
    for arrivals in repeated:
        event = arrivals[0].event
        running = last.get(event.customer)  # what the killed worker delivered last in this lane
        if sum(each.accepted for each in arrivals) > 2 or running != event:
            return Finding(promise, False, f"{_name(event)} was accepted twice without having been running")
    if len(repeated) > killed.concurrency:
        facts = f"{len(repeated)} events were accepted twice, at most {killed.concurrency} were running"
        return Finding(promise, False, facts)
    names = ", ".join(f"{each[0].event.customer} #{each[0].event.n}" for each in repeated) or "none"
    return Finding(
        promise, True, f"running at kill -9 and accepted twice: {names} (at most {killed.concurrency})"
    )


_NEVER = 1 << 62
"""A tick later than any: what is behind an event that was never accepted must not arrive at all."""


def _by_event(deliveries: Sequence[Delivery]) -> dict[str, list[Delivery]]:
    seen: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in sorted(deliveries, key=lambda delivery: delivery.arrived):
        seen[delivery.event.id].append(delivery)
    return seen


def _name(event: Event | None) -> str:
    return f"{event.customer} #{event.n} {event.type}" if event else "?"
