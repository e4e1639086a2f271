"""Where tasks of an event loop leave what blocks: threads carry it to the store and bring the answers back.

What several leave for one queue goes in one append, so that many who await share a round trip and a
transaction; see docs/explanation/decisions/0015-awaited-calls-share-appends.md.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from glassq.errors import EnqueueUncertain, JobNotFound, QueueFull, StorageUnavailable
from glassq.forking import begin_in_children
from glassq.model.clock import Clock
from glassq.model.jobs import Appended, NewJob
from glassq.model.layouts import shard_of
from glassq.model.names import nth_id
from glassq.shielding import Log
from glassq.storage import MAX_APPEND_BYTES, MAX_APPEND_JOBS, ShardedStorage

log = Log("glassq")

R = TypeVar("R")

_MOST_COURIERS = 4
"""Threads at most. One serves a queue at a time; more let other queues go on while its append waits."""
_IDLE = 5.0
"""Seconds without work after which a thread ends."""
_LONG = 1.0
"""Seconds. When a store was waited for so long in vain, those that waited behind are told as well."""


class Letter(Generic[R]):
    """Something left here: what became of it is `answer`, or `error`, once it is `done`. Belongs to the loop
    it was left on, but for what `Mailbox` does with it before."""

    __slots__ = ("answer", "done", "ended", "error", "future", "left_at", "loop", "taken", "withdrawn")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.taken = self.withdrawn = self.ended = self.done = False
        self.left_at = 0.0
        self.answer: R | None = None
        self.error: BaseException | None = None

    def outcome(self) -> R:
        """The answer, or the error it ended with."""
        if self.error is not None:
            raise self.error
        return cast("R", self.answer)

    def end(self, answer: R) -> None:
        """It was done."""
        self.answer = answer
        self.ended = True

    def fail(self, error: BaseException) -> None:
        """It ended so. The error becomes this letter's own: others may have met the very same."""
        own = type(error).__new__(type(error))
        own.args = error.args
        own.__dict__.update(error.__dict__)
        own.__cause__ = error
        self.error = own
        self.ended = True


class Errand(Letter[R]):
    """Something to be done with the store by a thread that may wait for it."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[ShardedStorage], R]) -> None:
        super().__init__()
        self.work = work


class Posting(Letter[list[Appended]]):
    """Jobs to be appended to one shard of a queue: all or none."""

    __slots__ = ("jobs", "most", "queue", "replicas", "size")

    def __init__(self, queue: str, jobs: Sequence[NewJob], most: int | None, replicas: int) -> None:
        super().__init__()
        self.queue = queue
        self.jobs = jobs
        self.most = most
        self.replicas = replicas
        self.size = len(jobs[0].body) if len(jobs) == 1 else sum([len(job.body) for job in jobs])


class Mailbox:
    """Takes letters from any loop. A forked child has its own, empty."""

    def __init__(self, storage: Callable[[], ShardedStorage], clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: whoever left something, or carried it, is in the parent."""
        self._came = threading.Condition(threading.Lock())
        self._waiting: dict[str, deque[Letter[Any]]] = {}
        self._served: set[str] = set()
        self._couriers = self._idle = 0

    def leave(self, letter: Letter[Any]) -> None:
        """Have it carried. Letters for one queue are carried in the order in which they were left."""
        queue = letter.queue if isinstance(letter, Posting) else ""
        letter.left_at = self._clock.monotonic()
        with self._came:
            waiting = self._waiting.get(queue)
            if waiting is not None:
                waiting.append(letter)
                return
            self._waiting[queue] = deque((letter,))
            if queue not in self._served:
                try:
                    self._call_courier()
                except RuntimeError:  # the system gives no first thread: nobody would ever carry it
                    del self._waiting[queue]
                    raise

    async def errand(self, work: Callable[[ShardedStorage], R]) -> R:
        """Have something done with the store by a thread that may wait for it; what it returns, or raises."""
        errand = Errand(work)
        self.leave(errand)
        await errand.future
        return errand.outcome()

    def withdraw(self, letter: Letter[Any]) -> bool:
        """Take it out again; False when it is on its way, or there."""
        with self._came:
            letter.withdrawn = not letter.taken
            return letter.withdrawn

    def _call_courier(self) -> None:
        if self._idle:
            self._came.notify()
        elif self._couriers < _MOST_COURIERS:
            courier = threading.Thread(target=self._carry, name="glassq-courier", daemon=True)
            try:
                courier.start()
            except RuntimeError:
                if not self._couriers:
                    raise
            else:
                self._couriers += 1

    # -- the couriers --------------------------------------------------------------------------------------

    def _carry(self) -> None:
        """A thread's body: queue after queue, of each as much as one append takes, while there is any."""
        while (found := self._take()) is not None:
            queue, letters = found
            try:
                self._deliver(letters)
            finally:
                _bring_back(letters)
                with self._came:
                    self._served.discard(queue)  # what waits of it, this thread takes next, or calls for

    def _take(self) -> tuple[str, list[Letter[Any]]] | None:
        """The queue that waits longest and that nobody serves, with its first letters; None after a while."""
        with self._came:
            while (queue := self._next()) is None:
                self._idle += 1
                came = self._came.wait(_IDLE)
                self._idle -= 1
                if not came and self._next() is None:
                    self._couriers -= 1
                    return None
            self._served.add(queue)
            waiting = self._waiting.pop(queue)
            letters = _fitting(waiting)
            if waiting:
                self._waiting[queue] = waiting  # at the end: others come first
            if self._next() is not None:
                self._call_courier()
            return queue, letters

    def _next(self) -> str | None:
        return next((queue for queue in self._waiting if queue not in self._served), None)

    def _deliver(self, letters: Sequence[Letter[Any]]) -> None:
        """Do what the letters ask for; each has its answer or error then."""
        try:
            storage = self._storage()
            for each in letters:
                if isinstance(each, Errand):
                    _run(each, storage)
            postings = [each for each in letters if isinstance(each, Posting)]
            for chosen in _by_shard(storage, postings):
                self._append(storage, chosen)
        except BaseException as error:  # licensed: raised again where it is awaited
            for each in letters:
                if not each.ended:
                    each.fail(error)

    def _append(self, storage: ShardedStorage, postings: Sequence[Posting]) -> None:
        """Append what several have left, in one step."""
        first = postings[0]
        jobs = first.jobs if len(postings) == 1 else [job for each in postings for job in each.jobs]
        began = self._clock.monotonic()
        try:
            answers = storage.append(first.queue, jobs, max_length=first.most, replicas=first.replicas)
        except (QueueFull, JobNotFound) as error:
            if len(postings) == 1:
                first.fail(error)
                return
            for each in postings:  # there may be room for some of them, or only one was wrong
                self._append(storage, (each,))
        except BaseException as error:  # licensed: raised again where it is awaited
            _fail_each(postings, error)
            if isinstance(error, EnqueueUncertain | StorageUnavailable):
                self._tell_those_behind(error, began)
        else:
            place = 0
            for each in postings:
                each.end(answers[place : place + len(each.jobs)])
                place += len(each.jobs)

    def _tell_those_behind(self, error: BaseException, began: float) -> None:
        """Who has waited as long for a store that does not answer is not to wait as long again."""
        if self._clock.monotonic() - began < _LONG:
            return
        behind: list[Letter[Any]] = []
        with self._came:
            for queue, waiting in list(self._waiting.items()):
                while waiting and waiting[0].left_at <= began:
                    letter = waiting.popleft()
                    letter.taken = True
                    behind.append(letter)
                if not waiting:
                    del self._waiting[queue]
        for each in behind:
            each.fail(StorageUnavailable(f"nothing was sent, as the store is away: {error}", "connection"))
        _bring_back(behind)


def _fitting(waiting: deque[Letter[Any]]) -> list[Letter[Any]]:
    """As many of the first as fit into one append, at least one; taken out, and without those withdrawn."""
    letters: list[Letter[Any]] = []
    jobs = size = 0
    while waiting:
        letter = waiting[0]
        if letter.withdrawn:
            waiting.popleft()
            continue
        if isinstance(letter, Posting):
            jobs += len(letter.jobs)
            size += letter.size
            if letters and (jobs > MAX_APPEND_JOBS or size > MAX_APPEND_BYTES):
                break
        letter.taken = True
        letters.append(waiting.popleft())
    return letters


def _run(errand: Errand[Any], storage: ShardedStorage) -> None:
    try:
        errand.end(errand.work(storage))
    except BaseException as error:  # licensed: raised again where it is awaited
        errand.fail(error)


def _by_shard(storage: ShardedStorage, postings: Sequence[Posting]) -> Sequence[Sequence[Posting]]:
    """Postings that may share an append, in their order; not those that were left under other options."""
    groups: dict[tuple[str, int | None, int], list[Posting]] = {}
    for each in postings:
        shard = shard_of(storage.shards(each.queue), each.jobs[0].lane)
        groups.setdefault((shard, each.most, each.replicas), []).append(each)
    return list(groups.values())


def _fail_each(postings: Sequence[Posting], error: BaseException) -> None:
    place = 0
    for each in postings:
        if isinstance(error, EnqueueUncertain):
            job_id = nth_id(error.job_id, place)
            each.fail(EnqueueUncertain(f"{error}; this call's are those from {job_id} on", job_id))
        else:
            each.fail(error)
        place += len(each.jobs)


def _bring_back(letters: Sequence[Letter[Any]]) -> None:
    """Tell those who wait, with one call for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Letter[Any]]] = {}
    for each in letters:
        by_loop.setdefault(each.loop, []).append(each)
    for loop, its in by_loop.items():
        try:
            loop.call_soon_threadsafe(_hand_over, its)
        except RuntimeError:
            log.warning("an event loop was closed before its %d answers came: %s", len(its), _told(its))


def _hand_over(letters: Sequence[Letter[Any]]) -> None:
    for each in letters:
        each.done = True
        if not each.future.done():
            each.future.set_result(None)


def _told(letters: Sequence[Letter[Any]]) -> str:
    """What became of letters that nobody waits for any more."""
    stored = [answer.id for each in letters if isinstance(each, Posting) for answer in each.answer or ()]
    return f"stored are {', '.join(stored)}" if stored else "nothing was stored"
