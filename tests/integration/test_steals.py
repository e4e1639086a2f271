"""Random keys, levels, failures, deaths and steals: the order of a key and level is never broken, and no two
attempts of one lane overlap, whoever takes it from whom."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassq.model.jobs import Priority
from glassq.model.verdicts import Action
from glassq.storage import Choice
from glassq.testing.history import check, read
from tests.unit.playing import LEASE, Line, Play, Process, lines_of, write_history

LANES: Final = ("a-1", "a-2", "b-1", "b-2", "c")
LEVELS: Final = (Priority.LOW, Priority.NORMAL, Priority.CRITICAL)
ACTIONS: Final = (Action.ACK, Action.ACK, Action.ACK, Action.RETRY, Action.BURY)
WISHES: Final = (
    Choice(patterns=("a-*",), steal_from=("b-*",), stays=2 * LEASE),
    Choice(assigned=("b-1", "b-2"), steal_from=("c", "a-*"), stays=2 * LEASE),
    Choice(assigned=("c",), patterns=("*-2",), exclusive=True, stays=2 * LEASE),
    None,
)
"""What the processes want, one after the other; the last one has no keys of its own, and takes any."""


def _outlive(process: Process, how: int) -> None:
    """User code runs for longer than the lease, and what it ends with is refused if the lane was taken."""
    if process.start():
        process.play.pass_time(LEASE * (how % 3))
        process.end()
        process.settle()


def _release(process: Process, _: int) -> None:
    if process.grant is not None:
        process.store.release(process.owner, [process.grant.lease])
        process.grant = None


def _report(process: Process, _: int) -> None:
    process.store.report(process.owner, ["q"])


VERBS: Final[dict[str, Callable[[Process, int], object]]] = {
    "enqueue": lambda process, how: process.enqueue(
        1 + how % 4, lane=LANES[how % len(LANES)], level=LEVELS[how % len(LEVELS)]
    ),
    "work": lambda process, how: process.work(ACTIONS[how % len(ACTIONS)]),
    "work on": lambda process, how: [process.work() for _ in range(1 + how % 5)],
    "outlive": _outlive,
    "release": _release,
    "report": _report,
    "time": lambda process, how: process.play.pass_time(float(how)),
    "die": lambda process, how: process.start() if how % 2 else process.claim(),
}
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(list(VERBS)), st.integers(0, 3), st.integers(0, 40)), min_size=20, max_size=70
)


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_steals_break_neither_order_nor_exclusion(store: str, redis_url: str) -> None:
    """Judged by the checker of histories, from what four processes with keys of their own wrote down."""
    claims: Counter[str] = Counter()

    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=STEPS)
    def judged(steps: list[tuple[str, int, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            play = Play(Path(folder), _emptied(redis_url) if store == "redis" else None)
            processes = [_joined(play, which) for which in range(len(WISHES))]
            for lane in LANES:
                processes[0].enqueue(2, lane=lane)
            for verb, which, how in steps:
                VERBS[verb](processes[which], how)
                if verb == "die":
                    node = processes[which].owner.node if how % 3 == 0 else ""
                    processes[which] = _joined(play, which, node)
            lines = play.dump()
            report = check(read([write_history(lines, Path(folder) / "history")]))
        assert report.findings == []
        claims["moved"] += _moved(lines)
        claims.update(report.figures["claims"])
        claims["starts"] += report.figures["starts"]

    judged()
    assert claims["starts"] >= 300, claims
    assert claims["moved"] >= 50, claims
    assert claims["lease_expired"] + claims["handover"] + claims["owner_died"] >= 20, claims


def _moved(lines: list[Line]) -> int:
    """How often a lane was taken by somebody who did not have it before."""
    owners: dict[str, list[str]] = {}
    for line in sorted(lines_of(lines, "lease.taken"), key=lambda line: line["m"]):
        owners.setdefault(line["lane"], []).append(line["owner"])
    return sum(earlier != later for each in owners.values() for earlier, later in pairwise(each))


def _joined(play: Play, which: int, node: str = "") -> Process:
    process = Process(play, node)
    process.choice = WISHES[which]
    return process


def _emptied(url: str) -> str:
    with redis.Redis.from_url(url) as server:
        server.flushall()
    return url
