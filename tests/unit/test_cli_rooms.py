"""What the commands share: which store is meant, asking before something ends, and the audit line."""

from __future__ import annotations

import io
import logging
import logging.config
import sys
from collections.abc import Sequence

import click
import pytest

from glassq.cli import audit
from glassq.cli.asking import Refused, confirm
from glassq.cli.audit import audited
from glassq.cli.stores import NoSuchQueue, choose_store, queue_in, search
from glassq.errors import BadOption, JobNotFound

Capture = pytest.CaptureFixture[str]


# -- which store -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "url", "target", "store", "rest"),
    [
        (["payments"], None, None, "sqlite:///glassq.db", ["payments"]),
        (["shop.jobs:app", "payments"], None, "shop.jobs:app", "sqlite:///glassq.db", ["payments"]),
        (["payments"], "redis://r", None, "redis://r", ["payments"]),
        (["mail:out"], "redis://r", None, "redis://r", ["mail:out"]),
    ],
)
def test_the_store_that_is_meant(
    words: list[str], url: str | None, target: str | None, store: str, rest: list[str]
) -> None:
    """MODULE:APP comes first, unless --url says where: then a queue may have any name."""
    choice, left = choose_store(words, url, "QUEUE")
    assert (choice.target, choice.url, left) == (target, store, rest)


def test_the_environment_names_the_store_when_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """$GLASSQ_URL stands behind --url and before the default."""
    monkeypatch.setenv("GLASSQ_URL", "sqlite:///env.db")
    assert choose_store(["q"], None, "QUEUE")[0].url == "sqlite:///env.db"
    assert choose_store(["q"], "sqlite:///own.db", "QUEUE")[0].url == "sqlite:///own.db"


@pytest.mark.parametrize(
    ("words", "more", "said"),
    [
        ([], None, "Missing argument 'QUEUE'"),
        (["shop:app"], None, "Missing argument 'QUEUE'"),
        (["a", "b"], None, "unexpected extra argument (b)"),
    ],
)
def test_words_that_are_missing_or_too_many(words: list[str], more: str | None, said: str) -> None:
    """The number of words is checked before any store is opened."""
    with pytest.raises(click.UsageError) as raised:
        choose_store(words, None, "QUEUE", more=more)
    assert said in raised.value.message


def test_an_unknown_queue_names_the_nearest_or_the_first_few() -> None:
    """The message helps in a store of three queues, and does not flood the screen in one of thousands."""
    assert "did you mean 'payments'?" in NoSuchQueue("payment", "redis://r", ["mails", "payments"]).message
    assert NoSuchQueue("zzz", "redis://r", []).message.endswith("its queues: none")
    many = NoSuchQueue("zzz", "redis://r", [f"queue-{n}" for n in range(1200)]).message
    assert many.endswith("queue-7 and 1,192 more")


def test_an_id_names_its_queue() -> None:
    """A word that cannot be a job's id is wrong usage, not a job that is gone."""
    assert queue_in("payments/9f2c41d07a6e:17") == "payments"
    with pytest.raises(BadOption, match="is not a job's id"):
        queue_in("payments")


def test_a_search_reads_more_until_there_is_no_more() -> None:
    """Something far down a list is found, and what is not there ends the search."""
    limits: list[int] = []

    def read(limit: int) -> Sequence[int]:
        limits.append(limit)
        return range(min(limit, 25_000))

    assert search(read, lambda n: n == 20_000) == 20_000
    assert limits == [1_000, 10_000, 100_000]
    assert search(read, lambda n: n < 0) is None
    assert limits[3:] == [1_000, 10_000, 100_000]


# -- asking ----------------------------------------------------------------------------------------


def ask(answer: str | None, monkeypatch: pytest.MonkeyPatch, *, yes: bool = False) -> None:
    """Ask about the queue `payments`; None stands for a process without standard input."""
    monkeypatch.setattr(sys, "stdin", None if answer is None else io.StringIO(answer))
    confirm("payments", "This drops 3 dead letters.", store="redis://r/0", yes=yes)


def test_the_typed_name_of_the_queue_confirms(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Consequence and store are said before the answer, and all of it on standard error."""
    ask("payments\n", monkeypatch)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "This drops 3 dead letters.\nThe store is redis://r/0.\n" in shown.err
    assert "payments" in shown.err


@pytest.mark.parametrize("answer", ["y\n", "yes\n", "\n", "Payments\n", "payment\n"])
def test_any_other_answer_refuses(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither habit nor a slip confirms."""
    with pytest.raises(Refused, match="nothing was changed") as raised:
        ask(answer, monkeypatch)
    assert raised.value.exit_code == 1


@pytest.mark.parametrize("answer", ["", None])
def test_nobody_to_answer_refuses_and_names_the_option(
    answer: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script without a terminal is told about --yes instead of waiting or going on."""
    with pytest.raises(Refused, match="--yes"):
        ask(answer, monkeypatch)


def test_yes_asks_nothing(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """With --yes nothing is printed and nothing is read."""
    ask(None, monkeypatch, yes=True)
    assert capsys.readouterr().err == ""


# -- the audit line --------------------------------------------------------------------------------


def test_a_change_is_one_line_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """Who, what, where and the result; what was not given is left out."""
    monkeypatch.setattr(audit, "user", lambda: "ann")
    with audited("dead purge", store="redis://r/0", queue="payments", key=None) as entry:
        entry.result = "3 dropped"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        'Z glassq.audit who=ann what="dead purge" store=redis://r/0 queue=payments result="3 dropped"'
    )
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("glassq.audit", logging.INFO)


def test_a_change_that_fails_is_logged_with_its_error(capsys: Capture) -> None:
    """The error goes on its way, and the line says what prevented the change."""
    with pytest.raises(JobNotFound), audited("halted retry", store="s", queue="q", key="k"):
        raise JobNotFound("it is not halted")
    assert 'result="failed: it is not halted"' in capsys.readouterr().err


def test_an_interrupted_change_is_logged(capsys: Capture) -> None:
    """Ctrl-C in the middle leaves a trace: the change may have been made."""
    with pytest.raises(KeyboardInterrupt), audited("pause", store="s", queue="q"):
        raise KeyboardInterrupt
    assert 'result="failed: KeyboardInterrupt"' in capsys.readouterr().err


def test_values_cannot_forge_a_line_or_a_field(capsys: Capture) -> None:
    """A key with spaces, quotes, line ends or escapes stays one quoted value."""
    with audited("pause", store="s", queue="q", key='k who=eve\n"\x1b[31m') as entry:
        entry.result = "paused"
    (line,) = capsys.readouterr().err.splitlines()
    assert 'key="k who=eve\\n\\"\\u001b[31m" result=paused' in line


def test_the_line_appears_whatever_the_application_did_to_logging(capsys: Capture) -> None:
    """An application that disables loggers and raises levels when imported does not silence the audit."""
    logger = logging.getLogger("glassq.audit")
    root = logging.getLogger()
    before = root.level
    try:
        root.setLevel(logging.CRITICAL)
        logger.disabled = True
        with audited("pause", store="s", queue="q") as entry:
            entry.result = "paused"
    finally:
        root.setLevel(before)
    assert "what=pause" in capsys.readouterr().err


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run under numbers that no name belongs to."""
    monkeypatch.setattr("os.getuid", lambda: 987_654)
    assert audit.user() == "987654"
