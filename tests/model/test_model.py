"""The model against both stores: random calls, the same answers, the same dumps after each.

A failure tells its seed, and the calls it shrank to. `GLASSQ_TEST_SEED=<seed>` runs the same calls again;
`--hypothesis-profile=chaos` runs ten times as many.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from glassq.model.jobs import Dedup, NewJob
from glassq.model.leases import Leaving, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from tests.model import picture
from tests.model.driving import Changes, Ending, Hold, Side, Time, caught, plain, told
from tests.model.lanes import HALTED, HELD, WAITING, micros
from tests.model.model import Model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

OWNERS = [
    Owner("a", "1"),
    Owner("a", "2"),  # the same node, started again
    Owner("b", "1", 0),
    Owner("b", "1", 1),  # another worker beside it
    Owner("c", "1"),
]
PASSER_BY = Owner("passer-by", "1")
LANES = ["", "x", "y:1|"]
LEASES = [15.0, 6.0]
STEPS_FORWARD = [0.000001, 0.25, 0.9, 2.7, 5.0, 10.0, 14.999999, 15.0, 15.000001, 31.0, 3600.0]
STEPS_BACK = [-0.000001, -0.4, -0.999999, -1.0, -1.000001, -5.0, -14.0, -3600.0]


endings = st.builds(
    Ending,
    action=st.sampled_from(
        [Action.ACK, Action.ACK, Action.RETRY, Action.BURY, Action.HALT, Action.EXPIRE, Action.CANCEL]
    ),
    leaving=st.sampled_from([Leaving.STAY, Leaving.STAY, *Leaving]),
    named=st.booleans(),
    stale=st.sampled_from([0, 0, 0, 0, 1]),
    window=st.integers(1, 3),
    ran=st.sampled_from([True, True, False]),
    wait=st.sampled_from([0.0, 2.05, 10.0]),
)
picks = st.integers(0, 7)


new_jobs: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        lane=st.sampled_from(LANES),
        level=st.sampled_from([3, 3, 2, 5]),
        due=st.sampled_from([None, None, None, 0.0, 2.5, 20.1]),
        at=st.sampled_from([None, None, None, -5.0, 3.3]),
        ttl=st.sampled_from([None, None, 7.1]),
        dedup=st.sampled_from(
            [None, None, None, Dedup("d"), Dedup("d", 4.35), Dedup("e", 300.0), Dedup("e")]
        ),
    ),
    min_size=1,
    max_size=4,
)


endings = st.builds(
    Ending,
    action=st.sampled_from(
        [Action.ACK, Action.ACK, Action.RETRY, Action.BURY, Action.HALT, Action.EXPIRE, Action.CANCEL]
    ),
    leaving=st.sampled_from([Leaving.STAY, Leaving.STAY, *Leaving]),
    named=st.booleans(),
    stale=st.sampled_from([0, 0, 0, 0, 1]),
    window=st.integers(1, 3),
    ran=st.sampled_from([True, True, False]),
    wait=st.sampled_from([0.0, 2.05, 10.0]),
)
picks = st.integers(0, 7)


class Machine(RuleBasedStateMachine):
    """One example: a queue of its own on both stores, and the model of it."""

    count = 0

    def __init__(self, targets: Sequence[str]) -> None:
        super().__init__()
        Machine.count += 1
        self.queue = f"q{Machine.count}"
        self.time = Time()
        self.model = Model(self.queue)
        self.changes = Changes()
        self.sides = [Side(target, self.time) for target in targets]
        self.holds: list[Hold] = []
        self.done: list[tuple[Owner, Settlement]] = []
        self.last: list[tuple[Hold, Settlement]] = []
        self.names: list[str] = []

    def teardown(self) -> None:
        """The handles are not kept."""
        for side in self.sides:
            side.store.close()

    # -- comparing ---------------------------------------------------------------------------------------

    def agree(self, expected: Any, answers: Sequence[Any]) -> None:
        """All the same; then the dumps, too."""
        expected = plain(expected)
        for side, answer in zip(self.sides, answers, strict=True):
            found = side.named(answer)
            assert found == expected, f"{side.store.kind} answered\n{found!r}, the model\n{expected!r}"
        self.compare_dumps()

    def ask(self, expected: Callable[[], Any], call: Callable[[Side], Any]) -> Any:
        """The same question to all; the answer."""
        answer = caught(expected)
        self.agree(answer, [caught(lambda side=side: call(side)) for side in self.sides])  # type: ignore[misc]
        return answer

    def compare_dumps(self) -> None:
        """What is unsettled, dead and halted, and the figures."""
        expected = {
            "waiting": picture.waiting(self.model),
            "dead": picture.letters(self.model),
            "halted": picture.halted(self.model),
            "stats": [plain(picture.figures(self.model, self.time.now))],
        }
        for side in self.sides:
            found = {
                "waiting": side.store.waiting(self.queue, 1000),
                "dead": side.store.dead(self.queue, 1000),
                "halted": side.store.halted(self.queue, 1000),
                "stats": side.store.stats([self.queue]),
            }
            for part, theirs in found.items():
                named = side.named(theirs)
                assert named == expected[part], (
                    f"{part} on {side.store.kind}:\n{named!r}, in the model\n{expected[part]!r}"
                )

    # -- producing ---------------------------------------------------------------------------------------

    @initialize(specs=new_jobs)
    def begin(self, specs: list[dict[str, Any]]) -> None:
        """An empty queue has little to tell."""
        self.append_jobs(specs, None)

    @rule(specs=new_jobs, limit=st.sampled_from([None, None, None, 3, 6]))
    def append(self, specs: list[dict[str, Any]], limit: int | None) -> None:
        """At any time."""
        self.append_jobs(specs, limit)

    def append_jobs(self, specs: list[dict[str, Any]], limit: int | None) -> None:
        """Batches, keys, levels, delays, expiry, duplicates, limits."""
        jobs: list[NewJob] = []
        names: list[str] = []
        for spec in specs:
            at = spec.pop("at")
            if at is not None:
                spec |= {"due": self.time.wall() + at, "due_is_time": True}
            names.append(f"j{len(self.names) + len(names)}")
            jobs.append(NewJob(body=names[-1].encode(), **spec))
        self.names += names
        expected = caught(lambda: self.model.append(self.time.now, names, jobs, limit))
        answers = []
        for side in self.sides:
            answer = caught(lambda side=side: side.store.append(self.queue, jobs, max_length=limit))  # type: ignore[misc]
            answers.append(answer)
            if isinstance(answer, list):
                for name, each in zip(names, answer, strict=True):
                    side.names.setdefault(each.id, name)
            side.ids = {name: id_ for id_, name in side.names.items()}
        self.agree(expected, answers)

    # -- working -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.others())
    @rule(
        owner=st.sampled_from(OWNERS),
        lanes=st.sampled_from([1, 2, 4]),
        window=st.integers(1, 4),
        lease=st.sampled_from(LEASES),
    )
    def claim(self, owner: Owner, lanes: int, window: int, lease: float) -> None:
        """What is ready."""
        self.claim_lanes(owner, lanes, window, lease)

    @precondition(lambda self: self.model.left())
    @rule(
        owner=st.sampled_from(OWNERS),
        lanes=st.sampled_from([0, 0, 1, 2, 4]),
        window=st.integers(1, 4),
        lease=st.sampled_from(LEASES),
    )
    def look_for_work(self, owner: Owner, lanes: int, window: int, lease: float) -> None:
        """Whoever asks, alive or thought dead; when the next look is due is told, too."""
        self.claim_lanes(owner, lanes, window, lease)

    def claim_lanes(self, owner: Owner, lanes: int, window: int, lease: float) -> None:
        """Ask all sides, and believe the answer."""
        expected = self.model.claim(self.time.now, owner, lanes, window, micros(lease))
        answers = []
        for side in self.sides:
            found = side.store.claim(owner, [self.queue], lanes=lanes, window=window, lease_seconds=lease)
            answers.append(side.changes.granted(found))
        self.agree(self.changes.granted(expected), answers)
        for grant in expected.grants:
            self.holds.insert(0, Hold(owner, grant.lease, list(grant.jobs)))
        del self.holds[8:]

    def living(self) -> list[Hold]:
        """What is held indeed."""
        return [hold for hold in self.holds if self.model.held(hold.owner, hold.lease)]

    @precondition(lambda self: self.living())
    @rule(pick=picks, how=endings)
    def settle(self, pick: int, how: Ending) -> None:
        """As a worker does."""
        living = self.living()
        hold = living[pick % len(living)]
        self.carry_out(hold.owner, [(hold, how.settlement(hold))])

    @precondition(lambda self: self.living())
    @rule(pick=picks, named=st.booleans())
    def succeed(self, pick: int, *, named: bool) -> None:
        """As most often."""
        living = self.living()
        hold = living[pick % len(living)]
        how = Ending(Action.ACK, Leaving.STAY, named, 0, 3, ran=True, wait=0.0)
        self.carry_out(hold.owner, [(hold, how.settlement(hold))])

    @precondition(lambda self: self.holds)
    @rule(pick=picks, how=endings)
    def settle_whatever(self, pick: int, how: Ending) -> None:
        """All that a worker believes it holds, and does not know yet that it lost."""
        first = self.holds[pick % len(self.holds)]
        chosen = {first.lease.lane: first}
        mine = [hold for hold in self.holds if hold.owner == first.owner]
        chosen = {hold.lease.lane: hold for hold in mine} | chosen
        self.carry_out(first.owner, [(hold, how.settlement(hold)) for hold in chosen.values()])

    @precondition(lambda self: self.holds and not self.holds[0].kept)
    @rule(how=endings)
    def settle_another(self, how: Ending) -> None:
        """A job that is not the head: all refuse it, unless the lane is lost anyway."""
        hold = self.holds[0]
        if len(hold.jobs) > 1:
            what = msgspec.structs.replace(how.settlement(hold), job_id=hold.jobs[1].id, next_id=None)
            self.ask(
                lambda: [told(each) for each in self.model.settle(self.time.now, hold.owner, [what])],
                lambda side: [told(each) for each in side.store.settle(hold.owner, [side.identified(what)])],
            )

    @precondition(lambda self: self.last)
    @rule()
    def settle_again(self) -> None:
        """As after a lost answer."""
        if self.last and self.last[0][0] in self.holds:
            self.carry_out(self.last[0][0].owner, self.last)

    def carry_out(self, owner: Owner, asked: Sequence[tuple[Hold, Settlement]]) -> None:
        """Settle on all sides, and believe the answer."""
        self.last = list(asked)
        whats = [what for _, what in asked]
        again = [(owner, what) in self.done for what in whats]
        moved = self.changes.sent(whats)
        expected = caught(lambda: self.model.settle(self.time.now, owner, moved))
        answers = []
        for side in self.sides:
            sent = side.changes.sent([side.identified(what) for what in whats])
            answer = caught(lambda side=side, sent=sent: side.store.settle(owner, sent))  # type: ignore[misc]
            answers.append(side.changes.told(whats, answer, again))
        believed = expected
        self.agree(self.changes.told(whats, expected, again), answers)
        if not isinstance(believed, list):
            return
        for (hold, what), answer in zip(asked, believed, strict=True):
            if answer.status is not SettleStatus.FENCED:
                self.done.append((owner, what))
                hold.kept = what.leaving is Leaving.KEEP
                if answer.jobs:
                    hold.jobs = list(answer.jobs)
                elif answer.held and not hold.kept and hold.jobs[0].id == what.job_id:
                    del hold.jobs[0]

    @precondition(lambda self: self.living())
    @rule(
        owner=st.sampled_from(OWNERS),
        lease=st.sampled_from(LEASES),
    )
    def renew(self, owner: Owner, lease: float) -> None:
        """Everything an owner believes it holds."""
        leases = [hold.lease for hold in self.holds if hold.owner == owner]
        if not leases:
            return  # a call about no lease reaches no queue
        self.ask(
            lambda: self.model.renew(self.time.now, owner, leases, micros(lease)),
            lambda side: side.store.renew(owner, leases, lease_seconds=lease),
        )

    @precondition(lambda self: self.holds)
    @rule(pick=picks, count=st.integers(1, 3), front=st.booleans())
    def release(self, pick: int, count: int, *, front: bool) -> None:
        """Some of what an owner believes it holds."""
        owner = self.holds[pick % len(self.holds)].owner
        leases = [hold.lease for hold in self.holds if hold.owner == owner][:count]
        self.ask(
            lambda: self.model.release(self.time.now, owner, leases, front=front),
            lambda side: side.store.release(owner, leases, front=front),
        )

    # -- time and restarts -------------------------------------------------------------------------------

    @precondition(lambda self: self.model.left())
    @rule(seconds=st.sampled_from(STEPS_BACK))
    def clock_is_set_back(self, seconds: float) -> None:
        """A little, or a lot."""
        self.time.now += micros(seconds)
        self.compare_dumps()

    @precondition(lambda self: self.model.left())
    @rule(seconds=st.sampled_from(STEPS_FORWARD))
    def time_passes(self, seconds: float) -> None:
        """Or the clock is set: a store cannot tell one from the other."""
        self.time.now += micros(seconds)
        self.compare_dumps()

    @precondition(lambda self: self.model.in_state(HELD, WAITING))
    @rule(seconds=st.sampled_from([6.0, 15.5, 31.0]))
    def somebody_looks_on(self, seconds: float) -> None:
        """Time passes and the store sees it pass, so that leases and waits come to their ends."""
        ends = self.time.now + micros(seconds)
        while self.time.now < ends:
            self.time.now = min(ends, self.time.now + micros(5))
            self.claim_lanes(PASSER_BY, 0, 1, 15.0)

    @precondition(lambda self: self.model.left())
    @rule(really=st.sampled_from([False, True]))
    def restart(self, *, really: bool) -> None:
        """Nothing is lost but handles and cached scripts."""
        if not really:
            return
        for side in self.sides:
            side.reopen()
        self.compare_dumps()

    # -- people ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.names)
    @rule(pick=st.integers(0, 200), cancel=st.booleans())
    def one_job(self, pick: int, *, cancel: bool) -> None:
        """Look up or cancel any job there ever was."""
        name = self.names[-1 - pick % len(self.names)]
        self.ask(
            lambda: self.model.cancel(self.time.now, name) if cancel else picture.find(self.model, name),
            lambda side: (side.store.cancel if cancel else side.store.get)(
                side.ids.get(name, f"{self.queue}/nobody:1")
            ),
        )

    @precondition(lambda self: self.living())
    @rule(pick=picks)
    def cancel_what_runs(self, pick: int) -> None:
        """It is asked, and whoever runs it next is told."""
        name = self.living()[pick % len(self.living())].jobs[0].id
        self.ask(
            lambda: self.model.cancel(self.time.now, name), lambda side: side.store.cancel(side.ids[name])
        )

    @precondition(lambda self: self.model.left())
    @rule(scope=st.sampled_from([*LANES, *LANES, None]), resume=st.sampled_from([True, True, False]))
    def pause_or_resume(self, scope: str | None, *, resume: bool) -> None:
        """The queue, or a lane, also one without jobs; paused or not."""
        verb = "resume" if resume else "pause"
        self.ask(
            lambda: getattr(self.model, verb)(self.time.now, scope),
            lambda side: getattr(side.store, verb)(self.queue, scope),
        )

    @precondition(lambda self: self.model.in_state(HALTED))
    @rule(lane=st.sampled_from(LANES), skip=st.booleans())
    def decide_about_a_head(self, lane: str, *, skip: bool) -> None:
        """Halted, or another lane."""
        verb = "skip_lane" if skip else "retry_lane"
        self.ask(
            lambda: getattr(self.model, verb)(self.time.now, lane),
            lambda side: getattr(side.store, verb)(self.queue, lane),
        )

    @precondition(lambda self: self.model.dead)
    @rule(letters=st.lists(st.integers(0, 200), min_size=1, max_size=3), front=st.booleans())
    def replay(self, letters: list[int], *, front: bool) -> None:
        """Dead letters, in whatever order they are named."""
        dead = list(self.model.dead)
        names = [dead[letter % len(dead)] for letter in letters]
        self.ask(
            lambda: self.model.replay(self.time.now, names, front=front),
            lambda side: side.store.replay(self.queue, [side.ids[name] for name in names], front=front),
        )

    @precondition(lambda self: self.model.left())
    @rule(dead=st.booleans(), really=st.sampled_from([False, False, False, True]))
    def purge(self, *, dead: bool, really: bool) -> None:
        """Rarely: what is empty finds no defects."""
        if really:
            self.ask(
                lambda: self.model.purge(self.time.now, dead=dead),
                lambda side: side.store.purge(self.queue, dead=dead),
            )


def test_both_stores_mean_what_the_model_means(server: str, share: int, tmp_path: Path) -> None:
    """Whatever is called in whatever order, at whatever time."""
    chosen = int(os.environ.get("GLASSQ_TEST_SEED", "0")) or random.randrange(1, 1 << 32)
    targets = [f"sqlite:///{tmp_path}/jobs.db", server]
    examples = share * settings().max_examples
    before = Machine.count
    try:
        run_state_machine_as_test(
            seed(chosen)(lambda: Machine(targets)),  # type: ignore[arg-type]
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                derandomize=False,
                database=None,  # what failed is repeated by its seed, here and anywhere
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as error:
        error.add_note(f"again: GLASSQ_TEST_SEED={chosen}, with as many examples ({examples})")
        raise
    assert Machine.count - before >= examples
