"""A configuration that was checked: what an application, its queues and its workers take from it."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glassq.app import Glassq
from glassq.config.crossing import contradictions, oddities
from glassq.config.environment import fill_in, override
from glassq.config.fields import CONFIGURATION, wait_of, worker_options
from glassq.config.files import read_file
from glassq.config.reading import Reader
from glassq.config.tree import CODE, Node, Origin, plant
from glassq.errors import BadConfiguration, BadSetting, ConfigurationError
from glassq.model.names import nearest
from glassq.worker.engine import Worker

ALL_QUEUES = {"name": "worker"}
"""The worker of a configuration that describes none."""


class Configuration:
    """Settings that fit the table of fields; made by `load` and `from_dict`. Two with the same settings are
    equal. `warnings` says what is odd, each a `BadSetting`."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        origins: Mapping[str, Origin],
        warnings: Sequence[BadSetting],
    ) -> None:
        self._settings = settings
        self._origins = origins
        self.warnings = tuple(warnings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self._settings == other._settings

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Configuration of {', '.join(self._settings) or 'nothing'}>"

    def to_dict(self) -> dict[str, Any]:
        """What was given, as plain values that `from_dict` takes: times are seconds, sizes bytes. It has the
        secrets in it."""
        return copy.deepcopy(dict(self._settings))

    def get(self, path: str, default: Any = None) -> Any:
        """The setting at a path of fields, as `store.url`; `default` where none was given."""
        value: Any = self._settings
        for name in path.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return default
            value = value[name]
        return value

    def origin(self, path: str) -> Origin | None:
        """Where a setting was given; None where it was not."""
        return self._origins.get(path)

    def over(self, settings: Mapping[str, Any]) -> Configuration:
        """This one with other settings over it, field by field in groups such as `http`, whole elsewhere.
        Raises `BadConfiguration`."""
        merged = self.to_dict()
        for name, value in settings.items():
            known = merged.get(name)
            merged[name] = {**known, **value} if isinstance(known, dict) else value
        fresh = from_dict(merged)
        return Configuration(fresh.to_dict(), self._origins, self.warnings)

    # -- use ---------------------------------------------------------------------------------------------

    def application(self, **others: Any) -> Glassq:
        """A new application with these settings. `others` are what only code can give to `Glassq`, such as
        its serializer."""
        app = Glassq(**others)
        self.apply(app)
        return app

    def apply(self, app: Glassq) -> None:
        """Give an application these settings, before its first call or worker. What they leave out stays as
        it is. May be done again. Raises what `Glassq.use` raises."""
        app.use(**self.get("store", {}))
        defaults = dict(self.get("retries", {}))
        if "retry_wait" in defaults:
            defaults["retry_wait"] = wait_of(defaults["retry_wait"])
        result_ttl = self.get("result_ttl", None)
        app.defaults(**defaults if result_ttl is None else {**defaults, "result_ttl": result_ttl})
        for name, options in self.get("queues", {}).items():
            app.queue(name, **options)

    def workers(self, app: Glassq, only: str | None = None) -> dict[str, Worker]:
        """The workers by name, not started yet; with `only`, that one. `ConfigurationError` names the nearest
        where there is none of that name."""
        described = {each["name"]: each for each in self.get("workers", [ALL_QUEUES])}
        if only is not None and only not in described:
            near = nearest(only, described)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(described)}"
            raise ConfigurationError(f"the configuration has no worker {only!r}; {hint}")
        return {
            name: app.worker(**{"schedules": True, **worker_options(each)})
            for name, each in described.items()
            if only in (None, name)
        }

    def match(self, app: Glassq) -> None:
        """Compare with the queues that an application declares in code, before `apply`. `BadConfiguration`
        names those it does not know: nobody would ever fill them."""
        known = app.registry.queues()
        named = {f"queues.{name}": name for name in self.get("queues", {})}
        problems = [
            self._origins.get(path, CODE).wrong(path, _unknown(name, known), nearest(name, known))
            for path, name in (*named.items(), *self._served())
            if name not in known
        ]
        if problems:
            raise BadConfiguration(problems)

    def _served(self) -> Iterator[tuple[str, str]]:
        """Queues that workers name and `queues` does not have."""
        for place, worker in enumerate(self.get("workers", [])):
            for number, name in enumerate(worker.get("queues", ())):
                if name not in self.get("queues", {}):
                    yield f"workers[{place}].queues[{number}]", name


def _unknown(name: str, known: Sequence[str]) -> str:
    return f"the application declares no queue {name!r} (its queues: {', '.join(known) or 'none'})"


def load(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Configuration:
    """The configuration in a file ending in .yaml, .yml, .toml or .json.

    `${NAME}` and `GLASSQ__...` are looked up in `environ`, which is the process's if not given. Raises
    `BadConfiguration` with all that is wrong, and `MissingExtra` for YAML without the extra `cli`. Opens no
    store and imports no application.
    """
    problems: list[BadSetting] = []
    try:
        tree = read_file(path, problems)
    except BadSetting as error:
        raise BadConfiguration([*problems, error]) from None
    environ = os.environ if environ is None else environ
    tree = fill_in(tree, environ, problems)
    override(tree, CONFIGURATION, environ, problems)
    return _read(tree, problems)


def from_dict(settings: Mapping[str, Any]) -> Configuration:
    """The configuration that a mapping describes, with the fields of a file. No environment is looked at.

    Raises `BadConfiguration` with all that is wrong.
    """
    try:
        return _read(plant(settings, CODE), [])
    except BadSetting as error:
        raise BadConfiguration([error]) from None


def _read(tree: Node, problems: list[BadSetting]) -> Configuration:
    reader = Reader(problems)
    settings = reader.read(tree, CONFIGURATION)
    problems += contradictions(settings, reader.origins)
    if problems:
        raise BadConfiguration(sorted(problems, key=_place))
    return Configuration(settings, reader.origins, list(oddities(settings, reader.origins)))


def _place(problem: BadSetting) -> tuple[bool, int]:
    """By line; what the environment says wrong comes last."""
    return (problem.variable is not None, problem.line or 0)
