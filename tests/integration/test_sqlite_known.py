"""What the SQLite store remembers between transactions changes no answer and no row."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from glassq.errors import GlassqError
from glassq.model.edges import After, EdgePolicy
from glassq.model.jobs import Dedup, NewJob
from glassq.model.leases import Grant, Lease, Leaving, Owner, Settled, Settlement
from glassq.model.verdicts import Action
from glassq.stores.sqlite.course import SqliteCourse
from glassq.stores.sqlite.location import Location
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.clock import FakeClock

QUEUE = "q"
FLOW = "~q/0123456789abcdef"
LANES = ("a", "b", "c")
OWNERS = (Owner("n", "one"), Owner("m", "two"))
ACTIONS = (*[Action.ACK] * 30, Action.RETRY, Action.HALT, Action.BURY, Action.CANCEL)
STEPS = 250
_TABLES = (
    "queues",
    "jobs",
    "scheduled",
    "ties",
    "edges",
    "flows",
    "dedup",
    "paused",
    "lanes",
    "dead",
)


class World:
    """One file with two handles on it, as two processes have them; the second time, they forget."""

    def __init__(self, path: Path, *, forgetful: bool) -> None:
        self.clock = FakeClock()
        self.handles = [SqliteStorage(Location(path=path), clock=self.clock) for _ in OWNERS]
        self._forgetful = forgetful
        for number, handle in enumerate(self.handles):
            handle._producer = f"p{number}"
        self.handles[0].append(QUEUE, [NewJob(body=b"first", lane="a")])
        self.handles[0].open_flow(FLOW, name="f", total=40, body=b"", keep_seconds=60.0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE queues SET incarnation = 'life'")
        self._look = sqlite3.connect(path, isolation_level=None)

    def call(self, number: int, verb: Callable[[SqliteStorage], Any]) -> Any:
        """The answer of a handle, or what it raises."""
        if self._forgetful:
            self.handles[number]._known.version = None
        try:
            return verb(self.handles[number])
        except GlassqError as error:
            return f"{type(error).__name__}: {error}"

    def dump(self) -> dict[str, list[Any]]:
        """Every row there is."""
        return {table: self._look.execute(f"SELECT * FROM {table}").fetchall() for table in _TABLES}

    def close(self) -> None:
        """End the handles."""
        self._look.close()
        for handle in self.handles:
            handle.close()


class Worker:
    """What a worker knows of a lane it was granted."""

    def __init__(self, grant: Grant) -> None:
        self.lease: Lease = grant.lease
        self.jobs = list(grant.jobs)
        self.change = grant.change
        self.last: Settlement | None = None
        self.course: SqliteCourse | None = None
        self.course_like: tuple[int, bool] | None = None

    def take_in(self, answer: Settled) -> bool:
        """Follow what the store says; whether the lane is still held."""
        if self.jobs:
            self.jobs.pop(0)
        if answer.jobs:
            self.jobs, self.change = list(answer.jobs), answer.change
        return answer.held and bool(self.jobs)


class Script:
    """Calls by chance, made in both worlds: the answers must be the same."""

    def __init__(self, worlds: list[World], seed: int) -> None:
        self._worlds = worlds
        self.ties = seed % 2 == 0  # where there are any, there are no courses
        self._random = random.Random(seed)
        self._number = 0
        self._made: list[str] = []
        self._holds: list[dict[str, Worker]] = [{} for _ in OWNERS]
        self._others = False
        self.on_a_course = 0
        self.noted = 0

    def step(self) -> None:
        """Some calls, and the rows they leave."""
        verbs = (self._append, self._claim, self._settle, self._run_ahead, self._steer, self._wait)
        for _ in range(self._random.randrange(1, 6)):
            self._random.choices(verbs, weights=(30, 10, 30, 20, 8, 3))[0]()
        self._ask(
            self._somebody(), lambda store: store.stats([QUEUE])
        )  # a look ends legs with jobs that ended
        remembered, read = (world.dump() for world in self._worlds)
        assert remembered == read

    def _ask(self, number: int, verb: Callable[[SqliteStorage], Any]) -> Any:
        answers = [world.call(number, verb) for world in self._worlds]
        assert answers[0] == answers[1]
        return answers[0]

    def _somebody(self) -> int:
        """Which handle: mostly the same, which knows more the longer it is alone."""
        if self._random.random() < 0.1:
            self._number = 1 - self._number
        return self._number

    def _append(self) -> None:
        chance, number = self._random, self._somebody()
        jobs = [
            NewJob(
                body=b"job",
                lane=chance.choice(LANES),
                level=chance.choice((3, 3, 3, 3, 2, 2, 4)),
                due=None if after else chance.choice((None,) * 9 + (3.0,)),
                dedup=chance.choice((None,) * 6 + (Dedup("d"), Dedup("e", 5.0))),
                after=after,
                flow=chance.choice((None, None, None, FLOW)) if self.ties else None,
            )
            for after in (self._after() for _ in range(chance.choice((1, 1, 1, 2, 3))))
        ]
        most = chance.choice((None, None, 40))
        answers = self._ask(number, lambda store: store.append(QUEUE, jobs, max_length=most))
        if isinstance(answers, list):
            self._made += [answer.id for answer in answers]

    def _after(self) -> tuple[After, ...]:
        """One of the last jobs, sometimes: it is likely to be there yet."""
        if not (self.ties and self._made) or self._random.random() < 0.9:
            return ()
        return (After(self._random.choice(self._made[-8:]), self._random.choice(list(EdgePolicy))),)

    def _claim(self) -> None:
        number = self._somebody()
        lanes, window = self._random.randint(1, 3), self._random.randint(1, 12)
        claimed = self._ask(
            number,
            lambda store: store.claim(OWNERS[number], [QUEUE], lanes=lanes, window=window, lease_seconds=15),
        )
        self._holds[number].update((grant.lease.lane, Worker(grant)) for grant in claimed.grants)

    def _settle(self) -> None:
        number = self._somebody()
        workers = list(self._holds[number].values())
        self._random.shuffle(workers)
        chosen = workers[: self._random.choice((1, 1, 1, 3))]
        if not chosen:
            return
        self._settle_those(number, [(worker, self._settlement(worker)) for worker in chosen])

    def _run_ahead(self) -> None:
        """Jobs of one lane, one after the other; appends come between them."""
        number = self._somebody()
        worker = self._random.choice([*self._holds[number].values(), None])
        while worker is not None and len(worker.jobs) > 1 and self._random.random() < 0.9:
            what = Settlement(
                lease=worker.lease,
                job_id=worker.jobs[0].id,
                action=Action.ACK,
                next_id=worker.jobs[1].id,
                change=worker.change,
                window=20,
            )
            if not self._settle_those(number, [(worker, what)]):
                break
            if self._random.random() < 0.2:
                self._append()

    def _settle_those(self, number: int, pairs: list[tuple[Worker, Settlement]]) -> bool:
        """Settle jobs of lanes; whether the last one is held yet."""
        answers = self._ask(number, lambda store: self._tell(store, OWNERS[number], pairs))
        if isinstance(answers, str):
            return False
        self._others = answers[-1].others
        held = True
        for (worker, what), answer in zip(pairs, answers, strict=True):
            again = what is worker.last
            worker.last = what
            if not again and what.leaving is not Leaving.KEEP:
                held = worker.take_in(answer)
                if not held:
                    self._holds[number].pop(worker.lease.lane, None)
        return held

    def _tell(
        self, store: SqliteStorage, owner: Owner, pairs: list[tuple[Worker, Settlement]]
    ) -> list[Settled]:
        """Settle these; in the world that remembers on a course, where that can be."""
        worker, what = pairs[0]
        plain = what.action is Action.ACK and what.leaving is Leaving.STAY and len(pairs) == 1
        if store in self._worlds[0].handles and plain and what.next_id is not None:
            like = (what.change, self._others)
            if worker.course is None or worker.course_like != like:
                worker.course, worker.course_like = store.course(owner, what, others=self._others), like
            course, before = worker.course, store._known.legs.copy()
            heard = None if course is None else course.send(what.job_id, what.next_id)
            if course is not None and heard:
                self.on_a_course += heard
                self.noted += bool(before) and before == store._known.legs
                return course.answers()
            worker.course = None
        return store.settle(owner, [what for _, what in pairs])

    def _settlement(self, worker: Worker) -> Settlement:
        chance = self._random
        if worker.last is not None and (worker.last.leaving is Leaving.KEEP or chance.random() < 0.05):
            return worker.last if chance.random() < 0.3 else self._moved_on(worker.last)
        return Settlement(
            lease=worker.lease,
            job_id=worker.jobs[0].id if chance.random() < 0.98 else "q/p0:9999",
            action=chance.choice(
                (Action.ACK,) * 30 + (Action.RETRY, Action.HALT, Action.BURY, Action.CANCEL)
            ),
            leaving=chance.choice((Leaving.STAY,) * 20 + (Leaving.KEEP, Leaving.YIELD, Leaving.RELEASE)),
            next_id=worker.jobs[1].id if len(worker.jobs) > 1 and chance.random() < 0.95 else None,
            change=worker.change,
            window=chance.randint(1, 6),
            result=chance.choice((None, b"left")),
            reason="why",
            wait=1.0,
        )

    def _moved_on(self, kept: Settlement) -> Settlement:
        """A settlement repeated after its callback."""
        return Settlement(
            lease=kept.lease, job_id=kept.job_id, action=kept.action, next_id=kept.next_id, change=kept.change
        )

    def _steer(self) -> None:
        chance, number = self._random, self._somebody()
        job = f"q/p{chance.randrange(2)}:{chance.randrange(1, 300)}"
        some = chance.choice((*LANES, None))
        leases = [worker.lease for worker in self._holds[number].values()]
        dead = [record.job.id for record in self._worlds[0].handles[0].dead(QUEUE, 2)]
        front = chance.random() < 0.5
        self._ask(
            number,
            chance.choice(
                (
                    lambda store: [store.resume(QUEUE), *(store.resume(QUEUE, each) for each in LANES)],
                    lambda store: [store.retry_lane(QUEUE, each) for each in LANES],
                    lambda store: [store.skip_lane(QUEUE, each) for each in LANES],
                    lambda store: store.cancel(job),
                    lambda store: store.pause(QUEUE, some),
                    lambda store: store.resume(QUEUE, some),
                    lambda store: store.replay(QUEUE, dead, front=front),
                    lambda store: store.renew(OWNERS[number], leases, lease_seconds=15),
                    lambda store: store.release(OWNERS[number], leases[:1]),
                    lambda store: store.report(OWNERS[number], [QUEUE]),
                    lambda store: store.get(job),
                    lambda store: store.stats([QUEUE]),
                    lambda store: store.purge(QUEUE, dead=some is None),
                )
            ),
        )

    def _wait(self) -> None:
        seconds = self._random.choice((0.5, 2.0, 16.0))
        for world in self._worlds:
            world.clock.advance(seconds)


@contextmanager
def _worlds(path: Path) -> Iterator[list[World]]:
    worlds = [World(path / f"{name}.db", forgetful=name == "read") for name in ("remembered", "read")]
    try:
        yield worlds
    finally:
        for world in worlds:
            world.close()


@pytest.mark.parametrize("seed", range(12))
def test_remembering_changes_nothing(tmp_path: Path, seed: int) -> None:
    """Two handles on one file, used in any order, answer and write as two that read everything each time, and
    that have no courses."""
    with _worlds(tmp_path) as worlds:
        script = Script(worlds, seed)
        for _ in range(STEPS):
            script.step()
        settled = worlds[0].handles[0].stats([QUEUE])[0].settled["succeeded"]
        assert settled > STEPS / 25
        assert script.ties or (script.on_a_course > STEPS / 10 and script.noted > STEPS / 50)
