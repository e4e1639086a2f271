"""The plugin for pytest, found by itself where glassq is installed; `-p no:glassq` leaves it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from glassq.testing.kit import Kit


@pytest.fixture
def glassq_testing() -> Iterator[Callable[..., Kit]]:
    """Puts applications under test until the test ends, as `glassq.testing.testing` does for a block."""
    # Every run of pytest loads this module, and pays for what it imports.
    from glassq.testing.beginning import testing

    with ExitStack() as stack:

        def begin(*args: Any, **options: Any) -> Kit:
            return stack.enter_context(testing(*args, **options))

        yield begin
