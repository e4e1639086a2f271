"""The contract's bounds: what runs again, how soon a lane is taken over, how often a process knocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import median

from tests.chaos.stage import Stage
from tests.chaos.tracing import Takeover, died_claiming, reruns, takeovers

STALLED_IN_FLIGHT = 16
"""O4: while a store answers nobody, a worker may run so many jobs of a lane (its `max_in_flight`) whose
settlements are sent and not answered. Where the store answers it is one."""
NOTICED = 0.05
"""SQLite: seconds within which the end of a process on this host is noticed, half of all times at least."""
NOTICED_IN_A_CROWD = 0.25
"""The same where a dozen processes are started and killed on two cores: far from any lease all the same."""
AFTER_LEASE = 1.0
"""Redis: seconds after the end of a dead owner's lease within which its lane is taken over."""
KNOCKS_PER_SECOND = 5.0
"""What a process may cost a server that comes and goes, at most."""


def assert_reruns(stage: Stage, most: int = 1) -> None:
    """O4: at most so many jobs of a stay in a lane ran again."""
    again = reruns(stage.events("start"), stage.events("settle.ok"))
    stage.figures.count(ran_again=sum(map(len, again.values())))
    worst = {stay: jobs for stay, jobs in again.items() if len(jobs) > most}
    assert not worst, f"more than {most} ran again: {worst}"


def latest_takeover(stage: Stage) -> float:
    """Seconds after which a dead owner's lane must be taken: half a lease on SQLite, which must notice the
    death itself, and a second after its lease on Redis, which has nothing else to go by."""
    return stage.lease / 2 if stage.store == "sqlite" else stage.lease + AFTER_LEASE


def assert_takeovers(
    stage: Stage, deaths: Mapping[int, float], figure: str, *, mostly: float = NOTICED
) -> None:
    """Every lane of a dead process got a new owner, in time and for the right reason; the times become a
    figure of this name. Left out, and counted, are lanes that a claim in flight may have held meanwhile."""
    lost = died_claiming(deaths, stage.events("claiming"), stage.events("claim_noted"))
    found = takeovers(stage.events("claimed"), deaths, lost)
    latest = latest_takeover(stage)
    known = [each for each in found if each.seconds <= latest or each.seconds == each.least]
    stage.figures.time(f"{figure}_{stage.store}", [each.seconds for each in known])
    stage.figures.count(takeovers_by_unknown_owners=len(found) - len(known))
    assert known, "no lane was ever taken over: what is tested here?"
    late = [each for each in found if each.least > latest]
    assert not late, f"later than {latest} s: {late}"
    assert_noticed(stage, known, mostly)


def assert_noticed(stage: Stage, found: list[Takeover], mostly: float) -> None:
    """On SQLite the death itself was noticed, and mostly soon; on Redis only the lease's end tells of it."""
    causes = {each.cause for each in found}
    assert causes == {"owner_died" if stage.store == "sqlite" else "lease_expired"}, causes
    if stage.store == "sqlite":
        middle = median(each.seconds for each in found)
        assert middle <= mostly, f"half of {len(found)} takeovers took longer than {middle:.3f} s"


def assert_knocks(stage: Stage, began: float, ended: float, *, at_once: int = 0) -> None:
    """No process tried to connect more than five times a second in this time, by its own notes, beside the
    connections it may make anew `at_once` after whatever ended them."""
    knocks = Counter(event["pid"] for event in stage.events("knock") if began <= event["m"] <= ended)
    worst = max(0, max(knocks.values(), default=0) - at_once) / (ended - began)
    stage.figures.time("knocks_per_second", [worst])
    assert worst < KNOCKS_PER_SECOND, f"{knocks} connections by process in {ended - began:.1f} s"
