"""Starts the programs under test by forking, so that hundreds of starts cost milliseconds each.

It imports what they need and opens nothing. On its standard input come requests, a JSON object a line,
`{"module": ..., "arguments": [...], "environment": {...}}`. On its standard output go `{"started": pid}` for
each and `{"ended": pid, "status": exit status}`, negative for a signal. When its input ends, it kills what it
started.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from importlib import import_module
from typing import Any

UNCAUGHT = 99
"""The exit status of a process in which an error went uncaught elsewhere than in its main thread."""

for each in ("glassq.app", "glassq.stores.redis.store", "glassq.stores.sqlite.store"):
    import_module(each)
# Jobs fail on purpose here, and what is said of them would hide what nothing explains.
logging.getLogger("glassq.jobs").setLevel(logging.CRITICAL + 1)


class Nest:
    """The loop between requests and ended children. One thread, so that forking is safe."""

    def __init__(self) -> None:
        self._answers = os.dup(1)
        os.dup2(2, 1)
        self._children: set[int] = set()
        self._pending = b""
        self._woken, waker = socket.socketpair()
        self._waker = waker
        self._woken.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def next_child(self) -> dict[str, Any] | None:
        """Serve until this process is a child that has a request to carry out; None at the input's end."""
        while True:
            ready, _, _ = select.select([0, self._woken.fileno()], [], [])
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
                self._reap()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    return None
                *lines, self._pending = (self._pending + data).split(b"\n")
                for line in lines:
                    if self._fork():
                        request: dict[str, Any] = json.loads(line)
                        return request

    def _fork(self) -> bool:
        """Whether this is the child."""
        child = os.fork()
        if child:
            self._children.add(child)
            self._answer({"started": child})
            return False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._woken.close()
        self._waker.close()
        os.close(self._answers)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        return True

    def _reap(self) -> None:
        for child in list(self._children):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                self._children.discard(pid)
                self._answer({"ended": pid, "status": os.waitstatus_to_exitcode(status)})

    def _answer(self, answer: dict[str, int]) -> None:
        os.write(self._answers, json.dumps(answer).encode() + b"\n")

    def end(self) -> None:
        """Nothing outlives a stage."""
        for child in self._children:
            os.kill(child, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        self._woken.close()
        self._waker.close()


def end_on_uncaught_errors() -> None:
    """Threads die of errors without a trace in the exit status, and destructors drop theirs: here both end
    their process."""

    def end_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            threading.__excepthook__(args)
            os._exit(UNCAUGHT)

    def end_destructor(args: sys.UnraisableHookArgs) -> None:
        sys.__unraisablehook__(args)
        os._exit(UNCAUGHT)

    threading.excepthook = end_thread
    sys.unraisablehook = end_destructor


def main() -> int:
    """As the nest: 0 at the end of the input. As a child: what its program's `main(arguments)` returns."""
    nest = Nest()
    request = nest.next_child()
    if request is None:
        nest.end()
        return 0
    end_on_uncaught_errors()
    os.environ.update(request["environment"])
    status: int = import_module(request["module"]).main(request["arguments"])
    return status


if __name__ == "__main__":
    sys.exit(main())
