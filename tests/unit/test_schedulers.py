from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from glassq.errors import BadOption, QueueFull, ScheduleNotFound, StorageUnavailable
from glassq.model.events import SlotsPassed
from glassq.schedules.catalogue import Stored
from glassq.schedules.scheduler import Scheduler
from glassq.schedules.timetables import Every, Once
from tests.unit.scheduled import LEASE, QUEUE, Killed, Office

MINUTE = Every(60)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A store and its clock."""
    office = Office(tmp_path / "jobs.db")
    yield office
    office.close()


def minutes(start: float, end: float) -> list[int]:
    """The full minutes in (start, end]."""
    return list(range((int(start) // 60 + 1) * 60, int(end) + 1, 60))


@pytest.mark.parametrize("count", [2, 5])
def test_no_slot_is_missed_or_doubled_whoever_dies_and_whenever(tmp_path: Path, count: int) -> None:
    """A thousand slots under `all`: schedulers die in the middle of calls, sleep past their leases, are
    replaced, and the clock is set an hour on and back; each slot is enqueued once, in order."""
    office = Office(tmp_path / "jobs.db", seed=count)
    start = office.clock.wall()
    crew = [office.scheduler(office.declare(MINUTE, missed="all")) for _ in range(count)]
    crew[0].turn()
    office.danger = 0.03
    asleep: dict[Scheduler, float] = {}
    deaths = steps = 0
    while office.clock.wall() < start + 1_001 * 60:
        office.clock.advance(office.random.choice((5, 20, 65)))
        if office.random.random() < 0.005:
            office.clock.step_wall(3600 if steps % 2 else -3600)  # within what `all` makes up for
            steps += 1
        for place, each in enumerate(crew):
            if office.clock.monotonic() < asleep.get(each, 0):
                continue
            if office.random.random() < 0.02:
                asleep[each] = office.clock.monotonic() + office.random.choice((5, 40, 900))
                continue
            try:
                each.turn()
            except Killed:
                deaths += 1
                crew[place] = office.scheduler(office.declare(MINUTE, missed="all"))
    office.danger = 0.0
    for _ in range(270):  # until the clock is where it was before the last step, and leases are over
        office.clock.advance(LEASE)
        crew[0].turn()
    found = office.enqueued()
    assert found == minutes(start, found[-1])
    assert len(found) >= 1_000
    assert deaths > 20
    assert steps > 2
    office.close()


def test_one_of_two_leads(office: Office) -> None:
    """Until it resigns, then the other one does at once; or is not heard of for a lease."""
    office.declare(MINUTE)
    first, second = (office.scheduler(office.declare(MINUTE)) for _ in range(2))
    first.turn()
    for _ in range(6):
        office.clock.advance(10)
        assert second.turn() > 1
        assert len(office.enqueued()) == 0
        first._leadership.stand()
    first.turn()
    assert len(office.enqueued()) == 1
    first.start()
    assert first.stop()
    office.clock.advance(60)
    second.turn()
    assert len(office.enqueued()) == 2
    office.clock.advance(LEASE - 1)
    third = office.scheduler()
    third.turn()
    office.clock.advance(60)
    third.turn()
    assert len(office.enqueued()) == 3


def test_a_dead_leader_is_followed_though_the_clock_was_set_back(office: Office) -> None:
    """Its lease would last for another hour by the store's clock; this machine's says it is over."""
    office.scheduler(office.declare(MINUTE)).turn()
    office.clock.step_wall(-3600)
    process = office.process()
    heir = office.scheduler(process)
    heir.turn()
    process.add("fresh", office.task.s("fresh"), every=10)
    office.clock.advance(LEASE - 1)
    heir.turn()
    assert office.enqueued() == []
    office.clock.advance(LEASE)
    heir.turn()
    assert len(office.enqueued()) == 1


def test_a_leader_that_slept_skips_nothing(office: Office) -> None:
    """What it read before is moved by another one meanwhile: its own move is not made, its jobs are known."""
    process = office.declare(MINUTE, missed="all")
    office.scheduler(process).turn()
    office.clock.advance(60)
    [slept] = process._catalogue.all()
    now = office.clock.wall()
    office.clock.advance(120)
    heir = office.scheduler()
    heir.turn()
    assert len(office.enqueued()) == 3
    assert process._ticking.tick(slept, now) is None
    assert len(office.enqueued()) == 3
    [view] = process.all()
    assert (view.slots_enqueued, view.slots_missed, view.lag) == (3, 0, 0)


@pytest.mark.parametrize(("missed", "found", "left"), [("all", 100, 20), ("last", 1, 119), ("skip", 0, 120)])
def test_after_an_outage(office: Office, missed: str, found: int, left: int) -> None:
    """Two hours nobody led: what is made up for, what is counted as missed, and who is told."""
    told: list[SlotsPassed] = []
    office.bus.subscribe(told.append, SlotsPassed)
    daily = Every(60)
    process = office.declare(daily, missed=missed)
    office.scheduler(process).turn()
    office.clock.advance(7200 - office.clock.wall() % 60 + 60)
    office.clock.advance(0)
    office.clock.step_wall(61 if missed == "skip" else 0)
    late = len(minutes(process._catalogue.all()[0].schedule.position, office.clock.wall()))
    office.scheduler().turn()
    fresh = missed == "skip"  # the newest slot is a second old: not missed yet
    assert len(office.enqueued()) == (found + 1 if fresh else found)
    assert sum(each.missed for each in told) == late - len(office.enqueued())
    assert left <= sum(each.missed for each in told) <= left + 3
    [view] = process.all()
    assert view.slots_missed == told[0].missed


def test_what_is_declared_is_stored_and_replaced(office: Office) -> None:
    """Once per process; what was due before the change is enqueued as it was planned then."""
    office.scheduler(office.declare(MINUTE)).turn()
    office.clock.advance(60)
    changed = office.declare(Every(3600), jitter=5)
    office.scheduler(changed).turn()
    [view] = changed.all()
    assert (view.timetable, view.jitter, view.declared) == ("every 1:00:00", 5, "code")
    assert len(office.enqueued()) == 1
    assert view.next_at is not None
    assert view.next_at > office.clock.wall()


def test_a_change_of_what_is_called_moves_no_slot(office: Office) -> None:
    """The timetable stays, so does the place in it, and so does a pause."""
    process = office.declare(Every(3600))
    office.scheduler(process).turn()
    office.clock.advance(10)
    process.pause("report")
    [before] = process.all()
    office.scheduler(office.declare(Every(3600), missed="all")).turn()
    [after] = process.all()
    assert (after.next_at, after.paused, after.missed) == (before.next_at, True, "all")


def test_an_older_revision_replaces_nothing(office: Office) -> None:
    """Of two versions in a deploy the higher one stays, whichever process starts last."""
    office.scheduler(office.declare(MINUTE, revision=2)).turn()
    office.scheduler(office.declare(Every(5), revision=1)).turn()
    [view] = office.schedules.all()
    assert (view.timetable, view.revision) == ("every 0:01:00", 2)


def test_what_is_declared_no_more_is_said(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """It goes on: another program, or an older version of this one, may still want it."""
    office.scheduler(office.declare(MINUTE)).turn()
    with caplog.at_level(logging.WARNING, "glassq"):
        office.scheduler(office.declare(MINUTE, name="other")).turn()
    assert "glassq schedule remove report" in caplog.text
    assert {view.name for view in office.schedules.all()} == {"report", "other"}


def test_pause_resume_run_now_remove(office: Office) -> None:
    """A paused schedule has no slots, resumed it goes on with the next; run by hand it is beside them."""
    schedules = office.declare(MINUTE, missed="all")
    leader = office.scheduler(schedules)
    leader.turn()
    schedules.pause("report")
    office.clock.advance(300)
    leader.turn()
    assert office.enqueued() == []
    receipt = schedules.run_now("report")
    assert schedules.run_now("report").id != receipt.id
    assert (receipt.queue, office.storage.stats([QUEUE])[0].enqueued) == (QUEUE, 2)
    schedules.resume("report")
    schedules.resume("report")
    office.clock.advance(60)
    leader.turn()
    assert len(office.enqueued()) == 1
    schedules.remove("report")
    office.clock.advance(60)
    leader.turn()
    assert len(office.enqueued()) == 1
    for verb in (schedules.pause, schedules.resume, schedules.run_now, schedules.remove):
        with pytest.raises(ScheduleNotFound, match="glassq schedule list"):
            verb("report")
    assert office.queues() == [QUEUE]


def test_a_schedule_is_added_at_run_time(office: Office) -> None:
    """By every kind of timetable; a name is taken once, and what is over is refused."""
    schedules, call = office.schedules, office.task.s("x")
    schedules.add("cron", call, cron="*/5 * * * *", timezone="Europe/Stockholm")
    schedules.add("every", call, every=10, missed="skip")
    schedules.add("once", call, at=office.clock.wall() + 5)
    with pytest.raises(BadOption, match="remove it first"):
        schedules.add("every", call, every=20)
    with pytest.raises(BadOption, match="is over"):
        schedules.add("past", call, at=office.clock.wall() - 5)
    with pytest.raises(BadOption, match="give one of them"):
        schedules.add("both", call, every=1, at=office.clock.wall() + 5)
    with pytest.raises(BadOption, match="own to say"):
        schedules.add("late", office.task.options(delay=5).s("x"), every=1)
    with pytest.raises(TypeError):
        schedules.add("bare", office.task.s(), every=1)  # type: ignore[call-arg]
    leader = office.scheduler()
    leader.turn()
    office.clock.advance(10)
    leader.turn()
    once = next(view for view in schedules.all() if view.name == "once")
    assert (once.next_at, once.slots_enqueued, once.lag) == (None, 1, 0)
    assert [view.name for view in schedules.all()] == ["cron", "every", "once"]


def test_a_single_slot_that_is_over_before_it_is_stored_is_none(office: Office) -> None:
    """A new store must not run what an old program says once was to be."""
    process = office.declare(Once(int(office.clock.wall()) - 5))
    office.scheduler(process).turn()
    assert office.enqueued() == []
    assert process.all()[0].next_at is None


def test_a_full_queue_makes_slots_wait(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """They are not missed, the others are not held up, and it is said once; its lag shows."""
    schedules = office.declare(MINUTE, missed="all")
    schedules._registry.declare(QUEUE, max_length=1)
    schedules.declare("second", office.task.s("second"), Every(60))
    leader = office.scheduler(schedules)
    leader.turn()
    office.clock.advance(150)
    leader.turn()
    leader.turn()
    assert len(office.enqueued()) == 1
    assert sum("its slots wait" in record.message for record in caplog.records) == 2
    assert schedules.lags()[QUEUE] > 60
    schedules._registry.declare(QUEUE, max_length=None)
    leader.turn()
    assert len(office.enqueued()) == 4
    assert schedules.lags() == {QUEUE: 0.0}
    schedules._registry.declare(QUEUE, max_length=1)
    with pytest.raises(QueueFull):
        schedules.run_now("report")


def test_jitter_puts_jobs_off_and_not_slots(office: Office) -> None:
    """The job is scheduled within its bounds, the schedule has gone on, and the slot stays the job's."""
    schedules = office.declare(Every(3600), jitter=600)
    leader = office.scheduler(schedules)
    leader.turn()
    office.clock.advance(3600 - office.clock.wall() % 3600)
    leader.turn()
    [figures] = office.storage.stats([QUEUE])
    assert (figures.enqueued, figures.scheduled) == (1, 1)
    assert schedules.all()[0].lag == 0


def test_a_full_queue_puts_a_change_off(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """What was due before it is enqueued first; meanwhile the old declaration holds, and others are led."""
    first = office.declare(MINUTE, missed="all")
    office.scheduler(first).turn()
    office.clock.advance(180)
    changed = office.declare(Every(3600))
    changed._registry.declare(QUEUE, max_length=1)
    leader = office.scheduler(changed)
    leader.turn()
    assert "is replaced once its due slots are enqueued" in caplog.text
    assert [view.timetable for view in changed.all()] == ["every 0:01:00"]
    changed._registry.declare(QUEUE, max_length=None)
    leader.turn()
    assert [view.timetable for view in changed.all()] == ["every 1:00:00"]
    assert len(office.enqueued()) == 3


def test_the_last_schedule_gone_the_leader_goes(office: Office) -> None:
    """Nothing is written any more when there is nothing to lead."""
    process = office.declare(MINUTE)
    leader = office.scheduler(process)
    leader.turn()
    process.remove("report")
    leader.turn()
    assert not leader._leadership.leads
    assert not office.scheduler()._leadership.taken()


def test_nothing_stored_is_led_by_nobody(office: Office) -> None:
    """Without schedules a candidate only looks: no lease is taken, nothing is written."""
    leader = office.scheduler()
    assert leader.turn() > 1
    assert not leader._leadership.leads
    assert office.queues() == []


def test_one_broken_schedule_does_not_stop_the_others(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that cannot be read is logged once and left alone until it is removed."""
    office.storage.put("glassq:schedules", "schedule/broken", b"{", None)
    office.storage.put("glassq:schedules", "schedule/newer", b'{"v":99}', None)
    process = office.declare(MINUTE)
    process.declare("newer", office.task.s("newer"), MINUTE)
    leader = office.scheduler(process)
    leader.turn()
    office.clock.advance(60)
    leader.turn()
    assert len(office.enqueued()) == 1
    assert caplog.text.count("schedule broken cannot be read") == 1
    assert caplog.text.count("schedule newer has format version 99") == 2  # declared here, and read
    process.remove("broken")


def test_a_store_that_is_away_loses_no_slot(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails in the middle is done by the next turn."""
    leader = office.scheduler(office.declare(MINUTE, missed="all"))
    leader.turn()
    office.clock.advance(180)
    append = office.storage.append

    def gone(*_: object, **__: object) -> None:
        raise StorageUnavailable("away", "connection")

    monkeypatch.setattr(office.storage, "append", gone)
    leader.turn()
    assert "its slots wait: away" in caplog.text
    monkeypatch.setattr(office.storage, "append", append)
    leader.turn()
    assert len(office.enqueued()) == 3


def test_where_one_queue_is_away_the_others_have_their_turn(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long each try takes: what could not be done comes last the next time."""
    process = office.declare(MINUTE, name="a-away")
    process.declare("b-there", office.task.s("b"), MINUTE)
    leader = office.scheduler(process)
    leader.turn()
    office.clock.advance(60)
    tick = leader._ticking.tick

    def ticked(stored: Stored, now: float) -> Stored | None:
        if stored.plan.name == "b-there":
            return tick(stored, now)
        office.clock.advance(LEASE / 2)
        raise StorageUnavailable("away", "connection")

    monkeypatch.setattr(leader._ticking, "tick", ticked)
    assert leader.turn() == 0
    leader.turn()
    assert len(office.enqueued()) == 1
