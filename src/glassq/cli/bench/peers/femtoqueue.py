"""femtoqueue: a directory of files."""

from __future__ import annotations

from femtoqueue import FemtoQueue

from glassq.cli.bench.peers.dropin import steps_of
from glassq.cli.bench.peers.trial import Steps


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - there is no server
    """A queue in the directory."""
    return steps_of(FemtoQueue(directory, "bench"))
