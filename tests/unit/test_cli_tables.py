"""What commands print: tables that lose nothing, and text from jobs that is shown and never obeyed."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console, RenderableType

from glassq.cli import cells, deadletters, escaping, halted, jobs, replay, stats
from glassq.cli.terminal import print_json
from glassq.model.jobs import DeadLetter, HaltedLane, PeekedJob, ReplayedJob
from glassq.model.stats import QueueStats

ID = "payments/9f2c41d07a6e:123456"
CRITICAL = "\x1b[31m[red]\u202eevil\x07"
"""A command to the terminal, rich's markup, a mark that turns the reading direction, a bell."""


def drawn(rows: RenderableType, columns: int = 100) -> str:
    """What a terminal of this width shows."""
    console = Console(file=io.StringIO(), width=columns, highlight=False)
    console.print(rows)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def squeezed(text: str) -> str:
    """The text without spaces and line ends, to find what was folded."""
    return "".join(text.split())


def letter(**changed: object) -> DeadLetter:
    """A dead letter like many."""
    fields: dict[str, object] = {
        "id": ID,
        "queue": "payments",
        "key": "order-4711",
        "seq": 123456,
        "task": "shop.payments.charge_the_card_of",
        "reason": "exception",
        "attempts": 4,
        "error": "RuntimeError: " + "the card of the customer is blocked and " * 20,
        "enqueued_at": 0.0,
        "buried_at": time.time() - 420,
    }
    return DeadLetter(**{**fields, **changed})  # type: ignore[arg-type]


TABLES = {
    "dead": deadletters.table([letter(), letter(key=None, error="")]),
    "halted": halted.table(
        [
            HaltedLane(
                queue="payments",
                key="order-4711",
                head=ID,
                task="shop.payments.charge",
                reason="undecodable",
                attempts=100,
                error="ValueError: " + "no such account " * 30,
                since=0.0,
                waiting=123_456,
            )
        ]
    ),
    "peek": jobs.table(
        [
            PeekedJob(
                id=ID,
                queue="payments",
                key="order-4711",
                seq=123456,
                task="shop.payments.charge_the_card_of_a_customer_who_has_one",
                priority=3,
                enqueued_at=0.0,
                size=262_144,
            )
        ]
    ),
    "replay": replay.table([ReplayedJob(id=ID, key=None, task="shop.charge", was_seq=17, seq=123456)]),
}


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_fit_and_ids_can_be_copied(name: str, columns: int) -> None:
    """On 80 and on 100 columns no line is longer, and the job's id and key stand on one line, whole."""
    shown = drawn(TABLES[name], columns)
    assert max(map(len, shown.splitlines())) <= columns
    assert ID in shown
    assert "order-4711" in shown or "(no key)" in shown


def test_names_too_long_for_a_line_are_folded_and_lose_nothing() -> None:
    """A key of 512 characters and the id in a queue of 128 are there to the last character."""
    shown = drawn(deadletters.table([letter(id="Q" * 128 + "/9f2c41d07a6e:1", key="K" * 512)]))
    assert (shown.count("Q"), shown.count("K")) == (128, 512)
    assert max(map(len, shown.splitlines())) <= 100


def test_a_long_error_is_cut_in_the_list_and_says_so() -> None:
    """The list shows the beginning of an error's first line; the rest is for `dead show`."""
    shown = drawn(deadletters.table([letter(error="RuntimeError: " + "x" * 500 + "\nsecond line")]))
    assert "…" in shown
    assert shown.count("x") < 130
    assert "second line" not in shown


def test_nothing_in_a_job_commands_the_terminal() -> None:
    """Escape sequences, markup and direction marks in errors, keys and names appear as text."""
    table = drawn(deadletters.table([letter(key=CRITICAL, task=CRITICAL, error=CRITICAL, reason="")]))
    page = drawn(
        deadletters.page(
            deadletters.Page(
                id=ID,
                queue="payments",
                key=CRITICAL,
                seq=1,
                task=CRITICAL,
                priority=3,
                reason="exception",
                attempts=1,
                error=CRITICAL,
                traceback="",
                size=1,
                replayed=True,
                enqueued_at=0.0,
                buried_at=0.0,
            )
        )
    )
    for shown in (table, page, escaping.printable_lines(f"one\n{CRITICAL}")):
        assert not set(shown) & {"\x1b", "\x07", "\u202e"}
        assert "\\x1b[31m[red]\\u202eevil\\x07" in squeezed(shown)


def test_lines_of_a_traceback_stay_lines() -> None:
    """Only what is not a line end or a tab is written out."""
    assert escaping.printable_lines("a\n\tb\x00") == "a\n    b\\x00"


def test_a_clock_behind_the_stores_shows_no_negative_age() -> None:
    """Something that happened in this machine's future happened just now."""
    assert str(cells.since(time.time() + 3600)) == "0.0 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (52, "52 s"), (420, "7 min"), (12_600, "3.5 h"), (181_440, "2.1 d")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    """Ages are shown in the unit people would use."""
    assert cells.duration(seconds) == text


def test_json_keeps_the_names_of_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    """The keys of a listed record are its fields, in their order: programs rely on them."""
    print_json([letter()])
    names = [line.split('"')[1] for line in capsys.readouterr().out.splitlines() if ":" in line]
    assert names == list(DeadLetter.__struct_fields__)


# -- stats -----------------------------------------------------------------------------------------


def crowd(queue: str) -> QueueStats:
    """A queue in every state there is, in numbers that take room."""
    return QueueStats(
        queue=queue,
        ready=12_345,
        leased=321,
        waiting_retry=1_234,
        halted=21,
        paused=123,
        scheduled=45_678,
        deferred=9,
        lanes={"ready": 12_000, "paused": 3},
        paused_keys=3,
        oldest_job_age=7_000,
        head_blocked=7_100,
        dead_letters=1_234,
        settled={"succeeded": 123_456_789},
    )


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_stats_never_cut_a_number(columns: int) -> None:
    """Where a row of figures does not fit, the figures are said in words: a cut number is a wrong number."""
    console = Console(width=columns)
    shown = drawn(stats.fitting([crowd("payments")], console), columns)
    assert max(map(len, shown.splitlines())) <= columns
    assert "…" not in shown
    for figure in ("payments", "59,731", "12,345", "45,678", "123,456,789", "3 lanes paused"):
        assert squeezed(figure) in squeezed(shown)


def test_stats_on_a_common_terminal_are_a_table() -> None:
    """A queue with no more than the usual states has its row on 80 columns."""
    found = [QueueStats(queue="payments", ready=123, lanes={"ready": 5}, settled={"succeeded": 4_567})]
    heading, row = drawn(stats.fitting(found, Console(width=80)), 80).splitlines()
    assert heading.split()[-1] == "settled"
    assert row.split()[-1] == "4,567"


def test_stats_show_what_is_paused() -> None:
    """A paused queue says so beside its name; single lanes are counted; others say nothing."""
    whole = QueueStats(queue="whole", paused=2, paused_whole=True, lanes={"paused": 2})
    lane = QueueStats(queue="lane", paused=1, lanes={"ready": 1, "paused": 1}, paused_keys=1)
    free = QueueStats(queue="free", ready=1, lanes={"ready": 1})
    lines = [line.split() for line in drawn(stats.table([whole, lane, free])).splitlines()]
    assert [line[0] for line in lines if len(line) > 4] == ["queue", "whole", "lane", "free"]
    assert [" ".join(line) for line in lines if len(line) <= 4] == ["paused", "1 lane paused"]
    assert "paused" in lines[0]
