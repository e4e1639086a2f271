"""The commands for jobs that failed, from beginning to end on each store: nothing ends without a name
typed, and what comes back comes back in order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glassq.errors import JobNotFound
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


# -- dead letters ----------------------------------------------------------------------------------


def test_dead_letters_are_listed_with_their_reason(shop: Shop, glassq: Glass) -> None:
    """People see id, key and error, lowest sequence first; programs every field; and nothing is audited."""
    ids = shop.bury()
    told = glassq("dead", "list", "payments")
    assert told.code == 0
    assert [word for word in told.out.split() if word.startswith("payments/")] == ids
    assert told.out.count("exception: RuntimeError: the card is blocked") == 4
    listed = glassq("dead", "list", "payments", "--json").json
    assert [each["id"] for each in listed] == ids
    assert (listed[2]["key"], listed[2]["seq"], listed[2]["reason"]) == ("o-2", 3, "exception")
    assert told.err == ""


def test_a_list_that_is_cut_says_so(shop: Shop, glassq: Glass) -> None:
    """Nobody takes the first hundred for all there are."""
    shop.bury()
    told = glassq("dead", "list", "payments", "--limit", "2")
    assert told.out.endswith("the first 2 of 4; --limit N shows more\n")


def test_a_dead_letter_is_shown_with_its_traceback(shop: Shop, glassq: Glass) -> None:
    """The id alone names it; the traceback shows the line that failed, as it was written."""
    identifier = shop.bury()[1]
    told = glassq("dead", "show", identifier)
    assert told.code == 0
    assert "RuntimeError: the card is blocked" in told.out
    assert '    raise RuntimeError("the card is blocked")\n' in told.out
    shown = glassq("dead", "show", identifier, "--json").json
    assert (shown["id"], shown["queue"], shown["key"], shown["seq"]) == (identifier, "payments", "o-1", 2)
    assert shown["replayed"] is False
    assert "raise RuntimeError" in shown["traceback"]


def test_a_dead_letter_that_is_not_there(shop: Shop, glassq: Glass) -> None:
    """An unknown id is exit code 1 and names the command that lists the known ones."""
    shop.bury()
    told = glassq("dead", "show", "payments/nobody:1")
    assert (told.code, told.out) == (1, "")
    assert "glassq dead list payments" in told.err


def test_all_dead_letters_come_back_in_their_order(shop: Shop, glassq: Glass) -> None:
    """They run before what was enqueued since, each at its old place; the books balance."""
    ids = shop.bury()
    shop.charge("o-1", 5)
    dry = glassq("dead", "replay", "payments", "--dry-run", "--json")
    assert [(each["id"], each["was_seq"], each["seq"]) for each in dry.json["replayed"]] == [
        (each, seq, seq) for seq, each in enumerate(ids, start=1)
    ]
    assert (dry.json["dry_run"], dry.audit) == (True, [])
    assert shop.queue("payments").stats().dead_letters == 4
    told = glassq("dead", "replay", "payments")
    assert (told.code, told.audit[0].partition(" store=")[0]) == (0, '"dead replay"')
    assert told.audit[0].endswith('queue=payments ids=all to=front result="4 replayed"')
    assert "4 dead letters of queue payments came back" in told.out
    shop.work("payments")
    assert [ran for ran in shop.ran if ran[0] == "o-1"] == [("o-1", 1), ("o-1", 2), ("o-1", 4), ("o-1", 5)]
    stats = shop.queue("payments").stats()
    assert stats.enqueued + stats.replayed == sum(stats.settled.values()) + stats.depth


def test_dead_letters_can_come_back_at_the_tail(shop: Shop, glassq: Glass) -> None:
    """At the tail they have a new place, behind what was enqueued since."""
    ids = shop.bury()
    shop.charge("o-1", 5)
    told = glassq("dead", "replay", "payments", ids[1], "--to", "tail", "--json")
    assert [(each["was_seq"], each["seq"]) for each in told.json["replayed"]] == [(2, 6)]
    shop.work("payments")
    assert shop.ran == [("o-1", 5), ("o-1", 2)]


def test_a_replay_that_gives_up_an_order_is_refused(shop: Shop, glassq: Glass) -> None:
    """The message names the job that would be left behind and every way out; nothing is changed, and the
    attempt is in the audit."""
    ids = shop.bury()
    told = glassq("dead", "replay", "payments", ids[1])
    assert (told.code, told.out) == (1, "")
    refusal = told.err.splitlines()[-1]
    for part in ("refused", ids[0], "sequence 1", "--to tail", "--force"):
        assert part in refusal
    assert "failed: refused" in told.audit[0]
    assert glassq("dead", "replay", "payments", ids[1], "--dry-run").code == 1
    assert shop.queue("payments").stats().dead_letters == 4


def test_force_asks_only_where_an_order_is_given_up(shop: Shop, glassq: Glass) -> None:
    """--force alone changes nothing that would be refused; with the queue's name typed it does. Where nothing
    would be refused, nothing is asked."""
    ids = shop.bury()
    told = glassq("dead", "replay", "payments", ids[1], "--force")
    assert (told.code, told.audit) == (1, [])
    assert ids[0] in told.err
    assert shop.queue("payments").stats().dead_letters == 4
    told = glassq("dead", "replay", "payments", ids[1], "--force", "--json", typed="payments\n")
    assert (told.code, len(told.json["replayed"])) == (0, 1)
    assert "force=yes" in told.audit[0]
    told = glassq("dead", "replay", "payments", "--force")
    assert (told.code, "Type the queue's name" in told.err) == (0, False)


def test_many_replayed_jobs_do_not_flood_the_screen(shop: Shop, glassq: Glass) -> None:
    """People see the first rows and the sum, programs all; more than one step of the store stays in order."""
    for number in range(130):
        shop.charge("o-1", number)
    shop.work("payments")
    shop.blocked = False
    assert len(glassq("dead", "replay", "payments", "--dry-run", "--json").json["replayed"]) == 130
    told = glassq("dead", "replay", "payments")
    assert "... and 110 more" in told.out
    assert told.out.count("o-1") == 20
    shop.work("payments")
    assert shop.ran == [("o-1", number) for number in range(130)]


def test_unknown_ids_are_named_and_nothing_is_replayed(shop: Shop, glassq: Glass) -> None:
    """One wrong id among right ones stops the whole replay."""
    ids = shop.bury()
    told = glassq("dead", "replay", "payments", ids[0], "payments/nobody:9")
    assert told.code == 1
    assert "payments/nobody:9" in told.err
    assert shop.queue("payments").stats().dead_letters == 4


def test_purging_dead_letters_needs_the_queues_name(shop: Shop, glassq: Glass) -> None:
    """The question says how many and where; a wrong name drops none, the right one all."""
    shop.bury()
    told = glassq("dead", "purge", "payments", typed="yes\n")
    assert (told.code, told.out, told.audit) == (1, "", [])
    assert "This drops 4 dead letters of queue payments for good." in told.err
    assert f"The store is {shop.app.storage.address}." in told.err
    assert shop.queue("payments").stats().dead_letters == 4
    told = glassq("dead", "purge", "payments", "--json", typed="payments\n")
    assert (told.code, told.json) == (0, {"queue": "payments", "key": None, "dropped": 4})
    assert told.audit[0].endswith('result="4 dropped"')
    assert shop.queue("payments").dead_letters() == []
    assert glassq("dead", "purge", "payments", "--yes").out == "0 dead letters of queue payments dropped\n"
    assert glassq("dead", "list", "payments").out == "queue payments has no dead letters\n"
    assert glassq("dead", "replay", "payments").out == "queue payments has no dead letters\n"


def test_purging_what_waits_needs_the_queues_name(shop: Shop, glassq: Glass) -> None:
    """The question says how many jobs end; what waits and what is scheduled ends, dead letters stay."""
    shop.bury()
    shop.charge("o-1", 5)
    shop.charge.options(delay=60)("o-2", 6)
    told = glassq("purge", "payments", typed="payment\n")
    assert (told.code, told.out, told.audit) == (1, "", [])
    assert "This ends 2 jobs of queue payments for good" in told.err
    assert shop.queue("payments").stats().depth == 2
    told = glassq("purge", "payments", "--json", typed="payments\n")
    assert (told.code, told.json) == (0, {"queue": "payments", "key": None, "cancelled": 2})
    assert told.audit[0].endswith('queue=payments result="2 cancelled"')
    assert shop.queue("payments").stats().settled["cancelled"] == 2
    assert shop.queue("payments").stats().dead_letters == 4
    assert glassq("purge", "payments", "--yes").out == "0 jobs of queue payments cancelled\n"
    shop.work("payments")
    assert shop.ran == []


def test_purging_one_key(shop: Shop, glassq: Glass) -> None:
    """Its jobs that wait, or its dead letters; nothing of any other key."""
    shop.bury()
    for order in ("o-1", "o-2", "o-1"):
        shop.charge(order, 5)
    told = glassq("purge", "payments", "--key", "o-1", typed="payments\n")
    assert "This ends every job of key o-1 of queue payments for good" in told.err
    assert told.out == "2 jobs of key o-1 of queue payments cancelled\n"
    assert told.audit[0].endswith('key=o-1 result="2 cancelled"')
    told = glassq("dead", "purge", "payments", "--key", "o-1", "--json", typed="payments\n")
    assert "This drops every dead letter of key o-1 of queue payments for good." in told.err
    assert told.json == {"queue": "payments", "key": "o-1", "dropped": 3}
    assert [letter.key for letter in shop.queue("payments").dead_letters()] == ["o-2"]
    shop.work("payments")
    assert shop.ran == [("o-2", 5)]


# -- halted lanes ----------------------------------------------------------------------------------


@pytest.fixture
def halted(shop: Shop) -> Shop:
    """Lane a of the bank is halted at the first of two jobs, and the lane without a key of the mails."""
    for cents in (1, 2):
        shop.move("a", cents)
        shop.greet(cents)
    shop.work("bank")
    shop.work("mails")
    shop.blocked = False
    return shop


def test_halted_lanes_are_listed(halted: Shop, glassq: Glass) -> None:
    """Each with the job it stopped at, why, and how many jobs it holds."""
    told = glassq("halted", "list", "bank")
    assert told.code == 0
    assert "exception: RuntimeError: the card is blocked" in told.out
    (lane,) = glassq("halted", "list", "bank", "--json").json
    assert (lane["key"], lane["reason"], lane["waiting"]) == ("a", "exception", 2)
    assert lane["head"] in told.out
    (lane,) = glassq("halted", "list", "mails", "--json").json
    assert lane["key"] is None


def test_a_halted_lane_is_retried(halted: Shop, glassq: Glass) -> None:
    """The job it stopped at runs again, then those behind it; no --key means the lane without one."""
    assert glassq("halted", "retry", "bank", "--key", "a").code == 0
    told = glassq("halted", "retry", "mails", "--json")
    assert told.json == {"queue": "mails", "key": None, "result": "ready"}
    assert told.audit[0].endswith("queue=mails result=ready")
    halted.work("bank")
    halted.work("mails")
    assert halted.ran == [("a", 1), ("a", 2), ("mail", 1), ("mail", 2)]
    assert glassq("halted", "list", "bank").out == "no lane of queue bank is halted\n"


def test_a_halted_lane_is_skipped_once_the_name_is_typed(halted: Shop, glassq: Glass) -> None:
    """The question names the job that ends; that one alone ends, and the lane goes on."""
    (lane,) = halted.queue("bank").halted()
    told = glassq("halted", "skip", "bank", "--key", "a")
    assert (told.code, told.audit) == (1, [])
    assert lane.head in told.err
    assert "RuntimeError: the card is blocked" in told.err
    told = glassq("halted", "skip", "bank", "--key", "a", "--json", typed="bank\n")
    assert told.json == {"queue": "bank", "key": "a", "id": lane.head, "result": "cancelled"}
    assert told.audit[0].endswith(f'key=a result="{lane.head} cancelled"')
    halted.work("bank")
    assert halted.ran == [("a", 2)]


def test_only_the_job_that_was_named_is_skipped(halted: Shop, glassq: Glass) -> None:
    """Who looked at one job does not end the one its lane has stopped at since."""
    (lane,) = halted.queue("bank").halted()
    halted.queue("bank").retry("a")
    halted.blocked = True
    halted.work("bank")
    halted.queue("bank").skip("a")
    halted.work("bank")
    (following,) = halted.queue("bank").halted()
    assert following.head != lane.head
    told = glassq("halted", "skip", "bank", "--key", "a", "--job", lane.head, "--yes")
    assert (told.code, told.out, told.audit) == (1, "", [])
    assert f"the lane of key a of queue bank is not halted at {lane.head}" in told.err
    with pytest.raises(JobNotFound, match=rf"not halted at {lane.head}.*at {following.head} now"):
        halted.queue("bank").skip("a", expected=lane.head)
    told = glassq("halted", "skip", "bank", "--key", "a", "--job", following.head, "--yes", "--json")
    assert (told.code, told.json["id"]) == (0, following.head)
    with pytest.raises(JobNotFound, match="key 'a' of queue bank is not halted;"):
        halted.queue("bank").skip("a", expected=following.head)


@pytest.mark.parametrize("verb", ["retry", "skip"])
@pytest.mark.parametrize(
    ("key", "said"), [(["--key", "b"], "the lane of key b"), ([], "the lane without a key")]
)
def test_a_lane_that_is_not_halted(verb: str, key: list[str], said: str, halted: Shop, glassq: Glass) -> None:
    """Exit code 1, no question, and the command that lists those that are."""
    told = glassq("halted", verb, "bank", *key)
    assert (told.code, told.out) == (1, "")
    assert f"error: {said} of queue bank is not halted; `glassq halted list bank`" in told.err
    assert "Type the queue's name" not in told.err
