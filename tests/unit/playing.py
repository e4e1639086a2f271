"""Plays of several processes on one store, with clocks that are moved by hand, and the history they leave.

The store is a real one and what is asked of it is written down by the real recorder; processes, their workers
and their deaths are played. So every play is a valid execution by construction.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from glassq.model.events import DataLossDetected
from glassq.model.jobs import Dedup, NewJob, StoredJob
from glassq.model.leases import Grant, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.observe.history import FORMAT
from glassq.storage import Choice, Storage, Terms
from glassq.stores.open import open_storage
from glassq.stores.recorded import RecordedStorage
from glassq.stores.sqlite.store import SqliteStorage
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.testing.history.dumping import write_dump

QUEUE = "q"
LEASE = 15.0
Line = dict[str, Any]


class Tape:
    """What one process wrote down."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.name = f"{100 + len(play.tapes)}-tape"
        self.lines: list[Line] = []
        self._calls = 0
        play.tapes.append(self)
        self.write("begin", v=FORMAT, pid=100 + len(play.tapes), host="h/1")

    def now(self) -> float:
        """A moment later than every moment before."""
        return self._play.tick()

    def call(self) -> str:
        """An id for one call."""
        self._calls += 1
        return f"{self.name}-{self._calls}"

    def write(self, event: str, **fields: Any) -> None:
        """Append a line, as it looks after it was read."""
        line = {"e": event, "t": 0.0, "m": self.now(), "p": self.name, **fields}
        self.lines.append(json.loads(json.dumps(line)))


class Process:
    """A producer and a worker with one lane, and what it wrote down. `node` is the stable name of an instance
    that was started again."""

    def __init__(self, play: Play, node: str = "") -> None:
        self.play = play
        self.tape = Tape(play)
        bus = Bus()
        bus.subscribe(
            lambda event: self.tape.write("loss", **msgspec.structs.asdict(event)), DataLossDetected
        )
        self.store = RecordedStorage(play.handle(), bus, self.tape)
        self.owner = Owner(node or f"node{len(play.tapes)}", f"life{len(play.tapes)}")
        self.store.listen(self.owner, [QUEUE])
        self.grant: Grant | None = None
        self.jobs: deque[StoredJob] = deque()
        self.deadline = 0.0
        self.attempts = 0
        self.kept: Settlement | None = None
        self.choice: Choice | None = None
        """Which lanes it wants, if it has keys assigned."""

    def enqueue(
        self,
        count: int = 1,
        *,
        lane: str = "a",
        level: int = 3,
        dedup: str | None = None,
        due: float | None = None,
    ) -> None:
        """Append some jobs. Ids tell processes apart, though all share one store."""
        if isinstance(self.play.inner, SqliteStorage):
            self.play.inner._producer = f"{self.tape.name.partition('-')[0]}x{self.play.losses}"
        unique = Dedup(dedup, 60.0) if dedup else None
        job = NewJob(body=b"job", lane=lane, level=level, dedup=unique, due=due)
        self.store.append(QUEUE, [job] * count)

    def claim(self) -> bool:
        """Take a lane, unless one is held."""
        if self.grant is None:
            self.deadline = self.play.clock.monotonic() + LEASE
            terms = {QUEUE: Terms(choice=self.choice)}
            claimed = self.store.claim(
                self.owner, [QUEUE], lanes=1, window=3, lease_seconds=LEASE, terms=terms
            )
            if self.choice is not None:
                self.choice = msgspec.structs.replace(self.choice, after=claimed.looked)
            for grant in claimed.grants:
                self.grant, self.jobs, self.attempts = grant, deque(grant.jobs), grant.attempts
        return self.grant is not None

    def start(self) -> bool:
        """Begin the lane's next job, as long as the lease lasts."""
        if not self.claim() or self.play.clock.monotonic() >= self.deadline:
            self.grant = None
            return False
        job = self.jobs[0]
        self.tape.write(
            "start", **self._lane(), **self._job(), seq=job.seq, level=job.level, replayed=job.replayed
        )
        return True

    def end(self) -> None:
        """User code returns."""
        self.tape.write("end", **self._lane(), **self._job(), outcome="returned")

    def settle(self, action: Action = Action.ACK, leaving: Leaving = Leaving.STAY) -> None:
        """Tell the store about the job that ended, and go on with what it says. `KEEP`: a callback comes
        before that."""
        assert self.grant is not None
        job = self.jobs.popleft()
        settlement = Settlement(
            lease=self.grant.lease,
            job_id=job.id,
            action=action,
            reason="because",
            error=b"error" if action is not Action.ACK else b"",
            leaving=leaving,
            next_id=self.jobs[0].id if self.jobs else None,
            change=self.grant.change,
            window=3,
        )
        answer = self.store.settle(self.owner, [settlement])[0]
        self.kept = settlement if answer.held and leaving is Leaving.KEEP else None
        if self.kept is None:
            self._go_on(answer)

    def move_on(self) -> None:
        """The callback is over."""
        assert self.kept is not None
        settlement = msgspec.structs.replace(self.kept, leaving=Leaving.STAY)
        self.kept = None
        self._go_on(self.store.settle(self.owner, [settlement])[0])

    def _go_on(self, answer: Settled) -> None:
        assert self.grant is not None
        if answer.status is SettleStatus.FENCED or not answer.held:
            self.grant = None
            return
        self.attempts = 0
        if answer.jobs or answer.change != self.grant.change:
            self.jobs = deque(answer.jobs)
        if not self.jobs:
            self.grant = None

    def work(self, action: Action = Action.ACK) -> bool:
        """One job from its start to its settlement."""
        if not self.start():
            return False
        self.end()
        self.settle(action)
        return True

    def drain(self) -> None:
        """Everything that can run."""
        while self.work():
            pass

    def forget_answer(self) -> None:
        """Die between the store's answer and the line about it."""
        self.tape.lines.pop()

    def _lane(self) -> dict[str, Any]:
        assert self.grant is not None
        lease = self.grant.lease
        return {"queue": lease.queue, "lane": lease.lane, "token": lease.token}

    def _job(self) -> dict[str, Any]:
        return {"id": self.jobs[0].id, "attempt": self.attempts + 1}


class Play:
    """A store, its clock, and the processes on it. Of a server (`url`) each has a handle of its own."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self._url = url
        self._handles: list[Storage] = []
        self.inner = open_storage(url or f"sqlite:///{folder}/play.db", clock=self.clock)
        self.tapes: list[Tape] = []
        self.losses = 0
        self._ticks = 0

    def handle(self) -> Storage:
        """What a new process opens."""
        if self._url is None:
            return self.inner
        self._handles.append(open_storage(self._url, clock=self.clock))
        return self._handles[-1]

    def tick(self) -> float:
        """The next moment."""
        self._ticks += 1
        return round(self.clock.monotonic() + self._ticks * 1e-5, 7)

    def pass_time(self, seconds: float) -> None:
        """Let time pass while somebody looks at the store now and then: it does not pass for an outage."""
        watcher = Owner("watcher", "life")
        while seconds > 0:
            step = min(seconds, LEASE / 3)
            self.clock.advance(step)
            seconds -= step
            self.inner.claim(watcher, [QUEUE], lanes=0, window=1, lease_seconds=LEASE)

    def lose_everything(self, processes: list[Process]) -> None:
        """Another, empty store stands where the old one was."""
        self.inner.close()
        self.losses += 1
        self.clock.advance(1.0)  # tokens grow with the time, also in a store that knows none
        self.inner = open_storage(f"sqlite:///{self.folder}/play{self.losses}.db", clock=self.clock)
        for process in processes:
            process.store._inner = self.inner
            process.store.listen(process.owner, [QUEUE])

    def dump(self) -> list[Line]:
        """The final state of the store, and all lines."""
        write_dump(self.inner, Tape(self).write)
        for handle in (self.inner, *self._handles):
            handle.close()
        return [line for tape in self.tapes for line in tape.lines]


def write_history(lines: list[Line], folder: Path) -> Path:
    """The files of a history, one a process."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.jsonl"):
        old.unlink()
    for line in lines:
        with (folder / f"{line['p']}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
    return folder


def lines_of(lines: list[Line], event: str, where: Callable[[Line], bool] = lambda _: True) -> list[Line]:
    """The lines of one event."""
    return [line for line in lines if line["e"] == event and where(line)]
