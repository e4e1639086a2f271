"""The public test kit: an application under test, a clock that can be moved, the suite every store passes,
and the checker of histories.

    from glassq.testing import testing

    with testing(app) as kit:
        charge("o-1", 500)
        kit.run()

Names are loaded at their first use: the plugin for pytest is loaded by every run of pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glassq.testing.beginning import testing as testing
    from glassq.testing.clock import FakeClock as FakeClock
    from glassq.testing.kit import Kit as Kit
    from glassq.testing.seen import Events as Events
    from glassq.testing.seen import FailedAttempt as FailedAttempt
    from glassq.testing.seen import Metrics as Metrics
    from glassq.testing.seen import Sample as Sample
    from glassq.testing.sent import EnqueuedJob as EnqueuedJob
    from glassq.testing.stepping import WorkerCrashed as WorkerCrashed

_HOMES = {
    "EnqueuedJob": "sent",
    "Events": "seen",
    "FailedAttempt": "seen",
    "FakeClock": "clock",
    "Kit": "kit",
    "Metrics": "seen",
    "Sample": "seen",
    "WorkerCrashed": "stepping",
    "testing": "beginning",
}

__all__ = [  # noqa: PLE0604 - the names are strings, just not written out twice
    *sorted(_HOMES),
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'glassq.testing' has no attribute {name!r}")
    return getattr(import_module(f"glassq.testing.{home}"), name)


def __dir__() -> list[str]:
    return __all__
