"""A shop whose payments fail for a while, and the command line used on its store."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from glassq.app import Glassq
from glassq.cli import main
from glassq.client.queues import Queue


class Shop:
    """An application whose payments fail while the card is blocked, and a record of what ran."""

    def __init__(self, url: str) -> None:
        self.app = Glassq(url)
        self.blocked = True
        self.ran: list[tuple[str, int]] = []

        @self.app.fifo("payments", key="order", max_retries=0, name="charge")
        def charge(order: str, cents: int) -> None:
            if self.blocked:
                raise RuntimeError("the card is blocked")
            self.ran.append((order, cents))

        @self.app.fifo("bank", key="order", max_retries=0, on_exhausted="halt", name="move")
        def move(order: str, cents: int) -> None:
            charge.call(order, cents)

        @self.app.fifo("mails", max_retries=0, on_exhausted="halt", name="greet")
        def greet(number: int) -> None:
            charge.call("mail", number)

        self.charge, self.move, self.greet = charge, move, greet

    def work(self, queue: str) -> None:
        """Run what there is to run in one queue."""
        assert self.app.worker(queues=[queue]).run_until_idle(timeout=20)

    def queue(self, name: str) -> Queue:
        """A handle, to see what the commands have changed."""
        return self.app.queue(name)

    def bury(self) -> list[str]:
        """Three payments of order o-1 and one of o-2 that were given up; their ids, in order."""
        orders = (("o-1", 1), ("o-1", 2), ("o-2", 3), ("o-1", 4))
        ids = [self.charge(order, cents).id for order, cents in orders]
        self.work("payments")
        self.blocked = False
        return ids


class Told:
    """What one command said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """Its standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def audit(self) -> list[str]:
        """Its lines in the audit, from `what=` on."""
        return [line.partition(" what=")[2] for line in self.err.splitlines() if " glassq.audit " in line]


Glass = Callable[..., Told]


def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Glass:
    """What runs one command, with what is typed at its question."""

    def run(*arguments: str, typed: str = "") -> Told:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code = main(arguments)
        said = capsys.readouterr()
        return Told(code, said.out, said.err)

    return run
