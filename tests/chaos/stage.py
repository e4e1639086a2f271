"""One store, one history, and the processes started on them: what every chaos test plays on."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from glassq.model.stats import QueueStats
from glassq.stores.open import open_storage
from glassq.stores.sharded import ShardedQueues
from glassq.testing.history import History, Report, check, dump, read
from tests.chaos import verdict
from tests.chaos.events import Event, Tail
from tests.chaos.figures import Figures
from tests.chaos.processes import Nest, Process
from tests.chaos.sizes import Sizes
from tests.chaos.verdict import QUEUE
from tests.processes import wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = "tests.chaos.program"


class Stage:
    """Starts and kills processes, waits for what their histories tell, and judges the whole at the end."""

    def __init__(
        self,
        folder: Path,
        url: str,
        sizes: Sizes,
        figures: Figures,
        *,
        lease: float = 1.0,
        **environment: str,
    ) -> None:
        self.folder = folder
        self.history = folder / "history"
        self.url = url
        self.program = PROGRAM
        """Whose roles its processes play, unless another one is named."""
        self.sizes = sizes
        self.figures = figures
        self.lease = lease
        notes = folder / "notes"
        for each in (self.history, notes):
            each.mkdir(mode=0o700, parents=True)
        self.environment = {
            **os.environ,
            "GLASSQ_URL": url,
            "CHAOS_HISTORY": str(self.history),
            "CHAOS_NOTES": str(notes),
            "CHAOS_LEASE": str(lease),
            "CHAOS_SEED": str(sizes.seed),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            **environment,
        }
        self.processes: list[Process] = []
        self.complaints_expected = False
        """Whether its processes may log errors with their tracebacks."""
        self._tail = Tail(self.history, notes)
        self._nest = Nest(self.output, self.environment)

    @property
    def store(self) -> str:
        """`redis` or `sqlite`."""
        return "sqlite" if self.url.startswith("sqlite") else "redis"

    @property
    def output(self) -> Path:
        """What the processes wrote to their standard error."""
        return self.folder / "output.log"

    # -- processes -----------------------------------------------------------------------------------------

    def start(self, role: str, *arguments: str, module: str | None = None, **environment: str) -> Process:
        """A process in a role of a program: a module with `main(arguments)`, with more environment.

        One with a point to end at is meant to end there, any other one with status 0.
        """
        pid = self._nest.start(module or self.program, [role, *arguments], environment)
        point = environment.get("GLASSQ_CRASH_AT", "hold@")
        endings = [0] if point.startswith("hold@") else [-signal.SIGKILL]
        process = Process(self._nest, pid, role, self.url, endings)
        self.processes.append(process)
        return process

    def worker(self, concurrency: int = 4, **environment: str) -> Process:
        """A worker process. Its jobs may be waited for; it may not be up yet."""
        return self.start("work", str(concurrency), **environment)

    def producer(self, name: str, count: int = 0, keys: int = 7, **environment: str) -> Process:
        """A producer of `count` calls (0: until it is told to end) over `keys` keys and the default lane."""
        return self.start("produce", name, str(count), str(keys), **environment)

    def alive(self, role: str) -> list[Process]:
        """The running processes of a role that are not stopped."""
        return [each for each in self.processes if each.role == role and each.running and not each.stopped]

    # -- what they tell --------------------------------------------------------------------------------------

    def events(self, *kinds: str) -> list[Event]:
        """The events of these kinds so far (none given: all), those of the program's notes, too."""
        self._tail.look()
        return self._tail.of(kinds)

    def wait_for(self, condition: Callable[[], object], what: str, timeout: float = 60) -> None:
        """Wait for what processes do; fails loudly with the last events and what they said."""
        wait_until(condition, what, self._evidence, timeout)

    def wait_for_more(self, kind: str, number: int = 1, timeout: float = 60) -> None:
        """Wait until so many further events of a kind have come."""
        before = len(self.events(kind))
        self.wait_for(lambda: len(self.events(kind)) >= before + number, f"{number} more {kind}", timeout)

    def _evidence(self) -> str:
        last = [{key: event[key] for key in ("e", "pid", "m")} for event in self.events()[-8:]]
        said = self.output.read_text()[-3000:]
        return (
            f"alive: {[each for each in self.processes if each.running]}; last events: {last}; said:\n{said}"
        )

    # -- the end ---------------------------------------------------------------------------------------------

    def check_history(
        self, timeout: float = 90, *, notes: Collection[str] = (), **expectations: Any
    ) -> Report:
        """Let everything that is left run, and check the history; fails with what was found.

        Stopped processes go on, producers and workers end in peace (one that fails is a failure), and a fresh
        worker drains the store. `expectations` go to the checker, `notes` are what it may say about what it
        could not check.
        """
        report = self.judge(timeout, notes=notes, **expectations)
        assert not report.findings, self.describe(report)
        return report

    def judge(self, timeout: float = 90, *, notes: Collection[str] = (), **expectations: Any) -> Report:
        """What `check_history` does, with the findings as its answer."""
        self.retire(timeout)
        drain = self.start("drain", str(timeout))
        assert drain.wait(timeout + 30) == 0, f"the store was not drained in {timeout} s; {self._evidence()}"
        self.dump()
        report = check(self.read(), **expectations)
        self.figures.add(report.figures)
        verdict.assert_told_enough(report, notes)
        self._judge_processes()
        self._judge_store()
        return report

    def retire(self, timeout: float = 60) -> None:
        """End what still runs as it should be ended: producers first, so that workers make room for them."""
        for process in self.processes:
            if process.stopped:
                process.go_on()
        for role in ("steer", "feed", "produce", "work"):
            ending = [each for each in self.processes if each.role == role and each.running]
            up = {event["pid"] for event in self.events("up")}
            for process in ending:
                if process.pid not in up:  # it may not hear signals yet, and end by this one
                    process.endings.add(-signal.SIGTERM)
                process.signal(signal.SIGTERM)
            for process in ending:
                process.wait(timeout)
            done = {event["pid"] for event in self.events("done")}
            for process in ending:
                if process.pid in done:  # an interpreter that shuts down has no handlers of signals any more
                    process.endings.add(-signal.SIGTERM)

    def _judge_processes(self) -> None:
        said = self.output.read_text()
        verdict.assert_ended_as_meant(self.processes, said)
        if not self.complaints_expected:
            verdict.assert_no_complaints(said)

    def _judge_store(self) -> None:
        killed = sum(-signal.SIGKILL in process.endings for process in self.processes)
        with closing(ShardedQueues(open_storage(self.url))) as storage:
            verdict.assert_nothing_left(storage)
            verdict.assert_doomed_alone_died(storage, self.events("lease.taken"), killed)

    def dump(self) -> None:
        """Put the final state of the store into the history."""
        with closing(open_storage(self.url)) as storage:
            dump(storage, self.history)

    def stats(self) -> QueueStats:
        """Where the queue stands."""
        with closing(ShardedQueues(open_storage(self.url))) as storage:
            return storage.stats([QUEUE])[0]

    def read(self) -> History:
        """The whole history."""
        return read([self.history])

    def describe(self, report: Report) -> str:
        """The findings, for a failing test."""
        shown = "\n".join(str(finding) for finding in report.findings[:10])
        return f"{len(report.findings)} findings, first ones:\n{shown}\n{report.figures}"

    def close(self) -> None:
        """Nothing outlives a stage."""
        self._nest.close()

    def clear(self) -> None:
        """Take away what was recorded."""
        shutil.rmtree(self.folder)
