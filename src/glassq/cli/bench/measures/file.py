"""The store in a file and our FemtoQueue on it, beside femtoqueue where it is installed."""

from __future__ import annotations

from functools import partial

from glassq.cli.bench.judge import Absent, Found, Reading
from glassq.cli.bench.meters import Timed
from glassq.cli.bench.ours import Ours
from glassq.cli.bench.peers.runner import DROPIN, FEMTOQUEUE, run_peer
from glassq.cli.bench.rounds import alternate, enough_jobs
from glassq.cli.bench.samples import ratios
from glassq.cli.bench.stage import Stage

_ABSENT = "femtoqueue is not installed"


def rates(stage: Stage) -> list[Found]:
    """Put jobs in one by one, run them; each round in a file, or a directory, of its own."""
    jobs = enough_jobs(lambda jobs: _ours(stage, jobs)[1], stage.sizes.seconds)
    contestants = {
        "sqlite": partial(_ours, stage, jobs),
        "dropin": partial(run_peer, DROPIN, "", jobs, stage.scratch),
    }
    installed = FEMTOQUEUE.version() is not None
    if installed:
        contestants["femtoqueue"] = partial(run_peer, FEMTOQUEUE, "", jobs, stage.scratch)
    runs = alternate(contestants, stage.sizes.rounds)
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


def _ours(stage: Stage, jobs: int) -> tuple[Timed, Timed]:
    with Ours(stage.file_url("rates")) as ours:
        return ours.enqueue(jobs), ours.process(jobs)
