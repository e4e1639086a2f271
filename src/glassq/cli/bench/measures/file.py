"""The store in a file and our FemtoQueue on it, beside femtoqueue where it is installed."""

from __future__ import annotations

import os
from functools import partial

from glassq.cli.bench.judge import Absent, Found, Reading
from glassq.cli.bench.measures.rivals import Pair, sized
from glassq.cli.bench.peers.runner import DROPIN, FEMTOQUEUE, OURS, Peer, run_peer
from glassq.cli.bench.rounds import alternate
from glassq.cli.bench.samples import ratios
from glassq.cli.bench.stage import Stage

_ABSENT = "femtoqueue is not installed"


def rates(stage: Stage) -> list[Found]:
    """Put jobs in one by one, run them; each round in a file, or a directory, of its own."""
    contestants = {"sqlite": partial(_run, stage, OURS), "dropin": partial(_run, stage, DROPIN)}
    installed = FEMTOQUEUE.version() is not None
    if installed:
        contestants["femtoqueue"] = partial(_run, stage, FEMTOQUEUE)
    enough = {name: partial(run, sized(run, stage.sizes)) for name, run in contestants.items()}
    runs = alternate(enough, stage.sizes.rounds)
    found: list[Found] = []
    for number, step in enumerate(("enqueue", "process")):
        speeds = {name: [run[number].rate for run in pairs] for name, pairs in runs.items()}
        found += [Reading(f"{name}.{step}", tuple(values)) for name, values in speeds.items()]
        for name in ("sqlite", "dropin"):
            key = f"{name}.{step}.ratio"
            if installed:
                found.append(Reading(key, tuple(ratios(speeds[name], speeds["femtoqueue"]))))
            else:
                found.append(Absent(key, _ABSENT))
        if not installed:
            found.append(Absent(f"femtoqueue.{step}", _ABSENT))
    return found


def _run(stage: Stage, peer: Peer, jobs: int) -> Pair:
    """What others have left to be written to disk is written before: it is not this one's work."""
    os.sync()
    return run_peer(peer, stage.file_url("rates"), jobs, stage.scratch)
