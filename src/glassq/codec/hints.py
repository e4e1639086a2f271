"""What a task's type hints say about restoring its arguments, and its results, from JSON."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any, Optional

import msgspec


class Hint(msgspec.Struct, frozen=True):
    """The type of one parameter, or of what is returned, as far as JSON can be restored by it.

    `type` is `Any` when it cannot; `declared` says in words what the code says, for error messages. Code of
    the program's own may run when a value is restored, unless `runs_nothing`.
    """

    type: Any
    declared: str
    decoder: msgspec.json.Decoder[Any]
    runs_nothing: bool = True


def _plain(declared: str) -> Hint:
    return Hint(Any, declared, msgspec.json.Decoder())


NO_HINT = _plain("has no type hint")


def returned_hint(signature: inspect.Signature, func: Callable[..., Any]) -> Hint:
    """The hint for what the function returns; of an `async def`, for what its coroutine does. Costs as
    `hints_of`."""
    return _hint_of(signature.return_annotation, _names(func))


def hints_of(signature: inspect.Signature, func: Callable[..., Any]) -> dict[str, Hint]:
    """A hint for every parameter. Costs milliseconds; called once per task, at its first job, when all
    names its annotations mention exist."""
    names = _names(func)
    return {
        each.name: _hint_of(each.annotation, names, or_none=each.default is None)
        for each in signature.parameters.values()
    }


def _names(func: Callable[..., Any]) -> dict[str, Any]:
    names: dict[str, Any] = getattr(inspect.unwrap(func), "__globals__", {})
    return names


def _hint_of(annotation: Any, names: dict[str, Any], *, or_none: bool = False) -> Hint:
    if annotation is inspect.Parameter.empty:
        return NO_HINT
    declared = f"is declared as {_in_words(annotation)}"
    try:
        resolved = _resolve(annotation, names)
    except Exception:  # licensed: around user code, an annotation is an expression of theirs
        return _plain(f"{declared}, which names something that does not exist at run time")
    if or_none:
        resolved = Optional[resolved]  # noqa: UP045 - `x: int = None` is common, and means this
    return _usable(resolved, declared) or _plain(f"{declared}, which JSON cannot be turned back into")


def _usable(resolved: Any, declared: str) -> Hint | None:
    """None for what msgspec does not know: other classes, unions it could not tell apart."""
    try:
        parts = [*_parts(msgspec.inspect.type_info(resolved), set())]
        if any(isinstance(part, msgspec.inspect.CustomType) for part in parts):
            return None
        runs_nothing = all(type(part) in _OF_NOBODY for part in parts)
        return Hint(resolved, declared, msgspec.json.Decoder(resolved), runs_nothing)
    except Exception:  # licensed: around user code, whose classes are looked through here
        return None


def _resolve(annotation: Any, names: dict[str, Any]) -> Any:
    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    return typing.get_type_hints(holder, globalns=names, include_extras=True)["it"]


def _in_words(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _parts(info: Any, seen: set[int]) -> Iterator[Any]:
    """A described type and all that it is made of, at any depth."""
    if isinstance(info, tuple):
        for each in info:
            yield from _parts(each, seen)
    elif isinstance(info, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(info) not in seen:
        seen.add(id(info))  # classes may refer to themselves
        yield info
        for name in info.__struct_fields__:
            yield from _parts(getattr(info, name), seen)


_OF_NOBODY = frozenset(
    {
        *(msgspec.inspect.AnyType, msgspec.inspect.NoneType, msgspec.inspect.BoolType),
        *(msgspec.inspect.IntType, msgspec.inspect.FloatType, msgspec.inspect.StrType),
        *(msgspec.inspect.BytesType, msgspec.inspect.DecimalType, msgspec.inspect.UUIDType),
        *(msgspec.inspect.DateTimeType, msgspec.inspect.DateType, msgspec.inspect.TimeType),
        *(msgspec.inspect.TimeDeltaType, msgspec.inspect.LiteralType, msgspec.inspect.UnionType),
        *(msgspec.inspect.ListType, msgspec.inspect.SetType, msgspec.inspect.FrozenSetType),
        *(msgspec.inspect.TupleType, msgspec.inspect.VarTupleType, msgspec.inspect.DictType),
    }
)
"""Kinds of types whose values are made without any code of a program's own."""
