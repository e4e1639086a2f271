"""Arguments out of JSON, by the hints of the task that receives them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import astuple

from glassq.codec.hints import NO_HINT, Hint, hints_of

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments."""
Reader = Callable[[bytes], Call]

_KEPT = frozenset((str, int, float, bool, type(None)))
"""What JSON has a form for that stands for nothing else."""
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class NotAsDeclared(Exception):
    """When one argument does not decode by its hint. Never leaves the codec."""

    def __init__(self, argument: str, hint: Hint, detail: str) -> None:
        super().__init__(argument)
        self.argument = argument
        self.hint = hint
        self.detail = detail


class Restorer:
    """Decodes calls of one task. Built at the first job, because hints may name what is defined later."""

    def __init__(self, signature: inspect.Signature, func: Callable[..., Any]) -> None:
        hints = hints_of(signature, func)
        parameters = signature.parameters.values()
        self._positional = [(each.name, hints[each.name]) for each in parameters if each.kind in _BY_POSITION]
        self._keywords = {each.name: hints[each.name] for each in parameters if each.kind in _BY_KEYWORD}
        rest = {each.kind: (each.name, hints[each.name]) for each in parameters}
        self._more_positional = rest.get(inspect.Parameter.VAR_POSITIONAL, ("args", NO_HINT))
        self._more_keywords = rest.get(inspect.Parameter.VAR_KEYWORD, ("kwargs", NO_HINT))[1]
        self._whole = _compile([hint.type for _, hint in self._positional])
        self._readers: dict[int, Reader] = {}
        self.runs_nothing = all(hint.runs_nothing for _, hint in self._positional)
        """Whether no code of the program's own runs when the arguments that have names are restored."""

    def restore(self, payload: bytes) -> Call:
        """The call in these bytes. `NotAsDeclared` names the argument that does not fit;
        one of `UNREADABLE` means that this is no call at all."""
        try:
            given, kwargs = self._whole.decode(payload)
        except msgspec.ValidationError:
            return self._restore_singly(payload)
        args = astuple(given)
        while args and args[-1] is UNSET:
            args = args[:-1]
        return args, (self._restore_keywords(kwargs) if kwargs else kwargs)

    def reader(self, count: int) -> Reader | None:
        """What restores calls with so many arguments by position and none by keyword, without a step in
        Python, and raises one of `UNREADABLE` for all else. None for more of them than there are parameters
        with names: of such counts there is no end."""
        if count > len(self._positional):
            return None
        if count not in self._readers:
            types = tuple(hint.type for _, hint in self._positional[:count])
            call = tuple[tuple[types], _NO_KEYWORDS]  # type: ignore[valid-type]
            self._readers[count] = msgspec.json.Decoder(call).decode
        return self._readers[count]

    def positional(self, index: int) -> tuple[str, Hint]:
        """Name and hint of the argument at this place."""
        if index < len(self._positional):
            return self._positional[index]
        name, hint = self._more_positional
        return f"{name}[{index - len(self._positional)}]", hint

    def keyword(self, name: str) -> Hint:
        """The hint of the argument given by this name."""
        return self._keywords.get(name, self._more_keywords)

    def keeps(self, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
        """Whether arguments of these types always come back as they were, if they can be serialized."""
        hints = [self.positional(index)[1] for index in range(len(args))] + [*map(self.keyword, kwargs)]
        return all(
            type(value) in _KEPT and hint.type in (Any, type(value))
            for hint, value in zip(hints, (*args, *kwargs.values()), strict=True)
        )

    def _restore_singly(self, payload: bytes) -> Call:
        """Slower: for `*args`, and to find out which argument does not fit."""
        args, kwargs = _ANY_CALL.decode(payload)
        restored = []
        for index, raw in enumerate(args):
            name, hint = self.positional(index)
            restored.append(_decode(name, hint, raw))
        return tuple(restored), self._restore_keywords(kwargs)

    def _restore_keywords(self, kwargs: dict[str, Raw]) -> dict[str, Any]:
        return {name: _decode(name, self.keyword(name), raw) for name, raw in kwargs.items()}


_ANY_CALL = msgspec.json.Decoder(tuple[list[Raw], dict[str, Raw]])
_NO_KEYWORDS = Annotated[dict[str, Raw], msgspec.Meta(max_length=0)]


def _compile(types: list[Any]) -> msgspec.json.Decoder[Any]:
    """One decoder for whole calls: a single pass through the bytes, no loop over arguments in Python."""
    fields = [(f"p{index}", each, UNSET) for index, each in enumerate(types)]
    args = msgspec.defstruct("Args", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(tuple[args, dict[str, Raw]])  # type: ignore[valid-type]


def _decode(name: str, hint: Hint, raw: Raw) -> Any:
    try:
        return hint.decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise NotAsDeclared(name, hint, str(error)) from error
