"""Defects put into the program under test, to see that the suite would find them.

`CHAOS_PLANT=fence` lets any holder of any token settle, renew and release; `append` lets a repeated append
store its jobs again; `deadline` lets a worker believe in its leases for ever and ask nobody. Of plain jobs,
`late` lets one begin before the settlement of the one before is sent, `early` sends settlements of jobs whose
code has not run. A line that is not there any more is an error: the defect has to be planted anew, not
forgotten.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from unittest import mock

import msgspec

from glassq.stores.redis import scripts
from glassq.stores.redis.scripts import Script
from glassq.stores.sqlite.known import HeldLane as HeldRow
from glassq.worker.attempt import Success
from glassq.worker.begun import Begun
from glassq.worker.claiming import Claiming
from glassq.worker.executors import ThreadExecutor
from glassq.worker.flight import InFlight
from glassq.worker.upkeep import Upkeep


def plant(defect: str | None) -> None:
    """Put a defect into this process, or several (`fence+deadline`); an empty name, or None, for none."""
    for each in defect.split("+") if defect else ():
        _DEFECTS[each]()


def _remove_fence() -> None:
    _replace(scripts.SETTLE, "if held[1] ~= what.token or held[2] ~= owner then", "if false then")
    _replace(scripts.SETTLE, "is_plain = call('HGET', key, 'go') == pass", "is_plain = true")
    for script in (scripts.RENEW, scripts.RELEASE):
        _replace(script, "if held[1] == token and held[2] == owner then", "if held[2] then")
    mock.patch.object(HeldRow, "belongs", return_value=True).start()


def _forget_appends() -> None:
    _replace(scripts.APPEND, "if tonumber(last) == number_of_last then", "if false then")
    _replace(scripts.APPEND, "if tonumber(last) >= number then", "if tonumber(last) > number_of_last then")


def _believe_in_leases() -> None:
    take_on = Claiming._take_on
    mock.patch.object(Claiming, "_take_on", lambda own, claimed, _: take_on(own, claimed, math.inf)).start()
    # Otherwise the renewal of a worker that was woken may tell it, before its lane's thread goes on.
    mock.patch.object(Upkeep, "_renew").start()


_late = threading.local()
"""`send`: sends the settlement that this thread holds back."""


def begun() -> None:
    """A job's code has begun: what was held back until then is sent."""
    send, _late.send = getattr(_late, "send", None), None
    if send is not None:
        send()


def _settle_late() -> None:
    go_on = InFlight.go_on

    def go_on_late(self: InFlight, ended: Success, next_id: str, at: float) -> bool:
        like = self._like
        if not self.is_on_course or like is None:
            return go_on(self, ended, next_id, at)

        def send() -> None:
            if not go_on(self, ended, next_id, at):
                settlement = msgspec.structs.replace(like, job_id=ended.job.id, next_id=next_id)
                self.send(ended.ended(), settlement, at)

        _late.send = send
        return True

    mock.patch.object(InFlight, "go_on", go_on_late).start()


def _settle_early() -> None:
    run, untold = ThreadExecutor.run_bare, threading.local()

    def run_later(self: ThreadExecutor, begun: Begun, look: Callable[..., None] | None) -> None:
        begun.over = begun.started
        before, untold.run = getattr(untold, "run", None), partial(copy_context().run, run, self, begun, look)
        if before is not None:
            before()

    mock.patch.object(ThreadExecutor, "run_bare", run_later).start()


_DEFECTS: dict[str, Callable[[], None]] = {
    "fence": _remove_fence,
    "append": _forget_appends,
    "deadline": _believe_in_leases,
    "late": _settle_late,
    "early": _settle_early,
}


def _replace(script: Script, line: str, by: str) -> None:
    """Another text for a script, and the digest servers will know it by."""
    if script.source.count(line) != 1:
        raise LookupError(f"{script.verb}.lua has no single {line!r} any more; plant this defect anew")
    script.source = script.source.replace(line, by)
    script.sha = hashlib.sha1(script.source.encode(), usedforsecurity=False).hexdigest()
