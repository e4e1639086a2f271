"""How a producer under test is asked to end."""

from __future__ import annotations

import signal


class Ending:
    """Whether somebody asked this producer to end (SIGTERM)."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True
