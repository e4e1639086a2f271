"""Jobs that wait for others, and workflows: verbs in, scripts out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from glassq.errors import StorageUnavailable
from glassq.flowstorage import MAX_DELIVERIES, never_was
from glassq.model.edges import EdgePolicy
from glassq.model.flows import Delivered, Delivery, FlowRecord, Upstream
from glassq.model.jobs import JobState
from glassq.model.names import is_flow, is_queue, queue_of
from glassq.stores.redis import scripts
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.connections import Argument
from glassq.stores.redis.keys import Keys
from glassq.stores.redis.register import Register
from glassq.stores.redis.replies import MICRO, ended_counts, flow_ended, member_id, member_name, micros
from glassq.stores.redis.searching import find_in_lanes

_ENOUGH: Final = 1 << 20
"""Bytes of results after which a script's answer ends."""
_AT_ONCE: Final = 100
_LOOKS: Final = 5
"""How often a parent is looked for that cannot be found, while lanes are given up meanwhile."""

_LETTERS: Final = {
    b"s": (JobState.SUCCEEDED, True),
    b"b": (JobState.BURIED, False),
    b"B": (JobState.BURIED, True),
    b"c": (JobState.CANCELLED, True),
    b"k": (JobState.CANCELLED, False),
    b"e": (JobState.EXPIRED, True),
    b"-": (None, False),
}
"""How ends are told to scripts and by them: the outcome, and whether it is final."""
_LETTER_OF: Final = {told: letter.decode() for letter, told in _LETTERS.items()}


class FlowVerbs:
    """The verbs of `glassq.flowstorage.FlowStorage`. Each is a script in the slot of its queue."""

    _server: Commands
    _keys: Keys
    _register: Register

    def follow(self, parent: str, children: Sequence[tuple[str, EdgePolicy]]) -> JobState | None:
        """See `FlowStorage.follow`. Further round trips where it has to be looked for in the lanes."""
        queue = queue_of(parent)
        _check(len(children))
        if not is_queue(queue):
            return JobState.SUCCEEDED
        names = [member_name(queue, child) for child, _ in children]
        known = self._ask(scripts.FOLLOW, queue, member_name(queue, parent), *names)
        if known == b"nothing":  # never used, or forgotten: there is nobody who could tell the children later
            return JobState.SUCCEEDED
        if known == b"never":
            raise never_was(parent)
        if known != b"unsure":
            return None
        return self._look_for(queue, member_name(queue, parent), names)

    def deliver(self, queue: str, deliveries: Sequence[Delivery]) -> Delivered:
        """See `FlowStorage.deliver`."""
        _check(len(deliveries))
        if not deliveries:
            return Delivered()
        if any(is_flow(each.to) for each in deliveries):
            self._register.enter(queue)  # none of its jobs may be here
        told = [part for each in deliveries for part in _told(queue, each)]
        released, cancelled, relay, *flows = self._ask(scripts.DELIVER, queue, *told)
        return Delivered(
            released=released,
            cancelled=cancelled,
            ended=tuple(flow_ended(queue, each) for each in flows),
            relay=bool(relay),
        )

    def outbox(self, queue: str, limit: int = MAX_DELIVERIES) -> list[Delivery]:
        """See `FlowStorage.outbox`. Further round trips where parents are still to be looked for."""
        while True:
            wanted, *found = self._ask(scripts.OUTBOX, queue, max(0, limit), _ENOUGH)
            if not wanted:
                return [_delivery(queue, each) for each in found]
            for parent in wanted:
                self._look_for(queue, parent.decode(), ())

    def delivered(self, queue: str, numbers: Sequence[int]) -> None:
        """See `FlowStorage.delivered`. A round trip for every 100."""
        for begin in range(0, len(numbers), _AT_ONCE):
            self._ask(scripts.DELIVERED, queue, *numbers[begin : begin + _AT_ONCE])

    def upstream(self, job_id: str) -> tuple[Upstream, ...]:
        """See `FlowStorage.upstream`. A round trip for every 100 parents, or 1 MiB of results."""
        queue, found, skip = queue_of(job_id), list[Upstream](), 0
        if not is_queue(queue):
            return ()
        job = member_name(queue, job_id)
        while True:
            answer = self._ask(scripts.UPSTREAM, queue, job, skip, _AT_ONCE, _ENOUGH)
            if answer is None:
                raise StorageUnavailable(f"the job before {job_id} has not ended yet; ask again when it has")
            skip, *told = answer
            found += [
                _upstream(queue, *told[at : at + _UPSTREAM_PARTS])
                for at in range(0, len(told), _UPSTREAM_PARTS)
            ]
            if not skip:
                return tuple(found)

    def open_flow(self, flow: str, *, name: str, total: int, body: bytes, keep_seconds: float) -> None:
        """See `FlowStorage.open_flow`."""
        home = queue_of(flow)
        self._register.enter(home)
        asked = (member_name(home, flow), name, total, body, micros(keep_seconds))
        self._ask(scripts.OPEN_FLOW, home, *asked)

    def flow(self, flow: str) -> FlowRecord | None:
        """See `FlowStorage.flow`."""
        home = queue_of(flow)
        told = self._ask(scripts.FLOW, home, member_name(home, flow), "") if is_queue(home) else None
        return None if told is None else _flow_record(flow, told)

    def flow_outcomes(self, flow: str) -> dict[str, JobState]:
        """See `FlowStorage.flow_outcomes`. A round trip for every 500 jobs or so."""
        home, cursor = queue_of(flow), b"0"
        outcomes: dict[str, JobState] = {}
        while is_queue(home):
            told = self._ask(scripts.FLOW_OUTCOMES, home, member_name(home, flow), cursor)
            if told is None:
                break
            cursor, *page = told
            for job, letter in zip(page[::2], page[1::2], strict=True):
                outcome, _ = _LETTERS[letter[:1]]
                if outcome is not None:
                    outcomes[member_id(home, job)] = outcome
            if cursor == b"0":
                break
        return outcomes

    def cancel_flow(self, flow: str) -> bool:
        """See `FlowStorage.cancel_flow`."""
        home = queue_of(flow)
        return is_queue(home) and bool(self._ask(scripts.FLOW, home, member_name(home, flow), "1"))

    def _look_for_parents(self, queue: str) -> None:
        """Look for those of which an append did not know whether they are unsettled.

        What cannot be asked now is left to the next relay: the append itself has been done.
        """
        with suppress(StorageUnavailable):
            self.outbox(queue, 0)

    def _look_for(self, queue: str, parent: str, children: Sequence[str]) -> JobState | None:
        """Look for a parent of which a script did not know whether it is unsettled; how it has ended, if it
        has, which these `children` hear of by the caller.

        Its children are noted before, so that it cannot end unheard. While lanes are read one after the other
        they may change hands: that it is nowhere is believed when nothing did, or after some looks.
        """
        key, before = self._keys.counters(queue), "-"
        for look in range(1, _LOOKS + 1):
            is_there = self._server.run(scripts.LOOKUP, key, parent) is not None
            is_there = is_there or find_in_lanes(self._server, key, parent) is not None
            believed = before if look < _LOOKS else ""
            answer, *told = self._ask(
                scripts.CONCLUDE, queue, parent, "1" if is_there else "", believed, *children
            )
            if answer == b"ended":
                return _LETTERS[told[0]][0]
            if answer != b"again":
                return None
            before = told[0].decode()
        raise AssertionError("the last look concludes")

    def _ask(self, script: scripts.Script, queue: str, *arguments: Argument) -> Any:
        return self._server.run(script, self._keys.counters(queue), *arguments)


_UPSTREAM_PARTS: Final = 3


def _flow_record(flow: str, told: Sequence[bytes]) -> FlowRecord:
    name, total, left, buried, cancelled, expired, body, began, at, stopped = told
    ended = ended_counts(int(buried), int(cancelled), int(expired))
    succeeded = int(total) - int(left) - sum(ended.values())
    if succeeded:
        ended[JobState.SUCCEEDED] = succeeded
    return FlowRecord(
        id=flow,
        name=name.decode(),
        total=int(total),
        ended=ended,
        body=body,
        began_at=int(began) / MICRO,
        ended_at=int(at) / MICRO if at else None,
        cancelled=stopped == b"1",
    )


def _told(queue: str, what: Delivery) -> tuple[Argument, ...]:
    """A delivery as `lua/deliver.lua` reads it."""
    final = what.final or what.outcome in _ALWAYS_FINAL
    letter = "-" if what.outcome is None else _LETTER_OF[what.outcome, final]
    left = b"" if what.result is None else b"+" + what.result
    return (what.number, member_name(queue, what.to), member_name(queue, what.parent), letter, left)


_ALWAYS_FINAL: Final = (JobState.SUCCEEDED, JobState.EXPIRED)


def _delivery(queue: str, told: Sequence[bytes]) -> Delivery:
    """A delivery as `lua/outbox.lua` tells it."""
    number, to, parent, letter, left = told
    outcome, final = _LETTERS[letter]
    return Delivery(
        number=int(number),
        to=member_id(queue, to),
        parent=member_id(queue, parent),
        outcome=outcome,
        final=final,
        result=left[1:] if left else None,
    )


def _upstream(queue: str, parent: bytes, name: bytes, left: bytes) -> Upstream:
    outcome, _ = _LETTERS[left[:1]]
    if outcome is None:
        raise AssertionError("what is unsettled leaves nothing")
    return Upstream(member_id(queue, parent), name.decode(), outcome, left[2:] if left[1:] else None)


def _check(count: int) -> None:
    if count > MAX_DELIVERIES:
        raise ValueError(f"one call takes {MAX_DELIVERIES}, got {count}")
