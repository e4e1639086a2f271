"""`glassq config` and `glassq worker --config` as they are typed."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glassq.cli import main
from glassq.cli.configuration import EXAMPLE, reference
from glassq.config import load
from glassq.config.fields import CONFIGURATION
from glassq.config.shapes import ByName, Either, Field, Group, InOrder

Capture = pytest.CaptureFixture[str]
Typed = Callable[..., tuple[int, str, str]]

DOCS = Path(__file__).parents[2] / "docs"
SHOP = """
from glassq.app import Glassq
app = Glassq("sqlite:///shop.db")
app.fifo("payments", name="charge")(lambda: None)
app.fifo("mails", name="greet")(lambda: None)
"""
FILE = """\
app: shop:app
store: {url: 'redis://:hunter2@localhost/0'}
queues: {payments: , mails: }
workers:
- {name: pay, queues: [payments], concurrency: 2}
- {name: mail, queues: [mails]}
"""


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Typed:
    """Runs a command in a folder with an application and a file, whose text may be given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    (tmp_path / "shop.py").write_text(SHOP)

    def run(*arguments: str, file: str = FILE) -> tuple[int, str, str]:
        (tmp_path / "glassq.yaml").write_text(file)
        sys.modules.pop("shop", None)
        try:
            code = main(arguments)
        finally:
            sys.modules.pop("shop", None)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_right_file_is_ok(typed: Typed) -> None:
    """One line that says what it amounts to."""
    assert typed("config", "check", "glassq.yaml") == (0, "OK: workers pay, mail; options of 2 queues\n", "")
    assert typed("config", "check", "glassq.yaml", "--import", "--strict")[0] == 0
    assert typed("config", "check", "glassq.yaml", file="drain: 1") == (
        0,
        "OK: one worker for all queues\n",
        "",
    )


def test_every_mistake_is_a_line_and_the_exit_code_2(typed: Typed) -> None:
    """As for every wrong configuration; nothing is printed as if it were a result."""
    code, out, err = typed(
        "config", "check", "glassq.yaml", file="drian: 5\nworkers:\n- {name: a, slots: 3}\n"
    )
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: glassq.yaml:1: drian: is not a field; did you mean 'drain'?",
        "glassq.yaml:3: workers[0].slots: is not a field; did you mean 'concurrency'?",
    ]


def test_warnings_do_not_fail_unless_they_are_to(typed: Typed) -> None:
    """A warning is a line on standard error; `--strict` makes it count."""
    odd = "queues: {a: , b: }\nworkers: [{name: w, queues: [a]}]"
    code, out, err = typed("config", "check", "glassq.yaml", file=odd)
    assert code == 0
    assert out.startswith("OK: ")
    assert err == "warning: glassq.yaml:1: queues.b: no worker of this configuration serves it\n"
    assert typed("config", "check", "glassq.yaml", "--strict", file=odd)[:2] == (1, "")


def test_queues_are_compared_with_the_applications_where_that_is_asked(typed: Typed) -> None:
    """`--import` finds queues that the code does not declare, with the nearest one that it does."""
    wrong = "app: shop:app\nqueues:\n  paymnts:\n"
    assert typed("config", "check", "glassq.yaml", file=wrong)[0] == 0
    code, _, err = typed("config", "check", "glassq.yaml", "--import", file=wrong)
    assert code == 2
    assert "glassq.yaml:3: queues.paymnts: the application declares no queue" in err
    assert "did you mean 'payments'?" in err
    code, _, err = typed("config", "check", "glassq.yaml", "--import", file="drain: 1")
    assert code == 2
    assert "app: is missing" in err


def test_what_is_in_force_is_shown_with_its_origin(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line, variable or default for every field, for people and for programs, and no password."""
    monkeypatch.setenv("GLASSQ__WORKERS__MAIL__CONCURRENCY", "7")
    code, out, _ = typed("config", "show", "glassq.yaml")
    assert code == 0
    assert re.search(r"^store.url +redis://localhost:6379/0 +glassq.yaml:2 *$", out, re.MULTILINE)
    assert re.search(r"^workers\[0\].queues +payments +glassq.yaml:5 *$", out, re.MULTILINE)
    assert re.search(
        r"^workers\[1\].concurrency +7 +\$GLASSQ__WORKERS__MAIL__CONCURRENCY *$", out, re.MULTILINE
    )
    assert re.search(r"^workers\[1\].max_in_flight +16 +default *$", out, re.MULTILINE)
    assert "hunter2" not in out
    assert "http." not in out
    settings = json.loads(typed("config", "show", "--json", "glassq.yaml")[1])
    assert {
        "path": "workers[1].concurrency",
        "value": 7,
        "origin": "$GLASSQ__WORKERS__MAIL__CONCURRENCY",
    } in settings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker"], "Missing argument 'MODULE:APP' (see 'glassq worker --help')"),
        (["worker", "shop:app", "--only", "a"], "--only chooses among the workers of --config"),
        (
            ["worker", "--config", "glassq.yaml", "--queues", "a"],
            "--queues is each worker's own; write it into",
        ),
        (["worker", "--config", "glassq.yaml", "--concurrency", "4"], "--concurrency is each worker's own"),
        (["worker", "--config", "none.yaml"], "none.yaml: file: cannot be read: No such file or directory"),
        (["worker", "--config", "glassq.yaml", "--only", "mial"], "no worker 'mial'; did you mean 'mail'?"),
        (["worker", "shop:app", "--http-token-file", "shop.py"], "--http-token-file needs --http"),
        (["config", "chek"], "there is no command 'chek'; did you mean 'check'?"),
        (["config", "check"], "Missing argument 'FILE'"),
        (["config", "check", "none.yaml"], "none.yaml: file: cannot be read"),
        (["config", "show", "shop.py"], "shop.py: file: ends in .py, and is read as"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str, typed: Typed) -> None:
    """What cannot be done is said in one line, with exit code 2."""
    code, out, err = typed(*arguments, file=FILE.replace("redis://:hunter2@localhost/0", "sqlite:///shop.db"))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_file_without_an_application_asks_for_one(typed: Typed) -> None:
    """It is in the file, or typed."""
    code, _, err = typed("worker", "--config", "glassq.yaml", file="drain: 1")
    assert code == 2
    assert "glassq.yaml: app: is missing; name the application there, or as MODULE:APP" in err


def test_a_token_file_that_is_gone_is_a_line(typed: Typed) -> None:
    """The file of the token is read when it is needed; a traceback would help nobody."""
    code, _, err = typed(
        "worker", "--config", "glassq.yaml", file="app: shop:app\nhttp: {port: 0, token_file: none}"
    )
    assert code == 2
    assert "none cannot be read for the bearer token: No such file or directory" in err


# -- the reference ---------------------------------------------------------------------------------


def test_the_page_is_what_the_table_says() -> None:
    """The page does not drift: `python -m glassq.cli.configuration > docs/reference/configuration.md`."""
    assert (DOCS / "reference/configuration.md").read_text(encoding="utf-8") == reference()


def test_the_pages_example_is_right(tmp_path: Path) -> None:
    """Whoever begins by copying it begins with a file that can be used."""
    (tmp_path / "glassq.yaml").write_text(EXAMPLE)
    configuration = load(tmp_path / "glassq.yaml", {})
    assert configuration.warnings == ()
    assert len(configuration.get("workers")) == 2


def fields_of(group: Group) -> list[Field]:
    """Every row of the table, with those below it."""
    found = []
    for field in group.fields:
        found.append(field)
        shape = field.shape.group if isinstance(field.shape, Either) else field.shape
        if isinstance(shape, ByName | InOrder):
            shape = shape.each
        if isinstance(shape, Group):
            found += fields_of(shape)
    return found


def test_every_field_is_on_the_page_and_explained() -> None:
    """A row of the table is a row of the page, with a meaning that is a sentence."""
    page = reference()
    for field in fields_of(CONFIGURATION):
        assert f"| `{field.name}` |" in page
        assert field.meaning.endswith(".")


def test_no_word_leads_to_two_fields() -> None:
    """A word that people bring along is nobody's own field in its group, and leads to one alone."""
    for field in [Field("", CONFIGURATION, ""), *fields_of(CONFIGURATION)]:
        shape = field.shape.group if isinstance(field.shape, Either) else field.shape
        if isinstance(shape, ByName | InOrder):
            shape = shape.each
        if isinstance(shape, Group):
            words = [word for each in shape.fields for word in (each.name, *each.also)]
            assert len(words) == len(set(words))
