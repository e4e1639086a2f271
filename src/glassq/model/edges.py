"""What a job waits for: the edges of a workflow's graph, as a job carries them into a store."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class EdgePolicy(StrEnum):
    """What becomes of a job whose parent did not succeed."""

    CANCEL = "cancel"
    """It is cancelled; when the parent is a dead letter, a replay of that brings it back."""
    RUN = "run"
    """It runs: any end of the parent is as good as a success."""
    WAIT = "wait"
    """It waits on, until the parent was replayed and succeeded, or somebody cancels it."""


class After(msgspec.Struct, frozen=True, gc=False):
    """A parent of a job: its id, or the position (from 0) of an earlier job of the same append; or a gate
    (`model.names.gate_of`), which is no job. `name` is the step's, for whoever reads what it left."""

    job: str | int
    policy: EdgePolicy = EdgePolicy.CANCEL
    name: str = ""
