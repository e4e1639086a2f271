"""Whether there is anything to trace with is asked before each job, and answered as things are then."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from glassq.observe import spans


@pytest.mark.parametrize("named", [False, True])
def test_a_provider_that_comes_late_is_found(monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """Also where one is named in the environment, which the library looks for itself."""
    monkeypatch.setattr(spans, "_is_named", lambda: named)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    nobody_provides = spans.asks_for_provider()
    assert nobody_provides()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider())
    assert not nobody_provides()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    assert nobody_provides()


def test_where_the_library_keeps_its_provider_elsewhere_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another version of it may."""
    monkeypatch.delattr(trace, "_TRACER_PROVIDER")
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    nobody_provides = spans.asks_for_provider()
    assert nobody_provides()
    monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
    assert not nobody_provides()
