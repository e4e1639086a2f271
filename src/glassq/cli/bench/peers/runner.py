"""Which peers there are, and how one is run: in a process of its own, so that none is imported here."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from glassq.cli.bench.meters import MeasureFailed, Timed
from glassq.cli.bench.rawworker import URL

PATIENCE = 120.0
"""Seconds one run of a peer may take."""
_LAST_WORDS = 400


class Peer(msgspec.Struct, frozen=True):
    """One other queue: what it is called where it is installed from, and its module in this room."""

    name: str
    module: str

    def version(self) -> str | None:
        """The version that is installed here, None when it is not."""
        try:
            return version(self.name)
        except PackageNotFoundError:
            return None


OURS = Peer("glassq", "glassq")
FEMTOQUEUE = Peer("femtoqueue", "femtoqueue")
DROPIN = Peer("glassq", "dropin")
"""Our own FemtoQueue, run as the one it stands in for."""
ON_REDIS = (
    Peer("rq", "rq"),
    Peer("celery", "celery"),
    Peer("dramatiq", "dramatiq"),
    Peer("huey", "huey"),
    Peer("taskiq-redis", "taskiq"),
    Peer("pyfiq", "pyfiq"),
)


def run_peer(peer: Peer, url: str, jobs: int, scratch: Path) -> tuple[Timed, Timed]:
    """Let a peer take so many jobs one by one, then run them. `MeasureFailed` with its last words."""
    with TemporaryDirectory(dir=scratch) as own:
        command = [sys.executable, "-m", "glassq.cli.bench.peers", peer.module, str(jobs), own]
        try:
            ended = subprocess.run(  # noqa: S603 - our own modules under our own interpreter
                command,
                cwd=own,
                env={**os.environ, URL: url},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MeasureFailed(f"{peer.name} was not done within {PATIENCE:.0f} s") from None
    said = ended.stdout.strip().splitlines()
    if ended.returncode or not said:
        words = ended.stderr.strip().rpartition("\n")[2][-_LAST_WORDS:]
        raise MeasureFailed(f"{peer.name} ended with exit code {ended.returncode}: {words}")
    return msgspec.json.decode(said[-1], type=tuple[Timed, Timed])
