"""A bounded pool of threads, and the lanes that wait for one of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import get_ident
from typing import Generic, TypeVar

from glassq.shielding import Log

log = Log("glassq.worker")

Work = TypeVar("Work")


class LanePool(Generic[Work]):
    """At most `size` threads, started when first needed, that `serve` what waits, in its order; but for what
    does not `fit` beside what is being served. What is of the same `place` is never served at the same time:
    the later one stays aside, and waits for a thread once the earlier one is done with.

    One thread more keeps `watch`, again and again: whichever has nothing to serve. Whoever finds something in
    its watch, and puts it here, serves it at once and leaves the watch to another one: no thread has to be
    woken before it begins.

    Daemon threads: user code that never returns must not keep the interpreter from exiting. What such a
    job leaves behind is what a crash leaves behind, and is treated as one.
    """

    def __init__(
        self,
        size: int,
        name: str,
        *,
        serve: Callable[[Work], None],
        on_free: Callable[[], None],
        fits: Callable[[Work, Iterable[Work]], bool] = lambda _work, _others: True,
        place: Callable[[Work], Hashable] = id,
        watch: Callable[[], object] | None = None,
    ) -> None:
        self.size = self._wanted = size
        """How many threads there may be."""
        self._name = name
        self._serve = serve
        self._on_free = on_free
        self._fits = fits
        self._place = place
        self._watch = watch
        self._keeper: int | None = None
        """The thread that keeps watch now."""
        self._watchers = int(watch is not None)
        self._at_work: dict[int, Work] = {}
        self.waiting: deque[Work] = deque()
        """What waits for a thread, the longest first; the pool alone changes it."""
        self._aside: list[Work] = []
        self.unfinished: set[Work] = set()
        """What threads have served in part, and go on with after other things; they put it in and out."""
        # Held as it is where nobody waits, for each lane: the way through a condition is longer.
        self._lock = lock = threading.Lock()
        self._filled, self._low = threading.Condition(lock), threading.Condition(lock)
        self._low_at = 0
        self._served = self._resumed = 0
        self._threads = 0
        self._busy = 0
        self._closed = False

    def begin(self) -> None:
        """Have a thread keep watch, and another one to take it over. `RuntimeError` when the system gives no
        first thread."""
        with self._lock:
            self._have_threads(1)

    def free(self) -> int:
        """Wanted threads that nothing waits for yet."""
        return max(0, self._wanted - self._busy - len(self.waiting))

    def __len__(self) -> int:
        """How much waits for a thread."""
        return len(self.waiting)

    @property
    def busy(self) -> int:
        """Threads that serve something."""
        return self._busy

    @property
    def served(self) -> int:
        """How much was served since the beginning."""
        return self._served

    @property
    def steps(self) -> int:
        """How often a thread has taken something up since the beginning, or gone on with it."""
        return self._served + self._resumed

    @property
    def is_overstaffed(self) -> bool:
        """Whether more threads serve something than are wanted."""
        return self._busy > self._wanted

    def put(self, works: Sequence[Work]) -> list[Work]:
        """Let these wait behind what waits; returns what is in the place of some of them, which stay aside.
        `RuntimeError` when the system gives no first thread."""
        places = list(map(self._place, works))
        with self._lock:
            there = (*self.unfinished.copy(), *self._at_work.values(), *self.waiting, *self._aside)
            earlier = dict(zip(map(self._place, there), there, strict=True))
            aside: list[Work] = []
            ready = works
            if not earlier.keys().isdisjoint(places):
                aside = [work for work, place in zip(works, places, strict=True) if place in earlier]
                ready = [work for work in works if work not in aside]
            found = self._keeper == get_ident() and bool(ready)
            self._call_threads(len(self.waiting) + len(ready), serves=found)
            self.waiting.extend(ready)
            self._low_at = len(self.waiting) // 2
            self._aside.extend(aside)
            return [earlier[self._place(work)] for work in aside]

    def want(self, threads: int | None = None) -> None:
        """Let no more threads than these work at the same time; None: all there may be."""
        wanted = self.size if threads is None else min(threads, self.size)
        if wanted != self._wanted:
            with self._lock:
                self._wanted = wanted
                self._call_threads(len(self.waiting))

    def take(self) -> Work | None:
        """What waits longest, if anything does: for a thread of this pool that is done with something and
        is still wanted."""
        me = get_ident()
        with self._lock:
            if self.is_overstaffed:
                self._end_work(me)
                return None
            if (work := self._next(me)) is not None:
                self._served += 1
            return work

    def resume(self, work: Work) -> None:
        """The calling thread, which is one of this pool, goes on with what it has not finished."""
        with self._lock:
            self._at_work[get_ident()] = work
            self._resumed += 1

    def rest(self) -> None:
        """The calling thread, which is not one of the pool's, serves nothing any more."""
        with self._lock:
            self._end_work(get_ident())

    def give_up(self, works: Sequence[Work]) -> None:
        """The calling thread has taken these and does not serve them, or does not go on: if it is at one of
        them, it is at nothing now."""
        me = get_ident()
        with self._lock:
            if self._at_work.get(me) in works:
                self._end_work(me)

    def take_back(self, wanted: Callable[[Work], bool]) -> list[Work]:
        """All that waits and is wanted back, in its order: no thread will serve it."""
        with self._lock:
            chosen = [work for work in (*self.waiting, *self._aside) if wanted(work)]
            self.waiting = deque(work for work in self.waiting if work not in chosen)
            self._aside = [work for work in self._aside if work not in chosen]
            self._let_in()
            return chosen

    def oldest(self) -> Work | None:
        """What waits longest; it stays."""
        with self._lock:
            return self.waiting[0] if self.waiting else None

    def wait_until_low(self, timeout: float) -> bool:
        """Until half of what was put last was taken up, or the timeout, or the end; whether the former, told
        once for each time that something was put."""
        with self._low:
            if not self._low.wait_for(self._is_low, timeout):
                return False
            self._low_at = -1
            return True

    def close(self) -> None:
        """Let the threads end once nothing waits."""
        with self._lock:
            self._closed = True
            self._filled.notify_all()

    def wake(self) -> None:
        """End a wait for room."""
        with self._low:
            self._low_at = len(self.waiting)
            self._low.notify_all()

    def _call_threads(self, works: int, *, serves: bool = False) -> None:
        """Have a thread for each of these, as far as there may be; the calling one `serves`, too."""
        self._have_threads(self._busy + works)
        self._filled.notify(max(0, min(works, self._wanted - self._busy) - serves))

    def _have_threads(self, works: int) -> None:
        while self._threads < min(self._wanted, works) + self._watchers:
            if not self._add_thread():
                break

    def _is_low(self) -> bool:
        return len(self.waiting) <= self._low_at

    def _next(self, thread: int) -> Work | None:
        """What comes next for this thread, which is done with what it served."""
        waiting, at_work = self.waiting, self._at_work
        at_work.pop(thread, None)
        if self._aside:
            self._let_in()
        for place, work in enumerate(waiting):
            if not at_work or self._fits(work, at_work.values()):
                del waiting[place]
                at_work[thread] = work
                if len(waiting) == self._low_at:
                    self._low.notify_all()
                return work
        return None

    def _end_work(self, thread: int) -> None:
        """This thread is done with what it served."""
        self._at_work.pop(thread, None)
        if self._aside:
            self._let_in()

    def _let_in(self) -> None:
        """What stayed aside for something that is gone waits for a thread."""
        there = (*self.unfinished.copy(), *self._at_work.values(), *self.waiting)
        taken = set(map(self._place, there))
        aside, self._aside = self._aside, []
        for work in aside:
            (self._aside if self._place(work) in taken else self.waiting).append(work)
            taken.add(self._place(work))
        self._filled.notify(len(aside) - len(self._aside))

    def _add_thread(self) -> bool:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system's limit of threads: go on with those there are
            if not self._threads:
                raise
            self._watchers = min(self._watchers, self._threads - 1)
            self.size = self._wanted = self._threads - self._watchers
            log.warning("no more than %d threads can be had", self._threads)
            return False
        self._threads += 1
        return True

    def _run(self) -> None:
        while (work := self._wait()) is not None:
            try:
                self._serve(work)
            except BaseException:  # licensed: top of a thread; without it the pool would count on a dead one
                log.exception("a lane's thread failed; its lane is served again when its lease ends")
            finally:
                with self._lock:
                    self._end_work(get_ident())
                    self._busy -= 1
                    self._served += 1
                del work  # a waiting thread must not keep its last job alive
                self._on_free()

    def _wait(self) -> Work | None:
        """The next work, waited for; None at the end."""
        me, kept = get_ident(), False
        with self._filled:
            while (work := self._next(me) if self._busy < self._wanted or self._closed else None) is None:
                if self._closed:  # what waits and does not fit is taken by those beside which it does not
                    return None
                if self._watch is None or self._keeper is not None:
                    self._filled.wait()
                else:
                    kept = True
                    self._keep(self._watch)
            self._busy += 1
            if kept and self._keeper is None:
                self._filled.notify()  # another one has the watch now
            return work

    def _keep(self, watch: Callable[[], object]) -> None:
        """Keep watch for one turn, in the calling thread, which has the lock and is without it meanwhile."""
        self._keeper = get_ident()
        self._lock.release()
        try:
            watch()
        finally:
            self._lock.acquire()
            self._keeper = None
