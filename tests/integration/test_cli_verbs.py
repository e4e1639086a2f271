"""The commands that steer queues and jobs, from beginning to end on each store, and what all share."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glassq.model.leases import Owner
from tests.integration.commandline import Glass, Shop, command_line

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def shop(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An application on the store that $GLASSQ_URL names, one of each kind in turn."""
    monkeypatch.setenv("GLASSQ_URL", store_url)
    shop = Shop(store_url)
    yield shop
    shop.app.close()


@pytest.fixture
def glassq(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Glass:
    """Runs one command, with what is typed at its question."""
    return command_line(monkeypatch, capsys)


# -- pause and resume ------------------------------------------------------------------------------


def test_a_paused_queue_stands_until_it_is_resumed(shop: Shop, glassq: Glass) -> None:
    """Nothing begins in a paused queue, the figures show it, and resuming lets it go on."""
    shop.blocked = False
    shop.charge("o-1", 1)
    told = glassq("pause", "payments", "--json")
    assert told.json == {"queue": "payments", "key": None, "paused": True}
    assert told.audit[0].endswith("queue=payments result=paused")
    shop.work("payments")
    assert shop.ran == []
    assert "\npaused" in glassq("stats").out
    told = glassq("resume", "payments")
    assert (told.code, told.out) == (0, "queue payments goes on\n")
    shop.work("payments")
    assert shop.ran == [("o-1", 1)]
    assert "paused" not in glassq("stats").out


def test_a_paused_lane_stands_alone(shop: Shop, glassq: Glass) -> None:
    """Other lanes go on; resuming the queue does not lift it, and says so."""
    shop.blocked = False
    shop.charge("o-1", 1)
    shop.charge("o-2", 2)
    assert glassq("pause", "payments", "--key", "o-1").code == 0
    assert glassq("pause", "payments").code == 0
    assert "the queue is resumed" not in glassq("resume", "payments").out
    shop.work("payments")
    assert shop.ran == [("o-2", 2)]
    assert "1 lane paused" in glassq("stats").out
    assert glassq("pause", "payments").code == 0
    told = glassq("resume", "payments", "--key", "o-1")
    assert "once the queue is resumed: that is paused, too" in told.out
    assert glassq("pause", "payments", "--key", "o-1").code == 0
    shop.charge("o-1", 3)
    assert "1 lane of it paused by key stays paused" in glassq("resume", "payments").out


def test_a_key_that_was_paused_ahead_of_its_jobs_is_seen(shop: Shop, glassq: Glass) -> None:
    """It has no lane yet, and nobody wonders later why its first job does not run."""
    shop.charge("o-1", 1)
    for key in ("o-2", "o-3"):
        assert glassq("pause", "payments", "--key", key).code == 0
    assert "2 lanes paused" in glassq("stats").out
    assert glassq("stats", "--json").json[0]["paused_keys"] == 2
    assert glassq("pause", "payments").code == 0
    assert "2 lanes of it paused by key stay paused" in glassq("resume", "payments").out


def test_the_keys_that_stand_out_are_shown(shop: Shop, glassq: Glass) -> None:
    """By depth, age or how long they are held up; whatever is not shown is said."""
    for number in range(12):
        shop.move(f"o-{number % 4}", number)
    shop.move("o-3", 12)
    shop.work("bank")
    shop.queue("bank").pause("later")
    shop.move("later", 1)
    deepest = glassq("stats", "bank", "--keys", "--top", "2")
    assert deepest.code == 0
    rows = [line.split()[:3] for line in deepest.out.splitlines()]
    assert rows[:3] == [["key", "state", "jobs"], ["o-3", "halted", "4"], ["o-0", "halted", "3"]]
    assert deepest.out.endswith("the deepest of 5 lanes; --top N shows more\n")
    oldest = glassq("stats", "bank", "--keys", "--by", "age", "--json").json
    assert [each["key"] for each in oldest["keys"]] == ["o-0", "o-1", "o-2", "o-3", "later"]
    assert (oldest["lanes"], oldest["exact"]) == (5, True)
    blocked = glassq("stats", "bank", "--keys", "--by", "blocked").out
    *halted, last = [line.split()[0] for line in blocked.splitlines()[1:]]
    assert (sorted(halted), last) == (["o-0", "o-1", "o-2", "o-3"], "later")
    few = glassq("stats", "bank", "--keys", "--look", "2").out
    assert "looked at 2 of 5 lanes: others may come before these; --look N looks at more" in few
    lane = shop.queue("bank").halted()[0]
    first = shop.queue("bank").keys(1, "blocked").keys[0]
    assert (first.key, first.head, first.attempts, first.owner) == (lane.key, lane.head, 1, "")


def test_a_queue_in_which_no_key_stands_out(shop: Shop, glassq: Glass) -> None:
    """It is said in words, with exit code 0; a queue nobody knows is exit code 1."""
    shop.charge("o-1", 1)
    told = glassq("stats", "payments", "--keys", "--by", "blocked")
    assert (told.code, told.out) == (0, "no key of queue payments is held up; it has 1 lane\n")
    shop.queue("payments").purge()
    told = glassq("stats", "payments", "--keys")
    assert (told.code, told.out) == (0, "queue payments has no lanes: no job waits or runs in it\n")
    assert glassq("stats", "paymints", "--keys").code == 1


def test_who_serves_a_queue_is_shown(shop: Shop, glassq: Glass) -> None:
    """Each worker with the lanes it holds; a queue that nobody serves says so."""
    shop.charge("o-1", 1)
    told = glassq("stats", "payments", "--workers")
    assert (told.code, told.out) == (0, "nobody serves queue payments; `glassq worker MODULE:APP` does\n")
    me = Owner("till-1", "first")
    bell = shop.app.storage.listen(me, ["payments"])
    shop.app.storage.claim(me, ["payments"], lanes=2, window=1, lease_seconds=15)
    (row,) = glassq("stats", "payments", "--workers").out.splitlines()[1:]
    assert row.split()[0] == "till-1/first/0"
    assert row.split()[-2:] == ["1", "1"]
    (worker,) = glassq("stats", "payments", "--workers", "--json").json["workers"]
    assert (worker["owner"], worker["alive"], worker["lanes"]) == ("till-1/first/0", True, 1)
    if shop.app.storage.kind == "redis":
        assert (worker["host"], worker["pid"]) == (socket.gethostname(), os.getpid())
    bell.close()
    assert " gone " in glassq("stats", "payments", "--workers").out


def test_what_is_not_paused_cannot_be_resumed(shop: Shop, glassq: Glass) -> None:
    """Exit code 1, for a queue, a lane, and a name that was misspelt."""
    shop.charge("o-1", 1)
    for arguments, said in (
        (["payments"], "queue payments is not paused"),
        (["payments", "--key", "o-1"], "the lane of key o-1 of queue payments is not paused"),
        (["payment"], "there is no queue 'payment'"),
    ):
        told = glassq("resume", *arguments)
        assert (told.code, told.out) == (1, "")
        assert f"error: {said}" in told.err


# -- jobs ------------------------------------------------------------------------------------------


def test_peek_shows_the_first_jobs(shop: Shop, glassq: Glass) -> None:
    """In the order of their sequence, as many as asked for; arguments are no part of it."""
    ids = [shop.charge("o-1", 4_711_000 + number).id for number in range(12)]
    told = glassq("peek", "payments")
    assert [word for word in told.out.split() if word.startswith("payments/")] == ids[:10]
    assert "4711" not in told.out
    listed = glassq("peek", "payments", "-n", "2", "--json").json
    assert [(each["id"], each["key"], each["seq"]) for each in listed] == [
        (ids[0], "o-1", 1),
        (ids[1], "o-1", 2),
    ]
    shop.blocked = False
    shop.work("payments")
    assert glassq("peek", "payments").out == "no job waits or runs in queue payments\n"


def test_a_waiting_job_is_cancelled_once_the_name_is_typed(shop: Shop, glassq: Glass) -> None:
    """The question says which job; then it is gone, the others run, and it cannot be cancelled twice."""
    shop.blocked = False
    first, second = shop.charge("o-1", 1), shop.charge("o-1", 2)
    told = glassq("cancel", first.id)
    assert (told.code, told.audit) == (1, [])
    assert f"This cancels job {first.id} (charge) of key o-1, which is ready now." in told.err
    told = glassq("cancel", first.id, "--json", typed="payments\n")
    assert told.json == {"id": first.id, "queue": "payments", "key": "o-1", "result": "removed"}
    assert told.audit[0].endswith(f"ids={first.id} key=o-1 result=removed")
    shop.work("payments")
    assert shop.ran == [("o-1", 2)]
    for gone in (first.id, second.id):
        told = glassq("cancel", gone, "--yes")
        assert (told.code, told.out) == (1, "")
        assert gone in told.err


def test_a_running_job_is_asked(shop: Shop, glassq: Glass) -> None:
    """Its attempt is not broken off: the command says so, and that it is the task's to stop."""
    began, end = threading.Event(), threading.Event()

    @shop.app.fifo("slow", name="linger")
    def linger() -> None:
        began.set()
        assert end.wait(20)

    receipt = linger()
    with shop.app.worker(queues=["slow"]):
        assert began.wait(20)
        told = glassq("cancel", receipt.id, "--yes")
        end.set()
    assert told.code == 0
    assert "is running and was asked to stop" in told.out
    assert told.audit[0].endswith("result=asked")


def test_a_dead_letter_is_not_cancelled(shop: Shop, glassq: Glass) -> None:
    """It ended already; the message names the command that shows it."""
    identifier = shop.bury()[0]
    told = glassq("cancel", identifier, "--yes")
    assert told.code == 1
    assert f"is a dead letter; `glassq dead show {identifier}`" in told.err


# -- all of them -----------------------------------------------------------------------------------

ON_A_QUEUE = (
    ["dead", "list"],
    ["dead", "replay"],
    ["dead", "purge"],
    ["halted", "list"],
    ["halted", "retry"],
    ["halted", "skip"],
    ["pause"],
    ["resume"],
    ["peek"],
)


@pytest.mark.parametrize("command", ON_A_QUEUE, ids=" ".join)
def test_a_misspelt_queue_is_not_made(command: list[str], shop: Shop, glassq: Glass) -> None:
    """A name nobody used is a slip: exit code 1, the nearest one named, nothing asked."""
    shop.charge("o-1", 1)
    told = glassq(*command, "payment")
    assert (told.code, told.out) == (1, "")
    assert told.err.splitlines()[-1].endswith("did you mean 'payments'?")
    assert "Type the queue's name" not in told.err
    assert shop.app.storage.queues() == ["payments"]


@pytest.mark.parametrize("command", ON_A_QUEUE, ids=" ".join)
def test_what_cannot_be_a_queue_is_wrong_usage(command: list[str], shop: Shop, glassq: Glass) -> None:
    """Exit code 2 for a name with a space, for none, for a key that cannot be one."""
    shop.charge("o-1", 1)
    assert glassq(*command, "two words").code == 2
    assert glassq(*command).code == 2
    assert glassq(*command, "payments", "--key", "").code == 2


def test_a_queue_that_is_only_declared_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glassq: Glass
) -> None:
    """Through MODULE:APP a queue can be paused ahead of its first job."""
    (tmp_path / "early.py").write_text(
        f"from glassq.app import Glassq\napp = Glassq('sqlite:///{tmp_path}/early.db')\n"
        "@app.fifo('payments')\ndef charge() -> None: ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert glassq("pause", "early:app", "payments").code == 0
    assert glassq("resume", "--url", f"sqlite:///{tmp_path}/early.db", "payments").code == 0


def process(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """One command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "glassq", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_keeps_its_streams_apart(shop: Shop) -> None:
    """Standard output is one JSON document; question and audit are on standard error."""
    shop.bury()
    ended = process("dead", "purge", "payments", "--json", typed="payments\n")
    assert (ended.returncode, json.loads(ended.stdout)) == (
        0,
        {"queue": "payments", "key": None, "dropped": 4},
    )
    question, audit = ended.stderr.split("to go on: ")
    assert question.startswith("This drops 4 dead letters")
    assert " glassq.audit who=" in audit


def test_a_reader_who_has_seen_enough_is_no_error(shop: Shop) -> None:
    """`glassq peek ... | head -1` ends without a traceback."""
    for number in range(200):
        shop.charge(f"order-{number}", 1)
    command = [sys.executable, "-m", "glassq", "peek", "payments", "--limit", "1000", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        reader.stdout.close()
        assert reader.stderr.read() == ""
        assert reader.wait(timeout=60) == 1
