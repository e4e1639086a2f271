"""From the words of a command line to a living application: `MODULE:APP` and `HOST:PORT`."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType

import click

from glassq.app import Glassq
from glassq.model.names import nearest

_TARGET = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(\.[^\W\d]\w*)*)\Z")


class BadTarget(click.ClickException):
    """When `MODULE:APP` does not lead to an application."""

    exit_code = 2


def looks_like_target(word: str) -> bool:
    """Whether a word has the form `package.module:name`."""
    return _TARGET.match(word) is not None


def load_application(target: str) -> Glassq:
    """Import `MODULE:APP` with the working directory importable, as `python -m` would have it.

    `BadTarget` in one line when that leads nowhere; when the module itself raises, its own traceback is
    printed first, because only that helps its author.
    """
    match = _TARGET.match(target)
    if match is None or target.partition(":")[0].endswith(".py"):
        raise BadTarget(_misspelt(target))
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _import(match["module"])
    found: object = module
    for name in match["attribute"].split("."):
        if not hasattr(found, name):
            raise BadTarget(f"{match['module']} has no {match['attribute']!r}{_suggest(module, name)}")
        found = getattr(found, name)
    if not isinstance(found, Glassq):
        kind = type(found).__name__
        raise BadTarget(f"{target} is a {kind}, not a Glassq application{_suggest(module)}")
    return found


def _misspelt(target: str) -> str:
    if target.partition(":")[0].endswith(".py"):
        path, _, name = target.partition(":")
        module = path.removesuffix(".py").removeprefix("./").replace("/", ".")
        return f"name the module, not its file: {module}:{name or 'app'}"
    return f"{target!r} is not MODULE:APP, for example shop.jobs:app for `app = Glassq()` in shop/jobs.py"


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise BadTarget(
                f"there is no module {missing!r} in {Path.cwd()} or on the Python path; "
                "start the command in the directory that contains it"
            ) from None
        _show(error)
        raise BadTarget(f"{name} imports {missing!r}, which is not installed") from None
    except SystemExit:
        raise BadTarget(
            f"{name} ends the process when it is imported; guard that by if __name__ == '__main__'"
        ) from None
    except Exception as error:  # licensed: around user code
        _show(error)
        raise BadTarget(f"{name} cannot be imported: {type(error).__name__}, see above") from None


def _show(error: BaseException) -> None:
    """Print the traceback from the user's first line on: our frames and the import machinery say nothing."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace)
    click.echo("".join(lines), err=True, nl=False)


def _is_machinery(filename: str) -> bool:
    return filename in (__file__, importlib.__file__) or filename.startswith("<frozen importlib")


def _suggest(module: ModuleType, wanted: str | None = None) -> str:
    """What the user may have meant: an application of that module, by its name."""
    applications = [name for name, value in vars(module).items() if isinstance(value, Glassq)]
    near = nearest(wanted, applications) if wanted else None
    choice = near or (applications[0] if len(applications) == 1 else None)
    if choice:
        return f"; did you mean {module.__name__}:{choice}?"
    if applications:
        return f"; its applications: {', '.join(applications)}"
    return "; it defines no application (app = Glassq())"


class Address(click.ParamType[tuple[str, int]]):
    """`HOST:PORT`, `:PORT` (loopback) or `[IPV6]:PORT`; port 0 lets the system choose."""

    name = "host:port"

    def convert(
        self,
        value: str | tuple[str, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, int]:
        """The host without brackets, and the port."""
        if isinstance(value, tuple):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT, for example 127.0.0.1:9464", param, ctx)
        return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)
