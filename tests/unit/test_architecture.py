"""The house rules that no linter knows. `lint-imports` guards the floors; this guards the rest."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "glassq"
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60

LATE_IMPORTS: dict[str, str] = {
    "app.py": "only who asks for OpenTelemetry's metrics pays for their API",
    "cli/__init__.py": "the health probe starts without the packages of the command line",
    "cli/bench/command.py": "the other commands do not pay for what the benchmark needs",
    "cli/bench/program.py": "the optional extra otel",
    "cli/dashboards.py": "the other commands do not pay for making the dashboards",
    "cli/demo/command.py": "only the demo needs the extras server and otel",
    "cli/telemetry/command.py": "only the self-test needs the extras server and otel",
    "config/files.py": "the optional extra cli, for YAML",
    "observe/exporting.py": "the optional extra otel",
    "observe/spans.py": "the optional extra otel",
    "schedules/timetables.py": "the optional extra cron",
    "stores/open.py": "a program pays only for the store it uses",
    "testing/kit.py": "the optional extra otel",
    "testing/plugin.py": "every run of pytest loads it",
    "web/server.py": "the optional extra server",
}
"""Modules that may import inside functions (path below src/glassq -> why)."""

Function = ast.FunctionDef | ast.AsyncFunctionDef

each_source_file = pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix()
)
each_test_file = pytest.mark.parametrize(
    "path",
    sorted((ROOT / "tests").rglob("test_*.py")),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)


@cache
def parse(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def lines_of(path: Path) -> tuple[str, ...]:
    """The file's lines, counted from 0."""
    return tuple(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a file, nested ones too."""
    return (node for node in ast.walk(parse(path)) if isinstance(node, Function))


def imported(node: ast.AST) -> list[str]:
    """The modules an import statement names; nothing for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def own_length(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


def catches_all(handler: ast.ExceptHandler) -> bool:
    """True for `except:`, `except Exception`, `except BaseException`, alone or in a tuple, unless the
    handler only cleans up and raises again."""
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {"Exception", "BaseException"})


def checks_something(test: Function) -> bool:
    """True when a test asserts, expects an error or calls something that is named like a check."""
    called = [node.func for node in ast.walk(test) if isinstance(node, ast.Call)]
    names = [func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called]
    return any(isinstance(node, ast.Assert) for node in ast.walk(test)) or any(
        re.match(r"raises$|fail$|run$|assert_|check|expect|prove", name) for name in names
    )


def in_function(path: Path) -> Iterator[ast.AST]:
    """Import statements inside functions."""
    for function in functions(path):
        yield from (node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom))


@each_source_file
def test_nobody_imports_the_top_package(path: Path) -> None:
    """Code imports from the module that defines a name, so importing one room never loads the house."""
    found = [
        f"line {node.lineno}: {name}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported(node)
        if name == "glassq" or name.startswith(".")
    ]
    assert not found, "import from the defining module, by its full name"


@each_source_file
def test_files_have_one_duty(path: Path) -> None:
    """No file is longer than can be kept in mind: split by duty, never by length."""
    assert len(lines_of(path)) <= MAX_FILE_LINES


@each_source_file
def test_functions_fit_on_a_screen(path: Path) -> None:
    """A function longer than a screen says why, in a comment `# long: reason` at its `def`."""
    too_long = [
        f"{function.name}: {own_length(function)} lines"
        for function in functions(path)
        if own_length(function) > MAX_FUNCTION_LINES
        and not re.search(r"# long: \w+", "\n".join(lines_of(path)[function.lineno - 2 : function.lineno]))
    ]
    assert not too_long


@each_source_file
def test_imports_stand_at_the_top(path: Path) -> None:
    """Imports inside functions hide what a module needs; each file that has them is known, with a reason."""
    late = {name for node in in_function(path) for name in imported(node)}
    assert not late or path.relative_to(SOURCE).as_posix() in LATE_IMPORTS, late


def test_the_list_of_late_imports_is_true() -> None:
    """No exception outlives its cause: each listed file exists, imports late and has a reason."""
    for name, reason in LATE_IMPORTS.items():
        assert reason
        assert list(in_function(SOURCE / name)), name


@each_source_file
def test_catch_alls_are_licensed(path: Path) -> None:
    """Catching everything is allowed in three kinds of places, and each says which: `# licensed: ...`."""
    unlicensed = [
        f"line {node.lineno}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ExceptHandler)
        and catches_all(node)
        and not re.search(r"#.*\blicensed: \w+", lines_of(path)[node.lineno - 1])
    ]
    assert not unlicensed


@each_source_file
def test_sql_names_what_it_uses_twice(path: Path) -> None:
    """Numbered placeholders that are given a tuple are refused from Python 3.14 on, and warned of before."""
    numbered = [
        f"line {node.lineno}: {node.value}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\?\d", node.value)
    ]
    assert not numbered or SOURCE / "stores" / "sqlite" not in path.parents


@each_source_file
def test_modules_are_named_after_their_duty(path: Path) -> None:
    """A module called `utils` has no duty, so everything ends up in it."""
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert not re.search(r"\d$", path.stem)


def test_importing_the_package_is_cheap() -> None:
    """A health probe runs every few seconds: the top package alone loads none of the dependencies."""
    heavy = ("redis", "opentelemetry", "prometheus_client", "msgspec", "asyncio", "sqlite3")
    program = f"import sys, glassq; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_every_public_name_can_be_had_from_the_top_package() -> None:
    """`__all__` is true: each name resolves, is seen by `dir`, and an unknown one is an AttributeError."""
    program = (
        "import glassq\n"
        "assert glassq.__all__\n"
        "for name in glassq.__all__: getattr(glassq, name)\n"
        "assert set(glassq.__all__) <= set(dir(glassq))\n"
        "assert not hasattr(glassq, 'no_such_name')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@each_test_file
def test_every_test_says_what_it_promises(path: Path) -> None:
    """A test without a docstring leaves the reader of its failure guessing what was broken."""
    silent = [
        function.name
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert not silent


@each_test_file
def test_every_test_checks_something(path: Path) -> None:
    """A test that cannot fail proves nothing: each asserts, expects an error, or calls what does."""
    idle = [
        function.name
        for function in functions(path)
        if function.name.startswith("test_") and not checks_something(function)
    ]
    assert not idle
