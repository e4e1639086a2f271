"""Reads what processes under test write while they write it: their histories, and their notes beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Event = dict[str, Any]
"""One line, with the number of the process whose file it is in under `pid`."""


class Tail:
    """All events of some folders, read as they come."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._read: dict[Path, int] = {}
        self._events: dict[str, list[Event]] = {}

    def look(self) -> None:
        """Read what came since the last look."""
        for folder in self._folders:
            for path in folder.glob("*.jsonl"):
                self._follow(path)

    def of(self, kinds: Sequence[str]) -> list[Event]:
        """The events of these kinds, by the host's monotonic clock where there are several kinds."""
        if len(kinds) == 1:
            return self._events.get(kinds[0], [])
        found = [event for kind in kinds or self._events for event in self._events.get(kind, ())]
        return sorted(found, key=lambda event: float(event["m"]))

    def _follow(self, path: Path) -> None:
        done = self._read.get(path, 0)
        if path.stat().st_size <= done:
            return
        with path.open("rb") as file:
            file.seek(done)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # the rest is being written at this moment
        self._read[path] = done + len(whole)
        pid = path.name.partition("-")[0]
        for line in whole.splitlines():
            event: Event = json.loads(line)
            event["pid"] = int(pid) if pid.isdecimal() else 0
            self._events.setdefault(event["e"], []).append(event)
