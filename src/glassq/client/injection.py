"""Arguments of a call that other jobs give: `load.s(rows=From("extract"))`."""

from __future__ import annotations

import inspect
from typing import Any

from glassq.errors import BadOption
from glassq.model.names import nearest


class Given:
    """Stands for the result of a step: what `From` makes. Not serializable on purpose: where it is not known
    what to do with it, a call is refused."""

    __slots__ = ("step",)

    def __init__(self, step: str) -> None:
        self.step = step

    def __repr__(self) -> str:
        return f"From({self.step!r})"


def From(step: str) -> Any:  # noqa: N802 - to whoever reads a call it is a value of some class, whatever makes it
    """As an argument of a step: the result of the step of this name, which it comes after directly.

    Where several have this name, a list of their results, in the order they were submitted. A step that did
    not succeed leaves none: the parameter's default is taken then, and without one the attempt fails.
    """
    return Given(step)


def taken_out(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, str]]:
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
    given = {name: value.step for name, value in named.items() if isinstance(value, Given)}
    return args[:first], {name: value for name, value in named.items() if name not in given}, given


def check_given(given: dict[str, str], known: set[str]) -> None:
    """`BadOption` for an argument that is to come from a step which the call does not come after directly."""
    for argument, step in given.items():
        if step not in known:
            problem = f"{argument!r} comes from step {step!r}, which this call does not come after directly"
            raise BadOption("From", problem, nearest(step, known))
