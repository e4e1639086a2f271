"""Arguments of a call that other jobs give: `load.s(rows=From("extract"))`."""

from __future__ import annotations

import inspect
from typing import Any

from glassq.codec import Gift
from glassq.errors import BadOption
from glassq.model.names import nearest


class Given:
    """Stands for the result of a step: what `From` makes. Not serializable on purpose: where it is not known
    what to do with it, a call is refused."""

    __slots__ = ("gift",)

    def __init__(self, gift: Gift) -> None:
        self.gift = gift

    def __repr__(self) -> str:
        return f"From({self.gift.step!r})"


def From(step: str, *, many: bool = False) -> Any:  # noqa: N802 - in a call it reads as a value of some class
    """As an argument of a step: the result of the step of this name, which it comes after directly.

    Where several have this name, a list of their results, in the order they were written; with `many` also
    where it is one. A step that did not succeed leaves none: the parameter's default is taken then, and
    without one the attempt fails.
    """
    return Given(Gift(step, many))


def taken_out(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Gift]]:
    """A call without the arguments that steps give, and which step gives which. What follows one of them by
    position is given by name instead; `BadOption` where that cannot be, `TypeError` for no call of a task."""
    first = next((place for place, value in enumerate(args) if isinstance(value, Given)), len(args))
    named = dict(kwargs)
    parameters = list(signature.parameters.values())
    for place in range(first, len(args)):
        parameter = parameters[place] if place < len(parameters) else None
        if parameter is None or parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            shown = f"argument {place}" if parameter is None else f"argument {parameter.name!r}"
            raise BadOption("From", f"{shown} has to be given by position, and so cannot stand behind a From")
        if parameter.name in named:
            raise TypeError(f"multiple values for argument {parameter.name!r}")
        named[parameter.name] = args[place]
    given = {name: value.gift for name, value in named.items() if isinstance(value, Given)}
    return args[:first], {name: value for name, value in named.items() if name not in given}, given


def check_given(given: dict[str, Gift], known: set[str]) -> None:
    """`BadOption` for an argument that is to come from a step which the call does not come after directly."""
    for argument, gift in given.items():
        if gift.step not in known:
            problem = f"{argument!r} comes from step {gift.step!r}, which this call does not come after"
            raise BadOption("From", f"{problem} directly", nearest(gift.step, known))
