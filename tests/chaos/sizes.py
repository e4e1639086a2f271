"""How much of everything, and the seed all chance comes from: set by the environment, never by the clock.

`CHAOS=short` (the default) or `release`; `CHAOS_SEED=<number>` repeats a run; `CHAOS_KEEP=<folder>` takes the
histories of tests that fail; `CHAOS_REPORT=<file>` gets the figures as JSON.
"""

from __future__ import annotations

import os
import secrets
from random import Random
from typing import Literal

import msgspec

Mode = Literal["short", "release"]


class Sizes(msgspec.Struct, frozen=True):
    """One run's mode and seed."""

    mode: Mode
    seed: int

    def pick(self, short: int, release: int) -> int:
        """The size of a row: how many faults, jobs or rounds."""
        return short if self.mode == "short" else release

    @property
    def budget(self) -> float:
        """Seconds a row may go on making faults. What it did not get to is missing in the figures."""
        return float(os.environ.get("CHAOS_BUDGET", "30" if self.mode == "short" else "1500"))

    def chance(self, purpose: str) -> Random:
        """A generator of its own for each test or process, so that leaving one out changes no other."""
        return Random(f"{self.seed}:{purpose}")

    def command(self, test: str) -> str:
        """What repeats one test with the same choices."""
        return f"CHAOS={self.mode} CHAOS_SEED={self.seed} python -m pytest '{test}'"


def read_environment() -> Sizes:
    """The sizes this run was asked for; `ValueError` names what cannot be used."""
    mode = os.environ.get("CHAOS", "short")
    if mode not in ("short", "release"):
        raise ValueError(f"CHAOS is short or release, got {mode!r}")
    seed = os.environ.get("CHAOS_SEED")
    if seed is not None and not seed.isdecimal():
        raise ValueError(f"CHAOS_SEED is a whole number, as printed by the run to repeat; got {seed!r}")
    return Sizes("short" if mode == "short" else "release", int(seed) if seed else secrets.randbelow(10**9))


SIZES = read_environment()
