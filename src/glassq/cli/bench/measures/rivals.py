"""The peers that are installed, and we, each in a process of its own, in the same rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from glassq.cli.bench.judge import Absent, Found, Reading
from glassq.cli.bench.meters import MeasureFailed, Timed
from glassq.cli.bench.peers.runner import ON_REDIS, OURS, Peer, run_peer
from glassq.cli.bench.rounds import alternate, enough_jobs
from glassq.cli.bench.samples import ratios
from glassq.cli.bench.sizes import Sizes
from glassq.cli.bench.stage import Stage

_APART = "pyfiq"
"""Compared by itself: it is what an ordered queue is measured against first."""
_MOST = 30
"""Times the least number of jobs, however fast a contestant runs them: to put them in one by one takes a fast
one several times as long."""

Pair = tuple[Timed, Timed]
"""Of one run: how the jobs were put in, and how they were run."""


def sized(run: Callable[[int], Pair], sizes: Sizes) -> int:
    """How many jobs a contestant runs in the time of a round. The same number for all would be simpler, but
    what takes a slow one seconds takes a fast one so little time that chance decides, and how it starts."""
    least = sizes.peer_jobs
    return enough_jobs(lambda jobs: run(jobs)[1], sizes.seconds, least=least, most=_MOST * least)


def peers(stage: Stage) -> list[Found]:
    """Put jobs in one by one, then run them. A peer that fails is said to have failed, the others go on."""
    failed: dict[str, str] = {}
    jobs: dict[str, int] = {}
    there = {peer.name: peer for peer in ON_REDIS if peer.version() is not None} | {OURS.name: OURS}
    for name, peer in there.items():
        try:
            jobs[name] = sized(partial(_run, stage, peer), stage.sizes)
        except MeasureFailed as failure:
            failed[name] = str(failure)
    contestants = {
        name: partial(_tried, stage, there[name], jobs[name], failed) for name in _by_neighbours(jobs)
    }
    runs = alternate(contestants, stage.sizes.rounds)
    pairs = {
        name: [pair for pair in each if pair is not None] for name, each in runs.items() if name not in failed
    }
    found: list[Found] = []
    for peer in ON_REDIS:
        found += _rows(peer, pairs.get(peer.name), failed.get(peer.name))
    return [*found, *_comparisons(pairs, failed)]


def _by_neighbours(jobs: Mapping[str, int]) -> list[str]:
    """In which order they run: right before and after us those we are compared with, the fastest."""
    return sorted(jobs, key=lambda name: (name == _APART, name == OURS.name, jobs[name]))


def _run(stage: Stage, peer: Peer, jobs: int) -> Pair:
    """In an empty database: who ends with the last job has left that one half done."""
    stage.redis.clear()
    url = stage.redis.own_url if peer is OURS else stage.redis.url
    return run_peer(peer, url, jobs, stage.scratch)


def _tried(stage: Stage, peer: Peer, jobs: int, failed: dict[str, str]) -> Pair | None:
    if peer.name in failed:
        return None
    try:
        return _run(stage, peer, jobs)
    except MeasureFailed as failure:
        failed[peer.name] = str(failure)
        return None


def _rows(peer: Peer, pairs: Sequence[Pair] | None, failure: str | None) -> list[Found]:
    keys = [f"peers.{peer.name}.{step}" for step in ("enqueue", "process")]
    if failure is not None:
        return [Absent(key, failure) for key in keys]
    if pairs is None:
        return [Absent(key, "not installed") for key in keys]
    note = f"{peer.name} {peer.version()}"
    return [Reading(key, tuple(pair[n].rate for pair in pairs), note=note) for n, key in enumerate(keys)]


def _comparisons(pairs: Mapping[str, Sequence[Pair]], failed: Mapping[str, str]) -> list[Found]:
    if OURS.name in failed:
        raise MeasureFailed(failed[OURS.name])
    rates = {name: [pair[1].rate for pair in each] for name, each in pairs.items()}
    ours = rates.pop(OURS.name)
    apart = rates.pop(_APART, None)
    found: list[Found] = []
    if apart is not None:
        found.append(Reading("peers.pyfiq.ratio", tuple(ratios(ours, apart))))
    else:
        found.append(Absent("peers.pyfiq.ratio", "pyfiq failed" if _APART in failed else "not installed"))
    if rates:
        best = max(rates, key=lambda name: statistics.median(rates[name]))
        note = f"{best}, of {', '.join(sorted(rates))}"
        found.append(Reading("peers.best.ratio", tuple(ratios(ours, rates[best])), note=note))
    else:
        found.append(Absent("peers.best.ratio", "none is installed"))
    return found
