"""Arguments, envelopes and errors: what goes in comes out, or nothing goes in."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import inspect
import pickle
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassq.codec import (
    MAX_NESTING,
    ArgumentCodec,
    Envelope,
    JsonSerializer,
    Serializer,
    describe_failure,
    failure_bytes,
    open_envelope,
    read_failure,
    seal,
)
from glassq.codec.failures import MAX_MESSAGE_BYTES, MAX_TRACEBACK_BYTES
from glassq.errors import CorruptRecord, FormatMismatch, PayloadTooLarge, SerializationFailed
from glassq.model.verdicts import Failure

if TYPE_CHECKING:
    from fractions import Fraction


class Colour(enum.Enum):
    """A plain Enum: its members are not their values."""

    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass(frozen=True)
class Line:
    """A record inside a record."""

    sku: str
    price: Decimal
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Order:
    """A record with everything in it."""

    id: uuid.UUID
    placed: dt.datetime
    lines: list[Line]
    note: str | None = None
    parent: Order | None = None


@dataclasses.dataclass
class RushOrder(Order):
    """More than its base says: decoded as the base, `hours` would be lost."""

    hours: int = 1


@dataclasses.dataclass(eq=False)
class Incomparable:
    """Two with equal fields are not equal."""

    when: dt.date
    extra: Any = None


@dataclasses.dataclass(eq=False)
class Marker:
    """No fields, and equal to nothing but itself."""


class Point(msgspec.Struct):
    """A Struct."""

    x: float
    y: float


class Opaque:
    """A class no serializer knows."""


class Touchy:
    """Cannot be compared."""

    def __eq__(self, other: object) -> bool:
        message = "do not compare me"
        raise RuntimeError(message)

    __hash__ = None  # type: ignore[assignment]


class PickleSerializer:
    """A serializer that restores types by itself."""

    name = "pickle"

    def dumps(self, value: Any) -> bytes:
        """Any picklable value."""
        return pickle.dumps(value)

    def loads(self, data: bytes) -> Any:
        """The value."""
        return pickle.loads(data)


def codec_of(func: Callable[..., Any], serializer: Serializer | None = None) -> ArgumentCodec:
    """The codec of a task made of this function."""
    return ArgumentCodec(inspect.signature(func), func, serializer or JsonSerializer(), "shop.task")


def through(func: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a task receives when it is enqueued with these arguments."""
    codec = codec_of(func)
    return codec.decode(codec.encode(args, kwargs))


def charge(order_id: str, cents: int = 0) -> None:
    """A plain task."""


def ship(
    order: Order,
    /,
    *days: dt.date,
    colours: set[Colour] | None = None,
    by_sku: dict[str, tuple[Line, ...]] | None = None,
    **blobs: bytes,
) -> None:
    """Every kind of parameter, every kind of hint."""


def anything(value, *more, **named) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003
    """No hints at all."""


# -- round trips ---------------------------------------------------------------------------------------

moments = st.datetimes(timezones=st.none() | st.just(dt.UTC))
prices = st.decimals(allow_nan=False, allow_infinity=False)
lines = st.builds(Line, sku=st.text(), price=prices, colour=st.sampled_from(Colour))
orders = st.recursive(
    st.builds(Order, id=st.uuids(), placed=moments, lines=st.lists(lines, max_size=3), note=st.text()),
    lambda inner: st.builds(Order, id=st.uuids(), placed=moments, lines=st.just([]), parent=inner),
    max_leaves=3,
)
plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40)
@given(
    order=orders,
    days=st.lists(st.dates(), max_size=3),
    colours=st.none() | st.sets(st.sampled_from(Colour)),
    by_sku=st.none() | st.dictionaries(st.text(), st.lists(lines, max_size=2).map(tuple), max_size=2),
    blobs=st.dictionaries(st.sampled_from(["pdf", "label", "größe"]), st.binary()),
)
def test_hinted_arguments_arrive_as_they_were_given(
    order: Order,
    days: list[dt.date],
    colours: set[Colour] | None,
    by_sku: dict[str, tuple[Line, ...]] | None,
    blobs: dict[str, bytes],
) -> None:
    """Dates, decimals, UUIDs, bytes, enums, dataclasses and containers of them come back by the hints."""
    args, kwargs = through(ship, order, *days, colours=colours, by_sku=by_sku, **blobs)
    assert args == (order, *days)
    assert kwargs == {"colours": colours, "by_sku": by_sku, **blobs}


@given(value=plain_values, more=st.lists(plain_values, max_size=2))
def test_plain_json_values_need_no_hints(value: Any, more: list[Any]) -> None:
    """What JSON can say arrives unchanged, type for type, at a task without a single hint."""
    args, kwargs = through(anything, value, *more, named=value)
    assert args == (value, *more)
    assert kwargs == {"named": value}
    assert repr(args) == repr((value, *more))


def mixed(name: str, count: int, share: float, on: bool, rest=None) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Hints for what JSON has a form of its own for, and one argument without."""


@settings(max_examples=60)
@given(
    calls=st.lists(
        st.tuples(
            st.text(),
            st.integers(-(2**70), 2**70),
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
            plain_values,
        ),
        min_size=2,
        max_size=4,
    )
)
def test_later_calls_are_checked_as_the_first_was(calls: list[tuple[Any, ...]]) -> None:
    """What is known of the kinds of arguments changes neither what is stored nor what arrives."""
    codec = codec_of(mixed)
    for call in calls:
        *args, last = call
        payload = codec.encode(tuple(args), {"rest": last})
        assert payload == codec_of(mixed).encode(tuple(args), {"rest": last})
        assert codec.decode(payload) == (tuple(args), {"rest": last})


def test_only_the_very_kinds_that_are_known_are_sure() -> None:
    """A number that a hint would change, or refuse, is refused as well behind calls that were right."""
    codec = codec_of(mixed)
    codec.encode(("a", 1, 0.5, True), {})
    for wrong in (("a", True, 0.5, True), ("a", 1.5, 0.5, True), (b"a", 1, 0.5, True), ("a", 1, 0.5, 1)):
        for _ in range(2):
            with pytest.raises(SerializationFailed):
                codec.encode(wrong, {})
    with pytest.raises(SerializationFailed, match="NaN"):
        codec.encode(("a", 1, float("nan"), True), {})
    with pytest.raises(SerializationFailed):
        codec.encode(("\ud800", 1, 0.5, True), {})


def test_calls_arrive_as_they_were_made() -> None:
    """Positional arguments stay positional, keyword ones keyword, and defaults are not filled in."""
    assert through(charge, "o-1") == (("o-1",), {})
    assert through(charge, "o-1", cents=5) == (("o-1",), {"cents": 5})
    assert through(charge, cents=5, order_id="o-1") == ((), {"cents": 5, "order_id": "o-1"})


def test_tuples_without_a_hint_arrive_as_lists() -> None:
    """The one liberty taken: JSON has one kind of array."""
    assert through(anything, (1, (2, 3))) == (([1, [2, 3]],), {})


def test_structs_and_incomparable_records_arrive() -> None:
    """A record that cannot be compared as a whole is compared by its fields."""

    def plot(point: Point, record: Incomparable, marker: Marker) -> None: ...

    given = (Point(1, 2.5), Incomparable(dt.date(2024, 2, 29), [1]), Marker())
    (point, record, marker), _ = through(plot, *given)
    assert isinstance(marker, Marker)
    assert point == Point(1, 2.5)
    assert (record.when, record.extra) == (dt.date(2024, 2, 29), [1])


def test_none_as_default_makes_a_hint_optional() -> None:
    """`x: int = None` is common; None is accepted there, and given dates are still restored."""

    def old_style(when: dt.date = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert through(old_style, None) == ((None,), {})
    assert through(old_style, dt.date(2020, 1, 1)) == ((dt.date(2020, 1, 1),), {})


def test_large_integers_and_aware_times_are_exact() -> None:
    """No rounding of integers beyond 64 bits; an aware time stays the same instant."""

    def exact(number: int, when: dt.datetime) -> None: ...

    when = dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    (number, back), _ = through(exact, -(2**90), when)
    assert number == -(2**90)
    assert back.astimezone(dt.UTC) == when.astimezone(dt.UTC)


def test_times_json_would_round_are_refused() -> None:
    """Offsets with seconds, as zones had before 1940, have no form in RFC 3339."""
    when = dt.datetime(1890, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam"))
    with pytest.raises(SerializationFailed, match="another value"):
        codec_of(hinted).encode((when,), {})


def test_hints_that_cannot_be_used_pass_plain_values_on() -> None:
    """Unresolvable names, foreign classes and ambiguous unions do not stop a task that gets plain JSON."""

    def tolerant(a: Fraction, b: Opaque, c: dt.date | str, d: Callable[[], int], e: list[Opaque]) -> None: ...

    assert through(tolerant, "1/2", {"x": 1}, "2020", 4, [None]) == (("1/2", {"x": 1}, "2020", 4, [None]), {})


def test_hints_are_resolved_at_the_first_call() -> None:
    """A task may be decorated before the classes its hints name exist."""
    names: dict[str, Any] = {"__name__": "later"}
    exec("def task(when: 'Moment'): ...", names)
    codec = codec_of(names["task"])
    names["Moment"] = dt.date
    assert codec.decode(codec.encode((dt.date(2020, 1, 1),), {})) == ((dt.date(2020, 1, 1),), {})


# -- calls that are refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required argument: 'order_id'"),
        (("o", 1, 2), {}, "too many positional arguments"),
        (("o",), {"cent": 1}, "unexpected keyword argument 'cent'"),
        (("o",), {"order_id": "o"}, "multiple values for argument 'order_id'"),
    ],
)
def test_calls_the_task_does_not_take_are_type_errors(
    args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
) -> None:
    """As in a direct call: a TypeError that names the function, every time and not only the first."""
    codec = codec_of(charge)
    codec.encode(("o", 1), {})
    for _ in range(2):
        with pytest.raises(TypeError, match=rf"^charge\(\) .*{problem}"):
            codec.encode(args, kwargs)


def test_keyword_only_parameters_without_default_are_required() -> None:
    """Counting positional arguments is not enough to know that a call is complete."""

    def strict(a: int, *, b: int) -> None: ...

    with pytest.raises(TypeError, match="missing a required"):
        codec_of(strict).encode((1,), {})
    assert through(strict, 1, b=2) == ((1,), {"b": 2})


def test_endless_keyword_names_are_not_remembered_endlessly() -> None:
    """A task with `**kwargs` may be called in countless shapes; checking them takes bounded memory."""
    codec = codec_of(anything)
    for number in range(600):
        codec.encode((1,), {f"name{number}": 1})
    assert len(codec._known_shapes) <= 256


def hinted(when: dt.datetime, count: int = 0, **named: float) -> None:
    """Two hints to miss."""


@pytest.mark.parametrize(
    ("func", "args", "kwargs", "words"),
    [
        (hinted, ("tomorrow",), {}, ["'when'", "datetime", "given str"]),
        (hinted, (dt.date(2020, 1, 1),), {}, ["'when'", "datetime", "given date"]),
        (hinted, (dt.datetime(2020, 1, 1), "5"), {}, ["'count'", "int", "given str"]),  # noqa: DTZ001
        (hinted, (dt.datetime(2020, 1, 1), True), {}, ["'count'", "int", "given bool"]),  # noqa: DTZ001
        (hinted, (dt.datetime(2020, 1, 1),), {"tax": "x"}, ["'tax'", "float", "given str"]),  # noqa: DTZ001
        (charge, (uuid.UUID(int=1),), {}, ["'order_id'", "str", "given UUID"]),
        (charge, (Colour.RED,), {}, ["'order_id'", "str", "given Colour"]),
        (charge, (Opaque(),), {}, ["'order_id'", "given Opaque"]),
        (anything, (1, Opaque()), {}, ["'more[0]'", "given Opaque"]),
        (anything, (1,), {"it": dt.date(2020, 1, 1)}, ["'it'", "no type hint", "date", "as str"]),
        (anything, ([{"at": [1, Decimal(1)]}],), {}, ["'value'", "value[0]['at'][1]", "Decimal"]),
        (anything, ({1: "one"},), {}, ["'value'", "keys", "int"]),
        (anything, ({1, 2},), {}, ["'value'", "set", "list"]),
        (anything, (b"raw",), {}, ["'value'", "bytes", "str"]),
        (anything, (Colour.RED,), {}, ["'value'", "Colour", "str"]),
        (anything, (Point(1, 2),), {}, ["'value'", "Point", "dict"]),
        (anything, (Touchy(),), {}, ["'value'", "Touchy"]),
        (anything, ("\ud800",), {}, ["'value'", "surrogates"]),
    ],
)
def test_arguments_that_would_arrive_changed_are_refused(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], words: list[str]
) -> None:
    """The producer is told now, with the task, the argument, what it is declared as and what was given."""
    with pytest.raises(SerializationFailed) as caught:
        codec_of(func).encode(args, kwargs)
    assert all(word in str(caught.value) for word in ["shop.task", *words])


def test_parts_a_hint_does_not_cover_are_refused() -> None:
    """A subclass with more fields, and a union JSON cannot tell apart, would lose something on the way."""

    def base(order: Order) -> None: ...

    def either(it: Order | Line) -> None: ...

    rush = RushOrder(uuid.UUID(int=1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), [], hours=2)
    with pytest.raises(SerializationFailed, match="given RushOrder and would arrive as Order"):
        codec_of(base).encode((rush,), {})
    with pytest.raises(SerializationFailed, match=r"JSON cannot be turned back into.*Line"):
        codec_of(either).encode((Line("a", Decimal(1)),), {})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [None, {"a": (x,)}], lambda x: Point(x, 1.0)])
def test_numbers_json_does_not_have_are_refused(number: float, wrap: Callable[[float], Any]) -> None:
    """NaN and infinity never become null without a word, at any depth, beside real Nones."""

    def optional(value: float | None) -> None: ...

    with pytest.raises(ValueError, match="NaN and infinity"):
        JsonSerializer().dumps(wrap(number))
    with pytest.raises(SerializationFailed, match="NaN and infinity"):
        codec_of(anything).encode((None, wrap(number)), {})
    with pytest.raises(SerializationFailed, match="NaN and infinity"):
        codec_of(optional).encode((number,), {})


def nested(levels: int) -> Any:
    """Lists and objects by turns, with brackets and quotes in texts to count wrongly."""
    value: Any = '"[{\\'
    for level in range(levels):
        value = [value, '\\"]'] if level % 2 else {'{"[\\\\': value}
    return value


def test_nesting_is_limited() -> None:
    """64 levels pass, one more does not; width does not count, nor do brackets inside texts."""
    json = JsonSerializer()
    wide = [nested(3) for _ in range(300)]
    assert json.loads(json.dumps(wide)) == wide
    assert json.loads(json.dumps(nested(MAX_NESTING))) == nested(MAX_NESTING)
    for levels in (MAX_NESTING + 1, 500, 50_000):
        with pytest.raises(ValueError, match="64 levels"):
            json.dumps(nested(levels))


def test_a_value_that_contains_itself_is_refused() -> None:
    """A circle is an error of the caller, not a crash."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(SerializationFailed, match=r"'value'.*contains itself"):
        codec_of(anything).encode((circle,), {})


def test_too_much_data_is_refused() -> None:
    """At the limit it passes, one byte over it does not, and the error knows both sizes."""
    codec = codec_of(charge)
    size = len(codec.encode(("x" * 100,), {}))
    assert codec.encode(("x" * 100,), {}, limit=size)
    with pytest.raises(PayloadTooLarge, match=r"shop\.task") as caught:
        codec.encode(("x" * 100,), {}, limit=size - 1)
    assert (caught.value.size, caught.value.limit) == (size, size - 1)
    with pytest.raises(PayloadTooLarge):
        codec.encode(("x" * 1_000_000,), {})


# -- the worker's side ---------------------------------------------------------------------------------


@given(data=st.binary(max_size=200) | st.text().map(str.encode) | plain_values.map(JsonSerializer().dumps))
def test_damaged_payloads_are_corrupt_records(data: bytes) -> None:
    """Whatever bytes lie in the store: either they are a call of this task, or `CorruptRecord`."""
    try:
        args, kwargs = codec_of(ship).decode(data)
    except CorruptRecord:
        return
    assert inspect.signature(ship).bind(*args, **kwargs).args == args


@pytest.mark.parametrize("payload", [b"[" * 100_000, b'[[],{"a":' + b"[" * 100_000, b'[["\xff"],{}]'])
def test_hostile_payloads_are_corrupt_records(payload: bytes) -> None:
    """Nesting beyond the stack and broken UTF-8 end as the same error as any damage."""
    for func in (charge, anything, ship):
        with pytest.raises(CorruptRecord):
            codec_of(func).decode(payload)
    with pytest.raises(CorruptRecord):
        JsonSerializer().loads(payload)


def test_a_call_for_another_signature_is_a_corrupt_record() -> None:
    """After a deployment that changed the task, jobs from before it are undecodable, not failing calls."""

    def charge_v2(order_id: str, cents: int, currency: str) -> None: ...

    def charge_v3(order_id: int, cents: int) -> None: ...

    payload = codec_of(charge).encode(("secret-1", 5), {})
    with pytest.raises(CorruptRecord, match=r"another signature.*'currency'"):
        codec_of(charge_v2).decode(payload)
    with pytest.raises(CorruptRecord, match="'order_id' is declared as int") as caught:
        codec_of(charge_v3).decode(payload)
    assert "secret" not in str(caught.value)


# -- custom serializers --------------------------------------------------------------------------------


def test_a_custom_serializer_restores_by_itself() -> None:
    """What `loads` returns is passed on as it is: hints play no part."""
    codec = codec_of(charge, PickleSerializer())
    given = (Colour.RED, {1: dt.date(2020, 1, 1)})
    assert codec.decode(codec.encode(given, {})) == (given, {})
    with pytest.raises(TypeError, match="charge"):
        codec.encode((), {})


def test_what_a_custom_serializer_raises_is_translated() -> None:
    """`SerializationFailed` with the argument and the cause, `CorruptRecord` with the cause."""
    codec = codec_of(charge, PickleSerializer())
    with pytest.raises(
        SerializationFailed, match=r"shop\.task: argument 'cents' was given function"
    ) as caught:
        codec.encode(("o-1",), {"cents": lambda: 1})
    assert caught.value.__cause__ is not None
    with pytest.raises(CorruptRecord, match="'pickle' cannot read") as damaged:
        codec.decode(b"no pickle")
    assert isinstance(damaged.value.__cause__, pickle.UnpicklingError)


@pytest.mark.parametrize("stored", [None, [], [1, {}], [[], {1: 2}], [[], {}, 3], {"a": 1}])
def test_what_a_custom_serializer_returns_is_checked(stored: Any) -> None:
    """Anything but positional and keyword arguments is damage."""
    with pytest.raises(CorruptRecord, match="did not return the arguments"):
        codec_of(anything, PickleSerializer()).decode(pickle.dumps(stored))


def test_a_custom_serializer_returns_bytes() -> None:
    """Text instead of bytes is said at once, by the serializer's name."""

    class Texts(PickleSerializer):
        name = "texts"

        def dumps(self, value: Any) -> Any:
            return str(value)

    with pytest.raises(SerializationFailed, match="'texts' returned str instead of bytes"):
        codec_of(charge, Texts()).encode(("o-1",), {})


# -- envelopes -----------------------------------------------------------------------------------------

envelopes = st.builds(
    Envelope,
    task=st.text(),
    serializer=st.text(),
    headers=st.dictionaries(st.text(), st.text(), max_size=4),
    payload=st.binary(),
    keep=st.just(0.0) | st.floats(0.001, 1e9),
)


@given(envelope=envelopes)
def test_envelopes_come_back(envelope: Envelope) -> None:
    """Any names, headers and payload bytes, newlines and NULs included."""
    assert open_envelope(seal(envelope)) == envelope


def test_the_wire_form_is_one_line_and_the_payload() -> None:
    """The stored form is a contract between versions: it changes only with its number."""
    body = seal(Envelope("m.f", "json", {"k": "v"}, b"[[],{}]"))
    assert body == b'{"v":1,"t":"m.f","s":"json","h":{"k":"v"},"c":%d}\n[[],{}]' % CHECKSUM


CHECKSUM = crc32(b'["m.f","json",{"k":"v"}][[],{}]')


@pytest.mark.parametrize(
    ("headers", "more"),
    [(b'{"k": "v"}', b""), (b'{"\\u006b":"v"}', b""), (b'{"k":"v"}', b',"x":{"h":{}}'), (b'{"k":"v"}', b" ")],
)
def test_headers_are_read_however_they_are_written(headers: bytes, more: bytes) -> None:
    """Another writer may put blanks, escapes or fields of its own into the line: the checksum is over what it
    says."""
    body = b'{"v":1,"t":"m.f","s":"json","h":%b%b,"c":%d}\n[[],{}]' % (headers, more, CHECKSUM)
    assert open_envelope(body) == Envelope("m.f", "json", {"k": "v"}, b"[[],{}]")


def test_what_is_to_be_kept_is_said_by_those_that_ask_for_it() -> None:
    """A whole number of seconds is the same time; others say nothing of it."""
    assert b'"k":60' in seal(Envelope("m.f", "json", {}, b"", keep=60))
    assert open_envelope(seal(Envelope("m.f", "json", {}, b"", keep=60))).keep == 60.0
    assert b'"k"' not in seal(Envelope("m.f", "json", {"h": "v"}, b""))


@pytest.mark.parametrize(("headers", "keep"), [({"trace": "0af7651916cd43dd"}, 0.0), ({}, 0.0), ({}, 60.0)])
def test_no_flipped_bit_goes_unnoticed(headers: dict[str, str], keep: float) -> None:
    """Each bit of a body in turn: refused. Never other arguments, another task or other headers."""
    envelope = Envelope("m.f", "json", headers, b'[["o-1",500],{}]', keep=keep)
    body = seal(envelope)
    refused = 0
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert open_envelope(bytes(damaged)) == envelope
        except (CorruptRecord, FormatMismatch):
            refused += 1
    assert refused == len(body) * 8


@given(
    data=st.binary(max_size=300)
    | envelopes.map(seal).flatmap(
        lambda body: st.tuples(st.integers(0, len(body)), st.binary(max_size=3)).map(
            lambda cut: body[: cut[0]] + cut[1] + body[cut[0] + len(cut[1]) :]
        )
    )
)
def test_hostile_bodies_are_known_errors(data: bytes) -> None:
    """Random bytes and damaged envelopes: an envelope, `CorruptRecord` or `FormatMismatch`, nothing else."""
    try:
        envelope = open_envelope(data)
    except (CorruptRecord, FormatMismatch):
        return
    assert isinstance(envelope, Envelope)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"{}\n",
        b"null\n",
        b'{"v":1,"t":"m.f","s":"json","h":{}}',
        b'{"v":1,"t":"m.f","s":"json","h":{}}\n[[],{}]',
        b'{"v":1,"t":"m.f","s":"json","h":{},"c":1}\n[[],{}]',
        b'{"v":0,"t":"m.f","s":"json","h":{}}\n',
        b'{"v":"2","t":"m.f","s":"json","h":{}}\n',
        b'{"v":1,"t":"m.f","s":"json","h":{"a":1}}\n',
        b'{"v":1,"t":"\xff","s":"json","h":{}}\n',
        b'{"v":1,"t":"m.f","s":"json","h":{},"x":' + b"[" * 100_000 + b"\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_bodies_that_are_not_ours_are_corrupt(body: bytes) -> None:
    """Empty, truncated, mistyped, badly encoded, endlessly nested."""
    with pytest.raises(CorruptRecord):
        open_envelope(body)


@pytest.mark.parametrize("rest", [b',"t":"m.f","s":"json","h":{}', b"", b',"h":[1,{"other":"shape"}]'])
def test_newer_bodies_ask_for_an_upgrade(rest: bytes) -> None:
    """A later format is told from damage, whatever its header has become."""
    with pytest.raises(FormatMismatch, match="upgrade glassq") as caught:
        open_envelope(b'{"v":2' + rest + b"}\n...")
    assert (caught.value.found, caught.value.known) == (2, 1)


def test_headers_that_are_no_text_are_refused() -> None:
    """A lone surrogate cannot be stored: the producer hears of it."""
    with pytest.raises(SerializationFailed, match=r"m\.f"):
        seal(Envelope("m.f", "json", {"a": "\ud800"}, b""))


# -- failures ------------------------------------------------------------------------------------------


@given(failure=st.builds(Failure, st.text(max_size=50), st.text(max_size=500), st.text(max_size=500)))
def test_failures_come_back(failure: Failure) -> None:
    """Control characters, quotes and any Unicode survive, and stay on one line as JSON escapes."""
    data = failure_bytes(failure)
    assert read_failure(data) == failure
    assert not any(byte < 0x20 for byte in data)


@given(data=st.binary(max_size=200) | st.sampled_from([b"[" * 100_000, b'{"type":1}', b"null"]))
def test_reading_a_failure_never_fails(data: bytes) -> None:
    """The text explains a failure; damaged, it says so instead of adding another."""
    assert isinstance(read_failure(data), Failure)
    assert read_failure(b"x" + data).type == "unreadable"


def test_no_failure_is_not_damage() -> None:
    """Jobs that ended without an error text say that none was kept."""
    assert read_failure(b"").type == "unrecorded"


@given(message=st.text(), factor=st.integers(0, 9000))
def test_failures_are_bounded(message: str, factor: int) -> None:
    """4 KiB of message from its start, 16 KiB of traceback from its end, cut only when too long."""
    long = message * factor
    kept = read_failure(failure_bytes(Failure("E", long, long)))
    size = len(long.encode())
    assert len(kept.message.encode()) <= MAX_MESSAGE_BYTES
    assert len(kept.traceback.encode()) <= MAX_TRACEBACK_BYTES
    assert (kept.message == long) is (size <= MAX_MESSAGE_BYTES)
    assert (kept.traceback == long) is (size <= MAX_TRACEBACK_BYTES)
    assert long.startswith(kept.message.removesuffix("[... cut ...]"))
    assert long.endswith(kept.traceback.removeprefix("[... cut ...]"))


def fail(secret: str) -> None:
    """Raise with a cause, holding a secret in a local."""
    try:
        int("x")
    except ValueError as error:
        message = f"no {len(secret)}"
        raise LookupError(message) from error


def test_failures_are_described() -> None:
    """Type, message and the whole chain of the traceback, without any frame's locals."""
    with pytest.raises(LookupError) as caught:
        fail("hunter2")
    failure = describe_failure(caught.value)
    assert (failure.type, failure.message) == ("LookupError", "no 7")
    assert "in fail" in failure.traceback
    assert "ValueError: invalid literal" in failure.traceback
    assert failure.traceback.rstrip().endswith("LookupError: no 7")
    assert "hunter2" not in failure.traceback.replace('fail("hunter2")', "")


def test_glassq_own_frames_are_left_out() -> None:
    """The traceback begins where the user's code does; an error raised by glassq itself keeps its frames."""
    names: dict[str, Any] = {"__name__": "glassq.worker.attempt", "fail": fail}
    exec(compile("def run_attempt(): fail('x')\ndef own(): 1 / 0", "attempt.py", "exec"), names)
    with pytest.raises(LookupError) as caught:
        names["run_attempt"]()
    tail = caught.value.with_traceback(caught.tb.tb_next)
    assert "run_attempt" not in describe_failure(tail).traceback
    assert "in fail" in describe_failure(tail).traceback
    with pytest.raises(ZeroDivisionError) as ours:
        names["own"]()
    assert "in own" in describe_failure(ours.value.with_traceback(ours.tb.tb_next)).traceback


class Mute(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        message = "no text"
        raise RuntimeError(message)


@pytest.mark.parametrize("error", [Mute(), KeyboardInterrupt(), ValueError("\ud800\x00"), RecursionError()])
def test_any_exception_can_be_described(error: BaseException) -> None:
    """One whose `__str__` raises, one that is no Exception, one with text that has no UTF-8."""
    failure = describe_failure(error)
    assert failure.type == type(error).__qualname__
    assert read_failure(failure_bytes(failure)) == failure


def test_json_texts_are_what_documents_promise() -> None:
    """The JSON of rich values is readable by other programs: ISO times, decimals as text, base64."""
    value = [dt.date(2020, 1, 2), Decimal("1.50"), b"\x00\xff", Colour.RED, (1,), Point(1, 2)]
    text = base64.b64encode(b"\x00\xff").decode()
    assert JsonSerializer().loads(JsonSerializer().dumps(value)) == [
        "2020-01-02",
        "1.50",
        text,
        "red",
        [1],
        {"x": 1.0, "y": 2.0},
    ]
