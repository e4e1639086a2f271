"""A bounded pool of threads, each running one lane at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from glassq.shielding import Log

log = Log("glassq.worker")


class LanePool:
    """At most `size` threads, started when first needed.

    Daemon threads: user code that never returns must not keep the interpreter from exiting. What such a
    job leaves behind is what a crash leaves behind, and is treated as one.
    """

    def __init__(self, size: int, name: str, on_free: Callable[[], None]) -> None:
        self._size = size
        self._name = name
        self._on_free = on_free
        self._lock = threading.Lock()
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = 0
        self._busy = 0

    def free(self) -> int:
        """Lanes that can be taken on now."""
        return self._size - self._busy

    def submit(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread of the pool. `RuntimeError` when the system gives no first thread."""
        with self._lock:
            if self._busy >= self._threads:
                self._add_thread()
            self._busy += 1
        self._work.put(work)

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"{self._name}-{self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system's limit of threads: go on with those there are
            if not self._threads:
                raise
            self._size = self._threads
            log.warning("no more than %d threads can be had", self._threads)
        else:
            self._threads += 1

    def close(self) -> None:
        """Let the threads end once their work is done."""
        for _ in range(self._threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except BaseException:  # licensed: top of a thread; without it the pool would count on a dead one
                log.exception("a lane's thread failed; its lane is served again when its lease ends")
            finally:
                with self._lock:
                    self._busy -= 1
                del work  # a waiting thread must not keep its last job alive
                self._on_free()
