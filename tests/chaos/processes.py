"""Handles on the processes under test, started through the nest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from tests.processes import quiet, state_of, wait_until

_STARTING = 30.0


class Process:
    """One process under test. Signals reach it by its pidfd, so never a stranger with its old number."""

    def __init__(self, nest: Nest, pid: int, role: str, url: str, endings: Collection[int] = (0,)) -> None:
        self.pid = pid
        self.role = role
        self.endings = set(endings)
        """The exit statuses that are meant."""
        self._nest = nest
        self._url = url
        self._stopped = False
        try:
            self._fd: int | None = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._fd = None

    def __repr__(self) -> str:
        return f"<{self.role} {self.pid}>"

    @property
    def running(self) -> bool:
        """Whether it has not ended, as far as was heard."""
        return self._nest.status(self.pid) is None

    @property
    def stopped(self) -> bool:
        """Whether it stands still by our `stop`."""
        return self._stopped

    def signal(self, number: signal.Signals) -> float:
        """Send it a signal; returns the monotonic time just before. Nothing happens to one that has ended."""
        now = time.monotonic()
        if self._fd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)
        return now

    def kill(self) -> float:
        """`kill -9`, and wait for its end; returns when it was sent."""
        self.endings = {-signal.SIGKILL}
        sent = self.signal(signal.SIGKILL)
        self.wait()
        return sent

    def stop(self) -> float:
        """SIGSTOP, outside transactions of a SQLite file; returns once it stands still."""
        with quiet(self._url):
            self.signal(signal.SIGSTOP)
            wait_until(lambda: state_of(self.pid) in "TZ", f"{self} to stand still", lambda: "")
        self._stopped = True
        return time.monotonic()

    def go_on(self) -> float:
        """SIGCONT; returns when it was sent."""
        self._stopped = False
        return self.signal(signal.SIGCONT)

    def wait(self, timeout: float = 60) -> int:
        """Its exit status, negative for the signal that ended it."""
        status = self._nest.wait(self.pid, timeout)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return status


class Nest:
    """Starts processes and hears of their ends."""

    def __init__(self, output: Path, environment: dict[str, str]) -> None:
        with output.open("ab") as errors:
            self._nest = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("nest.py")],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._output = output
        self._heard = threading.Condition()
        self._started: deque[int] = deque()
        self._ended: dict[int, int] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, module: str, arguments: Sequence[str], environment: dict[str, str]) -> int:
        """Fork a process that runs `main(arguments)` of a module; returns its pid. One caller at a time."""
        request = {"module": module, "arguments": list(arguments), "environment": environment}
        assert self._nest.stdin is not None
        self._nest.stdin.write(json.dumps(request).encode() + b"\n")
        self._nest.stdin.flush()
        with self._heard:
            assert self._heard.wait_for(lambda: self._started, _STARTING), self._output.read_text()[-2000:]
            return self._started.popleft()

    def status(self, pid: int) -> int | None:
        """The exit status of one that ended."""
        return self._ended.get(pid)

    def wait(self, pid: int, timeout: float) -> int:
        """The exit status, once there is one."""
        with self._heard:
            if not self._heard.wait_for(lambda: pid in self._ended, timeout):
                raise AssertionError(f"process {pid} did not end within {timeout} s")
            return self._ended[pid]

    def close(self) -> None:
        """Kill all of them and end."""
        assert self._nest.stdin is not None
        assert self._nest.stdout is not None
        self._nest.stdin.close()
        self._nest.wait(timeout=_STARTING)
        self._listener.join(timeout=_STARTING)
        self._nest.stdout.close()

    def _listen(self) -> None:
        assert self._nest.stdout is not None
        for line in self._nest.stdout:
            told = json.loads(line)
            with self._heard:
                if "started" in told:
                    self._started.append(told["started"])
                else:
                    self._ended[told["ended"]] = told["status"]
                self._heard.notify_all()
