"""The peers that are installed, each in a process of its own, in the same rounds as we are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial

from glassq.cli.bench.judge import Absent, Found, Reading
from glassq.cli.bench.meters import MeasureFailed, Timed
from glassq.cli.bench.ours import Ours
from glassq.cli.bench.peers.runner import ON_REDIS, Peer, run_peer
from glassq.cli.bench.rounds import alternate
from glassq.cli.bench.samples import ratios
from glassq.cli.bench.stage import Stage

_OURS = "glassq"
_APART = "pyfiq"
"""Compared by itself: it is what an ordered queue is measured against first."""

Pair = tuple[Timed, Timed]


def peers(stage: Stage) -> list[Found]:
    """Put jobs in one by one, then run them. A peer that fails is said to have failed, the others go on."""
    there = [peer for peer in ON_REDIS if peer.version() is not None]
    failed: dict[str, str] = {}
    contestants = {peer.name: partial(_tried, stage, peer, failed) for peer in there}
    runs = alternate({_OURS: partial(_ours, stage), **contestants}, stage.sizes.rounds)
    pairs = {
        name: [pair for pair in runs[name] if pair is not None]
        for name in (_OURS, *contestants)
        if name not in failed
    }
    found: list[Found] = []
    for peer in ON_REDIS:
        found += _rows(peer, pairs.get(peer.name), failed.get(peer.name))
    return [*found, *_comparisons(pairs, failed)]


def _ours(stage: Stage) -> Pair | None:
    with Ours(stage.redis.own_url) as ours:
        # As many more jobs as we are faster would be fairer to us; the same number is simpler to believe.
        return ours.enqueue(stage.sizes.peer_jobs), ours.process(stage.sizes.peer_jobs)


def _tried(stage: Stage, peer: Peer, failed: dict[str, str]) -> Pair | None:
    if peer.name in failed:
        return None
    try:
        return run_peer(peer, stage.redis.url, stage.sizes.peer_jobs, stage.scratch)
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
    rates = {name: [pair[1].rate for pair in each] for name, each in pairs.items()}
    ours = rates.pop(_OURS)
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
