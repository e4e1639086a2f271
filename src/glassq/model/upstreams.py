"""What the jobs before a job left for it, as its code sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from glassq.model.jobs import JobState
from glassq.model.names import nearest


class Left(msgspec.Struct, frozen=True):
    """What one job left: `load` makes its result, None where there is none."""

    name: str
    job: str
    outcome: JobState
    load: Callable[[], Any] | None


class Upstreams(Mapping[str, Any]):
    """The results of the jobs that a job came directly after, by the names of their steps.

    Where several have one name, it stands for a list, in the order in which they were submitted. Only what
    has left a result is in here: `outcomes` says how all of them ended.
    """

    def __init__(self, left: Sequence[Left]) -> None:
        self._left: dict[str, list[Left]] = {}
        for each in left:
            self._left.setdefault(each.name, []).append(each)

    def __getitem__(self, name: str) -> Any:
        """The result of this step; `KeyError` says why there is none."""
        results = self.all(name)
        if not results:
            raise KeyError(f"step {name!r} {why_nothing(self._left[name])}")
        return results if len(self._left[name]) > 1 else results[0]

    def all(self, name: str) -> list[Any]:
        """The results of all steps of this name, be it one, or none that left any; `KeyError` when the job
        comes after no such step."""
        left = self._left.get(name)
        if left is None:
            hint = nearest(name, self._left)
            known = (
                f"; did you mean {hint!r}?" if hint else f"; it comes after {', '.join(self._left) or 'none'}"
            )
            raise KeyError(f"this job comes after no step {name!r}{known}")
        return [each.load() for each in left if each.load is not None]

    def __iter__(self) -> Iterator[str]:
        return (name for name, left in self._left.items() if any(each.load is not None for each in left))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def outcomes(self) -> dict[str, tuple[JobState, ...]]:
        """How the jobs of each name ended."""
        return {name: tuple(each.outcome for each in left) for name, left in self._left.items()}

    def __repr__(self) -> str:
        # Results are left out on purpose: they may be secrets, and reprs end up in logs.
        return f"<upstream {', '.join(self._left)}>"


def why_nothing(left: Sequence[Left]) -> str:
    """Why steps of one name left nothing."""
    failed = [each for each in left if each.outcome is not JobState.SUCCEEDED]
    if not failed:
        return "left no result: it belongs to no workflow, and its task keeps none (result_ttl=)"
    return f"left no result: {failed[0].job} ended as {failed[0].outcome}"
