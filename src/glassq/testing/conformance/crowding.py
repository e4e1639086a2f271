"""What holds when many threads and handles use one store at the same time."""

# ruff: noqa: S101 - asserts are the trade of a test

from __future__ import annotations

import threading
from collections.abc import Callable

from glassq.model.jobs import NewJob, StoredJob
from glassq.model.leases import Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.storage import Storage
from glassq.testing.conformance.scenario import LEASE, QUEUE, Scenario

PRODUCERS = 4
WORKERS = 3
CALLS = 15
LANES = ("x", "y", "z")


class Crowding(Scenario):
    """Sequences, order and exclusion under concurrency."""

    def test_concurrent_appends_leave_no_gap(self) -> None:
        """O1: over handles and threads every number is given once, and each producer's own are ascending."""
        by_producer: dict[int, list[int]] = {}
        shared = self.store
        handles = [shared, shared, self.another_handle(), self.another_handle()]

        def produce(number: int) -> None:
            seqs: list[int] = []
            for call in range(CALLS):
                jobs = [NewJob(body=b"", lane=LANES[(number + call) % 3]) for _ in range(1 + call % 3)]
                answers = [answer.seq for answer in handles[number].append(QUEUE, jobs)]
                seqs += [seq for seq in answers if seq is not None]
                assert answers == list(range(seqs[-1] - len(jobs) + 1, seqs[-1] + 1)), (
                    "one call is contiguous"
                )
            by_producer[number] = seqs

        together([lambda number=number: produce(number) for number in range(PRODUCERS)])  # type: ignore[misc]
        given = [seq for seqs in by_producer.values() for seq in seqs]
        assert sorted(given) == list(range(1, len(given) + 1))
        assert all(seqs == sorted(seqs) for seqs in by_producer.values())
        assert len(self.store.waiting(QUEUE, 1000)) == len(given)

    def test_concurrent_workers_share_lanes_and_never_jobs(self) -> None:
        """O2, O5: every job is settled once, in the order of its lane, and no lane has two holders."""
        total = 60
        for number in range(total):
            self.put(str(number), lane=LANES[number % 3])
        record = _Record()
        together(
            [
                _Worker(self.another_handle(), Owner(f"worker-{number}", "first"), record, total).run
                for number in range(WORKERS)
            ]
        )
        assert record.trespasses == []
        assert sum(map(len, record.settled.values())) == total
        for seqs in record.settled.values():
            assert seqs == sorted(set(seqs))
        assert self.stats().depth == 0


class _Record:
    """What the workers of one test did, lane by lane."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders: dict[str, Owner] = {}
        self.settled: dict[str, list[int]] = {}
        self.trespasses: list[str] = []

    def enter(self, lane: str, owner: Owner) -> None:
        with self.lock:
            if lane in self.holders:
                self.trespasses.append(f"{owner} got {lane} while {self.holders[lane]} held it")
            self.holders[lane] = owner

    def leave(self, lane: str) -> None:
        with self.lock:
            del self.holders[lane]

    def note(self, lane: str, job: StoredJob) -> None:
        with self.lock:
            self.settled.setdefault(lane, []).append(job.seq)

    def count(self) -> int:
        with self.lock:
            return sum(map(len, self.settled.values()))


class _Worker:
    """Claims a lane, settles two of its jobs, gives it back, until all is done."""

    def __init__(self, store: Storage, owner: Owner, record: _Record, total: int) -> None:
        self._store = store
        self._owner = owner
        self._record = record
        self._total = total

    def run(self) -> None:
        bell = self._store.listen(self._owner, [QUEUE])
        try:
            while self._record.count() < self._total:
                granted = self._store.claim(
                    self._owner, [QUEUE], lanes=1, window=2, lease_seconds=LEASE
                ).grants
                if not granted:
                    bell.wait(0.05)
                    continue
                lease, jobs = granted[0].lease, granted[0].jobs
                self._record.enter(lease.lane, self._owner)
                for job in jobs:
                    settlement = Settlement(lease=lease, job_id=job.id, action=Action.ACK)
                    self._record.note(lease.lane, job)
                    [answer] = self._store.settle(self._owner, [settlement])
                    assert answer.status is SettleStatus.DONE
                # Left before it is released: whoever gets it next enters after that.
                self._record.leave(lease.lane)
                self._store.release(self._owner, [lease])
        finally:
            bell.close()


def together(runs: list[Callable[[], None]]) -> None:
    """Run these at the same time; what one of them raised is raised here."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(runs))

    def guarded(run: Callable[[], None]) -> None:
        try:
            barrier.wait(10)
            run()
        except BaseException as failure:  # licensed: thread top, raised again below
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if failures:
        raise failures[0]
