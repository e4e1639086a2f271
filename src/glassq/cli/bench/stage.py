"""What every measure is given: where to measure, how much, and how to start a process."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from glassq.cli.bench.meters import MeasureFailed, Timed
from glassq.cli.bench.program import BEGIN, ORDER, READY, Answer, Order
from glassq.cli.bench.rawworker import JOBS, STREAM, URL
from glassq.cli.bench.servers import NAMESPACE, RedisServer
from glassq.cli.bench.sizes import Sizes
from glassq.cli.bench.soaking import Held
from glassq.cli.demo.children import Child, ChildFailed

PROGRAM = "glassq.cli.bench.program"
RAW_WORKER = "glassq.cli.bench.rawworker"
START_SECONDS = 30.0
"""What a process may take until it serves: interpreters start slowly on a busy machine."""
RUN_SECONDS = 180.0
"""What a process that measures by itself may take."""
_LOOK_SECONDS = 0.5
"""After which it is seen that a process has ended."""

_OWN = ("GLASSQ_", "OTEL_")
"""Variables of the caller that must not steer what is measured."""


class Stage:
    """`redis` is None when there is no server: then only SQLite is measured."""

    def __init__(self, sizes: Sizes, scratch: Path, server: RedisServer | None) -> None:
        self.sizes = sizes
        self.scratch = scratch
        self.server = server
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_OWN)
        } | {"PYTHONUNBUFFERED": "1"}

    @property
    def redis(self) -> RedisServer:
        """The server; only measures that need one ask."""
        assert self.server is not None  # noqa: S101 - `run` leaves out what needs a server
        return self.server

    def file_url(self, name: str) -> str:
        """A SQLite file that nothing has used."""
        return f"sqlite:///{self.scratch / name}-{secrets.token_hex(3)}.db"

    def stream(self) -> str:
        """The name of a stream for the raw client."""
        return f"{NAMESPACE}:raw:{secrets.token_hex(3)}"

    @contextmanager
    def child(self, order: Order, on_line: Callable[[str], None] | None = None) -> Iterator[Child]:
        """A process of ours that carries out an order; it has ended when this is left. `on_line` is told
        what it says."""
        with self._process(order.do, PROGRAM, {ORDER: msgspec.json.encode(order).decode()}, on_line) as child:
            yield child

    @contextmanager
    def _process(
        self,
        name: str,
        module: str,
        variables: dict[str, str],
        on_line: Callable[[str], None] | None = None,
    ) -> Iterator[Child]:
        log = self.scratch / f"{name}-{secrets.token_hex(3)}.log"
        environment = self._environment | variables
        with Child(f"the process '{name}'", [module], environment, log, on_line) as child:
            yield child

    @contextmanager
    def worker(self, order: Order, on_line: Callable[[str], None] | None = None) -> Iterator[Child]:
        """A worker process that takes jobs."""
        with self.child(order, on_line) as child:
            _expect(child, READY, START_SECONDS)
            yield child

    @contextmanager
    def contestant(self, order: Order) -> Iterator[Callable[[], Timed]]:
        """A process that measures by itself, once for every call, and waits in between."""
        said: SimpleQueue[str] = SimpleQueue()
        with self.worker(order, said.put) as child:

            def run() -> Timed:
                os.kill(child.pid, BEGIN)
                while (line := _hear(child, said)) == READY:
                    pass
                return msgspec.json.decode(line, type=Timed)

            yield run

    def answer(self, order: Order) -> Answer:
        """What a process that measures by itself found."""
        with self.child(order) as child:
            return msgspec.json.decode(_expect(child, r"^\{.*\}$", RUN_SECONDS), type=Answer)

    def number(self, order: Order) -> float:
        """The one number a process says."""
        with self.child(order) as child:
            return float(_expect(child, r"^[\d.e+-]+$", RUN_SECONDS))

    def held(self, order: Order) -> list[Held]:
        """What a process held from time to time while it carried out an order."""
        with self.child(order) as child:
            said = _expect(child, r"^\[.*\]$", order.seconds + RUN_SECONDS)
            return msgspec.json.decode(said, type=list[Held])

    def raw_resident(self, jobs: int) -> int:
        """Resident memory, in bytes, of a raw worker after so many jobs."""
        variables = {URL: self.redis.url, STREAM: self.stream(), JOBS: str(jobs)}
        with self._process("raw", RAW_WORKER, variables) as child:
            return int(_expect(child, r"^\d+$", RUN_SECONDS))


def _hear(child: Child, said: SimpleQueue[str]) -> str:
    """What a process says next."""
    ends = time.monotonic() + RUN_SECONDS
    while time.monotonic() < ends and child.exit_code is None:
        with suppress(Empty):
            return said.get(timeout=_LOOK_SECONDS)
    raise MeasureFailed(f"{child.name} did not say what it measured{child.last_words()}")


def _expect(child: Child, pattern: str, seconds: float) -> str:
    try:
        return child.wait_for_line(pattern, seconds).group()
    except ChildFailed as failure:
        raise MeasureFailed(str(failure)) from failure
