"""`testing(app)`: how a test begins."""

# ruff: noqa: PT028 - a function whose name begins so is no test

from __future__ import annotations

import time
from typing import Literal

from glassq.app import Glassq
from glassq.default import default_app
from glassq.errors import BadOption
from glassq.model.names import nearest
from glassq.testing.clock import FakeClock
from glassq.testing.kit import Kit


def testing(
    app: Glassq | None = None,
    mode: Literal["manual", "inline"] = "manual",
    *,
    errors: Literal["raise", "keep"] = "raise",
    spans: bool = False,
    schedules: bool = True,
    url: str = "sqlite://",
) -> Kit:
    """Put an application under test for a block, `with` or `async with`, which gets a `Kit`.

    While it lasts all calls of the application go to a store of the test's own, and a worker runs them by the
    code that runs them in production; afterwards the application is as it was before.

    `app`: None is the application behind `glassq.fifo`.
    `mode`: with "manual" calls queue up until the kit's `run`; with "inline" each is run before it returns
    its receipt, and what a job calls, after that job.
    `errors`: what jobs raise, no call does, as in production. With "raise" the kit does: the `run` or
    `advance` that ran them, or the end of the block. With "keep" it stands in `kit.failures` only.
    `spans`: keep OpenTelemetry spans; needs the extra `otel`.
    `schedules`: enqueue the slots of the application's schedules as time passes.
    `url`: another store, which must be empty; in memory unless told otherwise.

    Raises `BadOption`, and `MissingExtra` for `spans` without their package, when the block begins.
    """
    if not isinstance(app, Glassq | None):
        raise BadOption("app", f"is an application (glassq.Glassq), got {app!r}")
    _check("mode", mode, ("manual", "inline"))
    _check("errors", errors, ("raise", "keep"))
    clock = FakeClock(wall=float(int(time.time())))  # whole seconds: sums of times then have no remainder
    return Kit(
        default_app() if app is None else app,
        inline=mode == "inline",
        raises=errors == "raise",
        spans=spans,
        schedules=schedules,
        url=url,
        clock=clock,
    )


testing.__test__ = False  # type: ignore[attr-defined] # pytest would collect it where it is imported


def _check(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadOption(option, f"is one of {', '.join(known)}, got {value!r}", nearest(str(value), known))
