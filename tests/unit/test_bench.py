"""What the benchmark makes of its measurements, without measuring anything."""

from __future__ import annotations

import io
import json
import operator
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from glassq.cli import main
from glassq.cli.bench import pace
from glassq.cli.bench import run as running
from glassq.cli.bench.environment import Environment
from glassq.cli.bench.judge import Absent, Reading, Row, Verdict, exit_code, judge
from glassq.cli.bench.measures import rivals, soak
from glassq.cli.bench.measures.kills import Record, read_record
from glassq.cli.bench.meters import MeasureFailed, Tally, Timed, added_up
from glassq.cli.bench.peers.runner import DROPIN, FEMTOQUEUE, ON_REDIS, OURS, Peer
from glassq.cli.bench.report import document, table
from glassq.cli.bench.rounds import alternate, by_passes, enough_jobs, enough_passes
from glassq.cli.bench.run import Measure, Options, Report, all_targets
from glassq.cli.bench.samples import NOISE_BOUND, percentile, ratios, spread
from glassq.cli.bench.servers import RedisServer
from glassq.cli.bench.sizes import FULL, QUICK, USUAL, scaled
from glassq.cli.bench.soaking import Held
from glassq.cli.bench.stage import Stage
from glassq.cli.bench.targets import TARGETS, Judged, Target

PEERS_ROOM = Path(__file__).parents[2] / "src/glassq/cli/bench/peers"

Capture = pytest.CaptureFixture[str]

AT_LEAST = Target(key="rate", section="S", label="a ratio", unit="x", how="somehow", floor=0.5, aim=0.8)
AT_MOST = Target(
    key="cost", section="S", label="a cost", unit="ms", how="somehow", floor=3, aim=1.5, at_most=True
)
NEVER = Target(
    key="lost",
    section="S",
    label="jobs lost",
    unit="jobs",
    how="somehow",
    floor=0,
    at_most=True,
    judged=Judged.WORST,
)
SHOWN = Target(key="shown", section="S", label="a rate", unit="jobs/s", how="somehow")


# -- figures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], 0.0), ([2.0, 2.0, 2.0], 0.0), ([1.0, 2.0, 3.0], 0.5), ([10.0, 10.0, 10.0, 10.0, 90.0], 0.0)],
)
def test_the_spread_is_the_middle_half(values: Sequence[float], expected: float) -> None:
    """One value has no spread, and one round that went wrong among good ones does not make any."""
    assert spread(values) == pytest.approx(expected)


def test_a_spread_around_nothing_is_no_division() -> None:
    """A median of zero is allowed: an idle worker may use nothing at all."""
    assert spread([0.0, 0.0, 0.0]) == 0
    assert spread([-1.0, 0.0, 1.0]) == float("inf")


def test_percentiles_are_values_that_were_measured() -> None:
    """The 99th of a hundred is the last but one; of a few it is the greatest."""
    hundred = [float(n) for n in range(1, 101)]
    assert (percentile(hundred, 0.5), percentile(hundred, 0.99), percentile(hundred, 1)) == (50, 99, 100)
    assert percentile([5.0, 1.0, 3.0], 0.99) == 5


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which both were slow gives the same ratio as one in which both were fast."""
    assert ratios([10.0, 5.0], [20.0, 10.0]) == [0.5, 0.5]


def test_contestants_alternate_and_turn_round() -> None:
    """Nobody always runs first, and every round has each of them once."""
    ran: list[str] = []

    def contestant(name: str) -> int:
        ran.append(name)
        return len(ran)

    results = alternate({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, 3)
    assert ran == ["a", "b", "b", "a", "a", "b"]
    assert results == {"a": [1, 4, 5], "b": [2, 3, 6]}


@pytest.mark.parametrize(("rate", "expected"), [(100.0, 200), (50_000.0, 50_000), (1e9, 300_000)])
def test_as_many_jobs_as_fill_a_round(rate: float, expected: int) -> None:
    """The number follows from the rate, within bounds: neither a handful nor without end."""
    found = enough_jobs(lambda jobs: Timed(jobs, jobs / rate), 1.0, most=300_000)
    assert found == pytest.approx(expected, rel=0.01)


def test_a_slow_contestant_has_as_many_jobs_as_all_have_at_least() -> None:
    """Its runs last longer than they have to; it is not measured by a handful."""
    tried: list[int] = []

    def run(jobs: int) -> Timed:
        tried.append(jobs)
        return Timed(jobs, jobs / 100)

    assert enough_jobs(run, 1.0, least=1_000) == 1_000
    assert tried == [1_000]


def test_a_machine_that_gets_slower_within_a_round_does_so_for_all() -> None:
    """Each contestant runs as often before the others as after them, and what it did is added up."""
    order: list[str] = []

    def contestant(name: str) -> Timed:
        order.append(name)
        return Timed(10, 1.0 + len(order))

    runs = by_passes({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, rounds=2, passes=2)
    assert "".join(order) == "abbaabba"
    assert [run.seconds for run in runs["a"]] == [run.seconds for run in runs["b"]] == [7.0, 15.0]
    assert {run.jobs for run in (*runs["a"], *runs["b"])} == {20}


@pytest.mark.parametrize(("seconds", "passes"), [(0.1, 1), (2.0, 2), (3.9, 4), (8.0, 8)])
def test_as_many_passes_as_fill_a_round(seconds: float, passes: int) -> None:
    """There and back; once if that takes long enough. A second on average is what these take."""
    contestants = {"fast": lambda: Timed(10, 0.5), "slow": lambda: Timed(10, 1.5)}
    assert enough_passes(contestants, seconds) == passes


def test_several_runs_are_one() -> None:
    """Jobs, time and CPU of both sides are added up, so its rate is that of all."""
    assert added_up([Timed(10, 1.0, 2.0, 3.0), Timed(30, 1.0, 1.0, 1.0)]) == Timed(40, 2.0, 3.0, 4.0)


def test_a_tally_counts_from_the_first_start_to_the_last() -> None:
    """Only the last expected job says so, and jobs beyond it do not move the end."""
    tally = Tally(3)
    assert [tally.hit() for _ in range(5)] == [False, False, True, False, False]
    tally.wait(0)
    taken = tally.timed(server_cpu=5.0)
    assert taken.jobs == 2
    assert taken.server_cpu == pytest.approx(2.0)


def test_jobs_that_do_not_come_are_a_failure() -> None:
    """A queue that stands still ends the measure with how far it got."""
    tally = Tally(3)
    tally.hit()
    with pytest.raises(MeasureFailed, match="1 of 3 jobs ran"):
        tally.wait(0)


# -- verdicts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "values", "verdict"),
    [
        (AT_LEAST, (0.9, 0.9, 0.9), Verdict.AIM),
        (AT_LEAST, (0.8,), Verdict.AIM),
        (AT_LEAST, (0.6, 0.6, 0.7), Verdict.HOLDS),
        (AT_LEAST, (0.5, 0.5, 0.5), Verdict.HOLDS),
        (AT_LEAST, (0.49, 0.49, 0.49), Verdict.BELOW),
        (AT_LEAST, (0.48, 0.51, 0.52), Verdict.HOLDS),
        (AT_LEAST, (0.3, 0.6, 0.9), Verdict.NOISY),
        (AT_LEAST, (0.2, 0.45, 0.9), Verdict.NOISY),
        (AT_LEAST, (0.6, 1.5, 3.0), Verdict.HOLDS),
        (AT_LEAST, (0.9, 1.5, 3.0), Verdict.AIM),
        (AT_LEAST, (0.1, 0.2, 0.4), Verdict.BELOW),
        (AT_MOST, (1.0, 1.0, 1.1), Verdict.AIM),
        (AT_MOST, (2.9, 3.0, 3.1), Verdict.HOLDS),
        (AT_MOST, (3.1, 3.1, 3.1), Verdict.BELOW),
        (AT_MOST, (1.0, 2.0, 9.0), Verdict.NOISY),
        (AT_MOST, (4.0, 9.0, 20.0), Verdict.BELOW),
        (NEVER, (0.0, 0.0, 0.0), Verdict.HOLDS),
        (NEVER, (0.0, 0.0, 1.0), Verdict.BELOW),
        (SHOWN, (1.0, 100.0, 1000.0), Verdict.SHOWN),
    ],
)
def test_the_verdict_of_a_row(target: Target, values: tuple[float, ...], verdict: Verdict) -> None:
    """The median is judged; noise keeps a verdict back only where some rounds meet the floor and some do
    not; what must never happen must not happen in any round."""
    assert judge(target, Reading(target.key, values)).verdict is verdict


@pytest.mark.parametrize(
    ("values", "paces", "at_pace", "verdict"),
    [
        ((5.0, 5.0, 5.0), (), None, Verdict.BELOW),
        ((5.0, 5.0, 5.0), (0.5, 0.5, 0.5), 2.5, Verdict.HOLDS),
        ((2.0, 2.0, 2.0), (2.0, 2.0, 2.0), 4.0, Verdict.BELOW),
        ((4.0, 5.0, 6.0), (0.6, 0.5, 0.42), 2.5, Verdict.HOLDS),
        ((3.0, 3.0, 3.0), (0.4, 0.9, 1.4), 2.7, Verdict.NOISY),
        ((9.0, 3.0, 1.8), (0.3, 0.9, 1.5), 2.7, Verdict.NOISY),
        ((40.0, 40.0, 40.0), (0.4, 0.9, 1.4), 36.0, Verdict.BELOW),
        ((1.0, 1.0, 1.0), (0.4, 0.9, 1.4), 0.9, Verdict.AIM),
        ((1.0, 1.5, 2.0), (0.4, 0.9, 1.2), 1.35, Verdict.HOLDS),
    ],
)
def test_a_time_is_judged_at_the_pace_of_the_machine_of_the_floors(
    values: tuple[float, ...], paces: tuple[float, ...], at_pace: float | None, verdict: Verdict
) -> None:
    """A slow machine accuses nobody and a fast one excuses nobody, each round by its own pace. A pace that
    is not steady is too noisy to judge by, unless with any round's pace the same would be said."""
    row = judge(AT_MOST, Reading("cost", values, paces=paces))
    assert row.verdict is verdict
    assert row.at_pace == (at_pace if at_pace is None else pytest.approx(at_pace))
    assert (row.value, row.values, row.paces) == (values[1], values, paces)
    assert row.spread == pytest.approx(max(spread(row.paces), spread(at(values, paces).values)))


def at(values: tuple[float, ...], paces: tuple[float, ...]) -> Reading:
    """The same as if it had been measured on the machine of the floors."""
    return Reading("cost", tuple(map(operator.mul, values, paces or (1.0,) * len(values))))


@pytest.mark.parametrize(
    ("value", "witnesses", "verdict"),
    [
        (4.0, (0.5, 0.6, 0.65, 0.7), Verdict.HOLDS),
        (4.0, (0.4, 0.5, 0.8, 1.6), Verdict.NOISY),
        (9.0, (0.4, 0.5, 0.8, 1.6), Verdict.BELOW),
        (1.5, (0.4, 0.5, 0.8, 1.6), Verdict.HOLDS),
        (0.9, (0.4, 0.5, 0.8, 1.6), Verdict.AIM),
    ],
)
def test_figures_that_disagree_about_the_pace_leave_it_open(
    value: float, witnesses: tuple[float, ...], verdict: Verdict
) -> None:
    """However steady their middle is: a verdict needs all of them to say the same."""
    found = Reading("cost", (value,) * 3, paces=(0.6, 0.6, 0.6), witnesses=witnesses)
    row = judge(AT_MOST, found)
    assert row.verdict is verdict
    assert row.spread == pytest.approx(spread(witnesses))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=9))
def test_the_pace_of_the_machine_of_the_floors_changes_nothing(values: list[float]) -> None:
    """There, a time is judged as it was measured."""
    plain = judge(AT_MOST, Reading("cost", tuple(values)))
    paced = judge(AT_MOST, Reading("cost", tuple(values), paces=(1.0,) * len(values)))
    assert (paced.verdict, paced.at_pace, paced.spread) == (plain.verdict, plain.value, plain.spread)


def test_only_times_have_a_pace() -> None:
    """A ratio of neighbours is true on any machine, and a count or a size does not depend on it."""
    row = judge(AT_LEAST, Reading("rate", (0.6,), paces=(0.5,)))
    assert (row.verdict, row.at_pace, row.paces) == (Verdict.HOLDS, None, ())
    assert {target.unit for target in TARGETS.values() if target.is_time} == {"µs", "ms"}


def raw_runs(slower: float = 1.0, *, waiting: float = 1.0) -> dict[str, list[Timed]]:
    """One round of the raw loops on a machine so many times slower than that of the floors, where the
    processes wait for a core so many times as long as they run."""
    sides: dict[str, dict[str, float]] = {mark.loop: {"client": 9.9} for mark in pace.MARKS}
    for mark in pace.MARKS:
        sides[mark.loop][mark.side] = mark.micros * slower
    return {
        loop: [
            Timed(
                1000,
                sum(micros.values()) / 1000 * waiting,
                micros["client"] / 1000,
                micros["server"] / 1000,
            )
        ]
        for loop, micros in sides.items()
    }


def test_the_pace_is_that_of_cpu_time() -> None:
    """Half the speed is half the pace; others who use the machine as well do not make it slow."""
    assert pace.of_cpu(raw_runs()) == pytest.approx((1.0,))
    assert pace.of_cpu(raw_runs(2.0)) == pytest.approx((0.5,))
    assert pace.of_cpu(raw_runs(2.0, waiting=10)) == pytest.approx((0.5,))
    assert pace.by_mark(raw_runs(2.0)) == {
        f"{mark.loop} {mark.side}": pytest.approx(0.5) for mark in pace.MARKS
    }


def test_one_odd_loop_does_not_decide_the_pace() -> None:
    """The middle of all figures counts, whichever of them flatters or accuses."""
    for odd in (0.1, 10.0):
        runs = raw_runs() | {"raw.window": raw_runs(odd)["raw.window"]}
        assert pace.of_cpu(runs) == pytest.approx((1.0,))


def test_a_server_that_does_not_tell_its_cpu_gives_no_pace() -> None:
    """Nothing is divided by, and times are judged as they are."""
    runs = raw_runs() | {"raw.window": [Timed(1000, 0.1, 0.05, 0.0)]}
    assert pace.of_cpu(runs) == ()


def test_the_pace_of_wake_ups_is_that_of_the_middle_one() -> None:
    """A bare wake-up that came late by chance does not excuse ours; without a server nothing is known."""
    assert pace.of_wake_ups([[0.72, 0.72, 50.0], [0.36, 0.36, 0.37]]) == pytest.approx((0.5, 1.0))
    assert pace.of_wake_ups([]) == ()


def test_a_row_carries_what_it_was_judged_by() -> None:
    """Value, rounds, spread, floor, aim, unit and how it was measured stand in the row."""
    row = judge(AT_LEAST, Reading("rate", (0.4, 0.6, 0.8), note="loud"))
    assert (row.value, row.values) == (0.6, (0.4, 0.6, 0.8))
    assert row.spread == pytest.approx(1 / 3)
    assert (row.floor, row.aim, row.unit, row.how, row.note) == (0.5, 0.8, "x", "somehow", "loud")


def row_of(verdict: Verdict) -> Row:
    """Some row with this verdict."""
    return msgspec.structs.replace(judge(AT_LEAST, Reading("rate", (0.6,))), verdict=verdict)


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict.AIM, 0),
        (Verdict.HOLDS, 0),
        (Verdict.SHOWN, 0),
        (Verdict.MISSING, 0),
        (Verdict.BELOW, 1),
        (Verdict.NOISY, 1),
        (Verdict.FAILED, 1),
    ],
)
def test_the_exit_code_follows_from_the_worst_row(verdict: Verdict, code: int) -> None:
    """What was not measured is no failure; what failed, or cannot be told for noise, is not a floor that
    holds."""
    assert exit_code([row_of(Verdict.HOLDS), row_of(verdict)]) == code


def test_what_was_not_measured_says_why() -> None:
    """Left out and gone wrong are told apart."""
    assert judge(AT_LEAST, Absent("rate", "not installed")).verdict is Verdict.MISSING
    failed = judge(AT_LEAST, Absent("rate", "no answer", failed=True))
    assert (failed.verdict, failed.note, failed.value) == (Verdict.FAILED, "no answer", None)


# -- the kill trial ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noted", "kills", "expected"),
    [
        ([0, 1, 2, 3], [], Record((), 0, 0)),
        ([0, 1, 2, 3], [2], Record((0,), 0, 0)),
        ([0, 1, 1, 2, 3], [2], Record((1,), 0, 0)),
        ([0, 1, 2, 0, 1, 2, 3], [3], Record((3,), 0, 0)),
        ([0, 0, 1, 1, 2, 3], [1, 3], Record((1, 1), 0, 0)),
        ([0, 1, 3], [2], Record((0,), 1, 1)),
        ([0, 2, 1, 3], [], Record((), 3, 0)),
        ([0, 1, 1, 2, 3], [], Record((), 1, 0)),
        ([0, 1, 1, 2, 3], [4], Record((0,), 1, 0)),
        ([0, 1, 2], [1], Record((0,), 0, 1)),
    ],
)
def test_the_notes_of_a_kill_trial(noted: list[int], kills: list[int], expected: Record) -> None:
    """Re-runs belong to the kill before them; a step back without a kill, or a gap, is disorder."""
    assert read_record(noted, 4, kills) == expected


# -- the plan ----------------------------------------------------------------------------------------


def test_every_target_is_measured_by_exactly_one_measure() -> None:
    """No row is forgotten, and none is claimed twice."""
    measures = (*running.ON_REDIS_MEASURES, *running.ON_SQLITE_MEASURES, running.PEERS_MEASURE)
    claimed = [key for measure in measures for key in measure.keys]
    assert sorted(claimed) == sorted(target.key for target in all_targets())


def test_floors_and_aims_agree() -> None:
    """An aim is never easier than its floor."""
    for target in TARGETS.values():
        if target.floor is not None and target.aim is not None:
            assert (target.aim <= target.floor) if target.at_most else (target.aim >= target.floor)


def test_sizes_scale_down_to_something() -> None:
    """However small the factor, every measure still has something to do; rounds and lanes stay."""
    tiny = scaled(USUAL, 0.0001)
    assert min(tiny.wakes, tiny.kill_jobs, tiny.backlog, tiny.lane_jobs, tiny.peer_jobs) > 0
    assert (tiny.rounds, tiny.lanes, tiny.kills) == (USUAL.rounds, USUAL.lanes, USUAL.kills)
    assert QUICK.seconds < USUAL.seconds < FULL.seconds
    assert tiny.soak_seconds >= 2 < QUICK.soak_seconds < USUAL.soak_seconds < FULL.soak_seconds


def soaked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *rounds: Held) -> dict[str, float]:
    """What the measure of a soak makes of these rounds."""
    monkeypatch.setattr(Stage, "held", lambda *_: list(rounds))
    server = RedisServer("redis://127.0.0.1:1/0", "nowhere", whole=True)
    return {
        each.key: each.values[0]
        for each in soak.soak(Stage(QUICK, tmp_path, server))
        if isinstance(each, Reading)
    }


def test_a_soak_tells_what_grows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Memory of the worker is compared with halfway, when it is warm; descriptors and the server's memory
    with the first time that nothing was left."""
    rounds = [Held(each, 400 * each, 100 + 10 * each, 6 + each, 1000 + 100 * each) for each in range(1, 6)]
    found = soaked(monkeypatch, tmp_path, *rounds)
    assert found["redis.soak.rss"] == pytest.approx(150 / 130)
    assert found["redis.soak.files"] == 4
    assert found["redis.soak.memory"] == pytest.approx(1500 / 1100)


def found_nothing(_: Stage) -> list[Reading | Absent]:
    """A measure that cannot be finished."""
    raise MeasureFailed("nothing moved")


def broke(_: Stage) -> list[Reading | Absent]:
    """A measure with a fault of its own."""
    raise ValueError("invalid literal")


def forgot(_: Stage) -> list[Reading | Absent]:
    """A measure that says nothing of its target."""
    return []


def without_a_value(_: Stage) -> list[Reading | Absent]:
    """A measure that gives a reading of no rounds, which cannot be judged."""
    return [Reading("sqlite.enqueue", ())]


def interrupted(_: Stage) -> list[Reading | Absent]:
    """Somebody has pressed Ctrl-C."""
    raise KeyboardInterrupt


def reported(find: Callable[[Stage], list[Reading | Absent]], monkeypatch: pytest.MonkeyPatch) -> Report:
    """A run of one measure on SQLite alone, and of nothing else."""
    measure = Measure("a measure", find, ("sqlite.enqueue",))
    others = [key for each in running.ON_SQLITE_MEASURES for key in each.keys if key != "sqlite.enqueue"]
    rest = Measure("the rest", lambda _: [Absent(key, "not now") for key in others], tuple(others))
    monkeypatch.setattr(running, "ON_SQLITE_MEASURES", (measure, rest))
    return running.run(Options(sizes=QUICK, file_only=True), lambda _: None)


@pytest.mark.parametrize(
    ("find", "reason"),
    [
        (found_nothing, "MeasureFailed: nothing moved"),
        (broke, "ValueError: invalid literal"),
        (forgot, "KeyError: 'sqlite.enqueue'"),
        (without_a_value, "StatisticsError: no median for empty data"),
    ],
)
def test_a_measure_that_fails_is_a_row_and_the_others_go_on(
    find: Callable[[Stage], list[Reading | Absent]], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failure, foreseen or not, is reported where its value would stand, and decides the exit code."""
    report = reported(find, monkeypatch)
    rows = {row.key: row for row in report.rows}
    assert rows["sqlite.enqueue"].verdict is Verdict.FAILED
    assert rows["sqlite.enqueue"].note == reason
    assert rows["sqlite.wake.p50"].verdict is Verdict.MISSING
    assert rows["redis.process.ratio"].note == "left out by --sqlite-only"
    assert exit_code(report.rows) == 1


def test_who_ends_the_run_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a measure is no failure of it."""
    with pytest.raises(KeyboardInterrupt):
        reported(interrupted, monkeypatch)


def test_without_a_server_redis_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing installed and nothing named: SQLite alone is measured, and the run says so."""
    told: list[str] = []
    monkeypatch.setattr(running, "installed_server", lambda: None)
    monkeypatch.setattr(running, "ON_SQLITE_MEASURES", ())
    monkeypatch.setattr(running, "all_targets", lambda: [TARGETS["redis.process"]])
    report = running.run(Options(sizes=QUICK), told.append)
    assert told == [f"only SQLite, because of {running.NO_SERVER}"]
    assert report.rows[0].note == running.NO_SERVER
    assert report.environment.server is None


# -- the report --------------------------------------------------------------------------------------


def printed(report: Report, width: int = 120) -> str:
    """The report as a pipe gets it."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(table(report))
    shown = console.file
    assert isinstance(shown, io.StringIO)
    return shown.getvalue()


def report_of(*rows: Row) -> Report:
    """A report with these rows, on some machine."""
    environment = Environment(
        glassq="1.2.3",
        python="CPython 3.11.9",
        system="Linux 6 x86_64",
        cores=2,
        redis_py="7.0",
        sqlite="3.40",
        server="Redis 7.0.15",
        server_origin="redis-server, started for this run",
        peers={"rq": "2.0", "huey": None},
        load_before=0.5,
        load_after=1.5,
    )
    return Report(environment, QUICK, rows)


def test_the_table_shows_value_floor_aim_spread_and_verdict() -> None:
    """A reader sees what was measured, on what, against which floor, and what follows."""
    shown = printed(
        report_of(
            judge(AT_LEAST, Reading("rate", (0.4, 0.42, 0.44))),
            judge(AT_MOST, Reading("cost", (1.0, 2.0, 9.0))),
            judge(NEVER, Absent("lost", "no [server]")),
        )
    )
    assert "CPython 3.11.9, redis-py 7.0" in shown
    assert "Redis 7.0.15 (redis-server, started for this run)" in shown
    assert "0.50 before, 1.50 after" in shown
    assert "rq 2.0, huey (not installed)" in shown
    (ratio,) = (line.split() for line in shown.splitlines() if "a ratio" in line)
    assert ratio == ["a", "ratio", "0.42x", "≥", "0.50x", "≥", "0.80x", "5%", "below", "floor"]
    (cost,) = (line for line in shown.splitlines() if "a cost" in line)
    assert "≤ 3.00 ms" in cost
    assert "too noisy" in cost
    assert "not measured (no [server]): jobs lost" in shown
    assert "0 of 2 floors hold (1 below floor; 1 too noisy; 1 not measured)" in shown


@pytest.mark.parametrize(
    ("target", "reading", "shown"),
    [
        (AT_LEAST, Reading("rate", (0.498,)), "0.498x ≥ 0.50x ≥ 0.80x"),
        (AT_LEAST, Reading("rate", (0.49996,)), "0.49996x ≥ 0.50x ≥ 0.80x"),
        (AT_LEAST, Reading("rate", (0.5,)), "0.50x ≥ 0.50x ≥ 0.80x"),
        (AT_LEAST, Reading("rate", (0.797,)), "0.797x ≥ 0.50x ≥ 0.80x"),
        (AT_LEAST, Reading("rate", (0.492,)), "0.49x ≥ 0.50x ≥ 0.80x"),
        (AT_MOST, Reading("cost", (3.004,)), "3.004 ms ≤ 3.00 ms ≤ 1.50 ms"),
        (AT_MOST, Reading("cost", (3.004,), paces=(0.999,)), "3.00 ms 3.001 ms ≤ 3.00 ms ≤ 1.50 ms"),
    ],
)
def test_what_is_judged_is_told_from_its_floor_and_its_aim(
    target: Target, reading: Reading, shown: str
) -> None:
    """Where a verdict hangs on the third digit, the third digit is shown."""
    (line,) = (
        line for line in printed(report_of(judge(target, reading))).splitlines() if target.label in line
    )
    assert shown in " ".join(line.split())


def test_the_table_shows_a_time_as_measured_and_at_pace() -> None:
    """Both stand there, and above them how fast the machine is; without a pace, that it is not known."""
    known = Reading("raw.pace.cpu", (0.5, 0.5, 0.5))
    time = Reading("cost", (5.0, 5.0, 5.0), paces=known.values)
    shown = printed(report_of(judge(TARGETS["raw.pace.cpu"], known), judge(AT_MOST, time)))
    assert "CPU time 0.50x of the machine of the floors" in shown
    (line,) = (line for line in shown.splitlines() if "a cost" in line)
    assert " ".join(line.split()) == "a cost 5.00 ms 2.50 ms ≤ 3.00 ms ≤ 1.50 ms 0% holds"
    shown = printed(report_of(judge(AT_MOST, Reading("cost", (5.0, 5.0, 5.0)))))
    assert "at pace" not in shown
    assert "not known: times are judged as they were measured" in shown


def test_a_peers_version_stands_beside_its_rate() -> None:
    """A rate without a version could not be repeated."""
    row = judge(SHOWN, Reading("shown", (1234.0,), note="rq 2.0"))
    (line,) = (line for line in printed(report_of(row)).splitlines() if "a rate" in line)
    assert line.split() == ["a", "rate", "1,234", "jobs/s", "rq", "2.0"]


def test_the_document_holds_everything() -> None:
    """Programs get each round, the bound of noise, the sizes, and the exit code that goes with them."""
    plain = json.loads(json.dumps(document(report_of(judge(AT_LEAST, Reading("rate", (0.4, 0.4)))))))
    assert plain["exit"] == 1
    assert plain["noise_bound"] == NOISE_BOUND
    assert plain["environment"]["peers"] == {"rq": "2.0", "huey": None}
    assert plain["sizes"]["rounds"] == QUICK.rounds
    (row,) = plain["rows"]
    assert (row["key"], row["verdict"], row["values"]) == ("rate", "below floor", [0.4, 0.4])


# -- usage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quick", "--full"], "exclude each other"),
        (["--sqlite-only", "--peers"], "leaves nothing for"),
        (["--scale", "0"], "--scale"),
        (["--url", "sqlite:///jobs.db"], "names a Redis server"),
        (["--url", "redis://localhost/0?namespace=mine"], "without a namespace"),
        (["--url", "nonsense"], "no scheme"),
    ],
)
def test_wrong_usage_ends_with_two(arguments: list[str], said: str, capsys: Capture) -> None:
    """What cannot be carried out as given is said in one line, before anything is measured."""
    assert main(["bench", *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


RATES = {"glassq": 30_000.0, "rq": 200.0, "huey": 3_000.0, "pyfiq": 10_000.0, "dramatiq": 2_000.0}


def compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, failing: str = ""
) -> tuple[list[tuple[str, int]], dict[str, Reading | Absent]]:
    """Who of these peers ran how many jobs, one after the other, and what the measure of peers finds."""
    ran: list[tuple[str, int]] = []

    def run_peer(peer: Peer, _: str, jobs: int, __: Path) -> tuple[Timed, Timed]:
        if peer.name == failing:
            raise MeasureFailed("no longer there")
        ran.append((peer.name, jobs))
        return Timed(jobs, jobs / 5_000), Timed(jobs, jobs / RATES[peer.name])

    monkeypatch.setattr(rivals, "run_peer", run_peer)
    monkeypatch.setattr(Peer, "version", lambda self: "1.0" if self.name in RATES else None)
    monkeypatch.setattr(RedisServer, "clear", lambda _: None)
    server = RedisServer("redis://127.0.0.1:1/0", "nowhere", whole=True)
    found = {each.key: each for each in rivals.peers(Stage(USUAL, tmp_path, server))}
    assert set(found) == set(running.PEERS_MEASURE.keys)
    return ran, found


def test_each_peer_runs_as_long_as_we_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As many jobs as fill the time of a round, none fewer than a thousand; in each round the peers that
    decide run right before and after us."""
    ran, found = compared(monkeypatch, tmp_path)
    last = ran[-len(RATES) :]
    assert dict(last) == {
        "rq": 1_000,
        "dramatiq": 1_400,
        "huey": pytest.approx(2_100, abs=1),
        "pyfiq": pytest.approx(7_000, abs=1),
        "glassq": pytest.approx(21_000, abs=1),
    }
    assert [name for name, _ in last] == ["rq", "dramatiq", "huey", "glassq", "pyfiq"]
    pyfiq, best = found["peers.pyfiq.ratio"], found["peers.best.ratio"]
    assert isinstance(pyfiq, Reading)
    assert isinstance(best, Reading)
    assert pyfiq.values == pytest.approx((3.0,) * USUAL.rounds)
    assert best.values == pytest.approx((10.0,) * USUAL.rounds)
    assert best.note == "huey, of dramatiq, huey, rq"


def test_a_peer_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its rows say why, and the others are compared; without ours there is nothing to compare."""
    _, found = compared(monkeypatch, tmp_path, failing="huey")
    assert found["peers.huey.process"] == Absent("peers.huey.process", "no longer there")
    best = found["peers.best.ratio"]
    assert isinstance(best, Reading)
    assert best.note == "dramatiq, of dramatiq, rq"
    with pytest.raises(MeasureFailed, match="no longer there"):
        compared(monkeypatch, tmp_path, failing="glassq")


def test_every_peer_has_its_file() -> None:
    """A peer is named once, and its module is there although the peer itself may not be installed."""
    there = {path.stem for path in PEERS_ROOM.glob("*.py")}
    modules = [peer.module for peer in (*ON_REDIS, OURS, DROPIN, FEMTOQUEUE)]
    assert len(set(modules)) == len(modules)
    assert set(modules) <= there
