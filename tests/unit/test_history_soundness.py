"""Whatever a store did right is never accused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassq.model.leases import Leaving
from glassq.model.verdicts import Action
from glassq.testing.history import check, read
from tests.unit.playing import LEASE, QUEUE, Play, Process, write_history

_LANES = ("a", "b")
_ACTIONS = (Action.ACK, Action.ACK, Action.RETRY, Action.BURY, Action.HALT, Action.CANCEL, Action.EXPIRE)


def _outlive(process: Process, how: int) -> None:
    """The lease may end while user code runs, and another process take over; then what this one settles is
    refused."""
    if process.start():
        process.play.pass_time(LEASE * (how % 3))
        other = Process(process.play)
        other.work()
        process.end()
        process.settle()


def _renew(process: Process, _: int) -> None:
    if process.grant is not None and process.play.clock.monotonic() < process.deadline:
        lost = process.store.renew(process.owner, [process.grant.lease], lease_seconds=LEASE).lost
        process.deadline = process.play.clock.monotonic() + LEASE
        process.grant = None if lost else process.grant


def _release(process: Process, _: int) -> None:
    if process.grant is not None:
        process.store.release(process.owner, [process.grant.lease])
        process.grant = None


def _cancel(process: Process, how: int) -> None:
    waiting = process.store.waiting(QUEUE, 10)
    if waiting:
        process.store.cancel(waiting[how % len(waiting)].job.id)


def _replay(process: Process, how: int) -> None:
    dead = [record.job.id for record in process.store.dead(QUEUE, 10)]
    process.store.replay(QUEUE, dead[how % 3 :], front=how % 2 == 0)


def _settle_and_die(process: Process, how: int) -> None:
    if process.start():
        process.end()
        process.settle(_ACTIONS[how % len(_ACTIONS)])
        process.forget_answer()


def _replay_and_die(process: Process, how: int) -> None:
    _replay(process, how)
    process.forget_answer()


def _purge_and_die(process: Process, how: int) -> None:
    process.store.purge(QUEUE, dead=how % 2 == 0)
    process.forget_answer()


def _enqueue_and_die(process: Process, how: int) -> None:
    process.enqueue(2, lane=_LANES[how % 2])
    process.forget_answer()


def _call_back(process: Process, how: int) -> None:
    """A callback runs after a job, while the lane is held."""
    _begin_callback(process, how)
    if process.kept is not None:
        process.play.pass_time(float(how))
        process.move_on()


def _begin_callback(process: Process, how: int) -> None:
    if process.start():
        process.end()
        process.settle(Action.ACK if how % 2 else Action.BURY, Leaving.KEEP)


def _schedule(process: Process, how: int) -> None:
    process.enqueue(1 + how % 2, lane=_LANES[how % 2], due=float(how % 7))


def _pause(process: Process, how: int) -> None:
    process.store.pause(QUEUE, None if how % 3 == 0 else _LANES[how % 2])


def _resume(process: Process, how: int) -> None:
    process.store.resume(QUEUE, None if how % 3 == 0 else _LANES[how % 2])


_LIVELY: dict[str, Callable[[Process, int], object]] = {
    "enqueue": lambda process, how: process.enqueue(
        1 + how % 3, lane=_LANES[how % 2], level=3 + 2 * (how % 4 == 3)
    ),
    "duplicate": lambda process, how: process.enqueue(1, dedup=f"d{how % 2}"),
    "work": lambda process, how: process.work(_ACTIONS[how % len(_ACTIONS)]),
    "drain": lambda process, how: process.drain() if how == 0 else process.work(),
    "outlive": _outlive,
    "renew": _renew,
    "release": _release,
    "time": lambda process, how: process.play.pass_time(float(how)),
    "cancel": _cancel,
    "callback": _call_back,
    "schedule": _schedule,
    "pause": _pause,
    "resume": _resume,
    "skip": lambda process, how: process.store.skip_lane(QUEUE, _LANES[how % 2]),
    "retry": lambda process, how: process.store.retry_lane(QUEUE, _LANES[how % 2]),
    "replay": _replay,
    "purge": lambda process, how: process.store.purge(QUEUE, dead=how % 2 == 0),
}
_DEADLY: dict[str, Callable[[Process, int], object]] = {
    "in code": lambda process, _: process.start(),
    "in a callback": _begin_callback,
    "enqueuing": _enqueue_and_die,
    "settling": _settle_and_die,
    "replaying": _replay_and_die,
    "purging": _purge_and_die,
}
_steps = st.lists(
    st.tuples(st.sampled_from([*_LIVELY, *_DEADLY, "loss"]), st.integers(0, 2), st.integers(0, 20)),
    min_size=5,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=_steps)
def test_valid_executions_are_never_accused(steps: list[tuple[str, int, int]]) -> None:
    """Whatever three processes do to a store, wherever they die and whenever it loses everything, the
    checker finds nothing. One that dies comes back under its name, or another one comes."""
    with tempfile.TemporaryDirectory() as folder:
        play = Play(Path(folder))
        processes = [Process(play) for _ in range(3)]
        for verb, which, how in steps:
            if verb == "loss":
                play.lose_everything(processes)
                processes[which].enqueue(1 + how % 2, lane=_LANES[how % 2])  # or nobody would ever know
            elif verb in _LIVELY:
                _LIVELY[verb](processes[which], how)
            else:
                _DEADLY[verb](processes[which], how)
                processes[which] = Process(play, processes[which].owner.node if how % 2 else "")
        lines = play.dump()
        report = check(
            read([write_history(lines, Path(folder) / "history")]), losses_expected=play.losses > 0
        )
    assert report.findings == []
    assert report.figures["starts"] == sum(line["e"] == "start" for line in lines)
