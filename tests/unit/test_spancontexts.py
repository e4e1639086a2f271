from __future__ import annotations

import pickle

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, NonRecordingSpan, SpanContext, TraceFlags

from glassq.observe import spancontexts
from glassq.observe.spancontexts import IS_PARTS, Parts, _looked_at, below, link_to, of_parts, with_span
from glassq.observe.spans import CREATION

PARTS: Parts = (7, 8, True, TraceFlags(3), DEFAULT_TRACE_STATE, True)
CONTEXT = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(3))


def test_a_context_of_parts_is_the_librarys_own() -> None:
    """Made in one step or, where that is not known to be right, by the library."""
    assert IS_PARTS
    for made in (of_parts(PARTS), _looked_at(PARTS), pickle.loads(pickle.dumps(of_parts(PARTS)))):
        assert type(made) is SpanContext
        assert (made, repr(made), made.is_valid, made.is_remote) == (CONTEXT, repr(CONTEXT), True, True)
        assert type(made.trace_flags) is TraceFlags


def test_a_link_is_what_the_librarys_own_would_be() -> None:
    """With the same in it."""
    made = link_to(CONTEXT, CREATION)
    assert isinstance(made, Link)
    assert vars(made) == vars(Link(CONTEXT, CREATION))
    assert (made.context, made.attributes, made.dropped_attributes) == (CONTEXT, CREATION, 0)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_span_is_put_into_a_context_beside_what_is_there(
    is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which stays as it was; also where the library does not say how it does that itself."""
    assert spancontexts._KEY
    if not is_known:
        monkeypatch.setattr(spancontexts, "_KEY", None)
    before, span = Context({"own": 1}), NonRecordingSpan(CONTEXT)
    after = with_span(span, before)
    assert (before, after["own"], trace.get_current_span(after)) == ({"own": 1}, 1, span)
    assert type(after) is Context
    assert trace.get_current_span(below(CONTEXT)).get_span_context() is CONTEXT
    assert below(None) == {}
