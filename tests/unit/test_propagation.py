"""What a job's headers say of its trace is what the library's propagators say, however it was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from glassq.observe.propagation import extract

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEX = "0123456789abcdef"


@pytest.fixture
def globally() -> Iterator[None]:
    """The application's propagator, put back afterwards."""
    before = propagate.get_global_textmap()
    yield
    propagate.set_global_textmap(before)


def says(headers: Mapping[str, str]) -> trace.SpanContext:
    """What the global propagator reads."""
    return trace.get_current_span(propagate.extract(headers, context=Context())).get_span_context()


traceparents = st.one_of(
    st.builds(
        "-".join,
        st.tuples(
            st.sampled_from(["00", "01", "fe", "ff", "0g"]),
            st.sampled_from([TRACE, "0" * 32, TRACE.upper(), TRACE[1:]])
            | st.text(HEX, min_size=32, max_size=32),
            st.sampled_from([SPAN, "0" * 16]) | st.text(HEX, min_size=16, max_size=16),
            st.text(HEX, min_size=2, max_size=2),
        ),
    ),
    st.text(max_size=60),
)
around = st.sampled_from(["", " ", "\t", "\n", "-", "-what-may-come", "٣"])


@given(traceparents, around, around, st.none() | st.sampled_from(["", "a=1,b=2", "=", "x" * 600]))
def test_a_context_is_what_the_library_reads(
    traceparent: str, before: str, behind: str, tracestate: str | None
) -> None:
    """Every version, damaged or not, with or without a state."""
    headers = {"traceparent": before + traceparent + behind}
    if tracestate is not None:
        headers["tracestate"] = tracestate
    theirs = says(headers)
    found, result = extract(headers)
    assert (found, result) == ((theirs, "ok") if theirs.is_valid else (None, "invalid"))
    if found is not None:
        assert (found.is_remote, found.trace_state) == (True, theirs.trace_state)


class _Sceptic(TraceContextTextMapPropagator):
    """An application's own: it begins a trace of its own, whatever a header says."""

    def extract(self, carrier: object, context: Context | None = None, getter: object = None) -> Context:
        return context or Context()


@pytest.mark.parametrize(
    ("propagator", "result"),
    [
        (TraceContextTextMapPropagator(), "ok"),
        (CompositePropagator([W3CBaggagePropagator(), TraceContextTextMapPropagator()]), "ok"),
        (CompositePropagator([W3CBaggagePropagator()]), "missing"),
        (CompositePropagator([]), "missing"),
        (CompositePropagator([_Sceptic()]), "invalid"),
        (_Sceptic(), "invalid"),
    ],
)
def test_the_applications_propagator_decides(
    globally: None, propagator: TextMapPropagator, result: str
) -> None:
    """Whatever else could be read: of another propagator than the library's own nothing is assumed."""
    propagate.set_global_textmap(propagator)
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    assert extract(headers)[1] == result
    assert (extract(headers)[0] is not None) is says(headers).is_valid
