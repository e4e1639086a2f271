"""What femtoqueue promises in its README and its tests; F0 to F10 are what it was seen to break."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glassq.app import Glassq
from glassq.client.queues import Queue
from glassq.compat.femtoqueue import MAX_CRASHES, FemtoQueue, FemtoTask
from glassq.compat.femtotasks import url_of
from glassq.errors import BadOption, ConfigurationError, FormatMismatch, LeaseLost, PayloadTooLarge
from glassq.model.stats import LaneState
from tests.integration.femtodirectory import Clock, Directory


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Queue]:
    """The same queue as the rest of glassq sees it."""
    with Glassq(url_of(tmp_path)) as app:
        yield app.queue("femtoqueue")


def drained(queue: FemtoQueue) -> list[bytes]:
    """The tasks that are there, each taken and done."""
    tasks = []
    while task := queue.pop():
        tasks.append(task.data)
        queue.done(task)
    return tasks


def popped(queue: FemtoQueue) -> FemtoTask:
    """The next task; there is one."""
    task = queue.pop()
    assert task is not None
    return task


# -- what its documents and its own tests show ---------------------------------------------------------------


def test_a_task_goes_in_comes_out_and_is_done(tmp_path: Path) -> None:
    """The README's program: push bytes, pop until there is nothing, end each."""
    queue = FemtoQueue(data_dir=tmp_path / "fq", node_id="node1")
    pushed = queue.push(json.dumps({"amount": 5}).encode())
    task = popped(queue)
    assert (task.id, json.loads(task.data)) == (pushed, {"amount": 5})
    assert task == FemtoTask(pushed, task.data)
    queue.done(task)
    assert queue.pop() is None
    assert (queue.data_dir, queue.node_id, queue.timeout_stale_ms) == (tmp_path / "fq", "node1", 30_000)


def test_tasks_come_out_in_the_order_they_went_in(tmp_path: Path) -> None:
    """A hundred of them, whatever their bytes."""
    queue = FemtoQueue(str(tmp_path), "node1")
    tasks = [bytes([number, 0, 10, 255]) for number in range(100)]
    for task in tasks:
        queue.push(task)
    assert drained(queue) == tasks


def test_a_new_handle_of_the_node_gets_the_unfinished_task(tmp_path: Path) -> None:
    """As after a crash: at once, and with the same bytes."""
    first = FemtoQueue(tmp_path, "node1")
    first.push(b"half done")
    assert popped(first).data == b"half done"
    again = FemtoQueue(tmp_path, "node1")
    assert drained(again) == [b"half done"]
    assert again.pop() is None


def test_a_stale_task_goes_to_another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 100 ms by a clock that begins at 0 and that a test moves; not before."""
    clock = Clock(monkeypatch, 0.0)
    first = FemtoQueue(tmp_path, "node1", timeout_stale_ms=100)
    first.push(b"stuck")
    popped(first)
    other = FemtoQueue(tmp_path, "node2", timeout_stale_ms=100)
    clock.now = 0.0999
    assert other.pop() is None
    clock.now = 10.0
    assert popped(other).data == b"stuck"


def test_a_failed_task_is_a_dead_letter(tmp_path: Path, seen: Queue) -> None:
    """It does not come back by itself, and can be brought back."""
    queue = FemtoQueue(tmp_path, "node1")
    pushed = queue.push(b"will fail")
    queue.fail(popped(queue))
    assert queue.pop() is None
    letter = seen.dead_letters()[0]
    assert (letter.id, letter.task, letter.reason, letter.attempts) == (pushed, "femtoqueue", "exception", 1)
    seen.replay([letter.id])
    assert drained(queue) == [b"will fail"]


def test_a_scheduled_task_waits_for_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes behind what was pushed before it was due."""
    clock = Clock(monkeypatch, 1_000_000.0)
    queue = FemtoQueue(tmp_path, "node1")
    queue.schedule(b"later", time_us=1_000_060_000_000)
    assert queue.pop() is None
    clock.now += 59.999
    assert queue.pop() is None
    queue.push(b"at once")
    clock.now += 60
    assert drained(queue) == [b"at once", b"later"]


# -- F0 to F10 -----------------------------------------------------------------------------------------------


def test_f0_ids_are_distinct_and_plain(tmp_path: Path) -> None:
    """No two of two handles are alike, and none has a character that a file system or shell minds."""
    queues = [FemtoQueue(tmp_path, "a"), FemtoQueue(tmp_path, "b")]
    ids = [queue.push(b"x") for queue in queues for _ in range(200)]
    assert len(set(ids)) == 400
    assert not set("".join(ids)) & set("<> \\*?\"'|&;$")


def test_f1_tasks_of_one_time_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred scheduled for the same microsecond are a hundred, in the order of the calls."""
    clock = Clock(monkeypatch, 1000.0)
    queue = FemtoQueue(tmp_path, "node1")
    tasks = [str(number).encode() for number in range(100)]
    for task in tasks:
        queue.schedule(task, 1_000_050_000)
    assert queue.pop() is None
    clock.now += 0.05
    assert drained(queue) == tasks


def test_f2_tasks_that_are_due_together_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred different times that have passed by the first pop: all of them, by their times."""
    clock = Clock(monkeypatch, 1000.0)
    queue = FemtoQueue(tmp_path, "node1")
    for number in reversed(range(100)):
        queue.schedule(str(number).encode(), 2_000_000_000 + number)
    clock.now = 3000.0
    assert drained(queue) == [str(number).encode() for number in range(100)]


@pytest.mark.parametrize("timeout", [100, 500, 30_000])
def test_f3_staleness_counts_from_the_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: int
) -> None:
    """A task that waited for a day is its taker's for the whole timeout, to the millisecond, and then not."""
    clock = Clock(monkeypatch, 1_000_000.0)
    a, b = (FemtoQueue(tmp_path, node, timeout) for node in "ab")
    a.push(b"old")
    clock.now += 86_400
    task = popped(a)
    taken = clock.now
    for part in (0.1, 0.5, 0.99):
        clock.now = taken + part * timeout / 1000
        assert b.pop() is None
    clock.now = taken + timeout / 1000
    assert popped(b).data == b"old"
    with pytest.raises(LeaseLost, match=f"taken again since, as may be done {timeout} ms"):
        a.done(task)


def test_f4_order_holds_across_handles_and_clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes push in turn while the clock goes back and forth: the order is that of the calls."""
    clock = Clock(monkeypatch, 1_000_000.0)
    nodes = [FemtoQueue(tmp_path, node) for node in "ab"]
    tasks = [str(number).encode() for number in range(20)]
    for number, task in enumerate(tasks):
        clock.now += (-1) ** number * 3600.0
        nodes[number % 2].push(task)
    assert drained(nodes[0]) == tasks


def test_f5_a_damaged_task_holds_nothing_up(tmp_path: Path, seen: Queue) -> None:
    """It is put aside with a reason, and the next one comes."""
    queue = FemtoQueue(tmp_path, "node1")
    damaged = queue.push(b"will be cut off")
    queue.push(b"next")
    with sqlite3.connect(tmp_path / "glassq.db") as cx:
        cx.execute("UPDATE jobs SET body = substr(body, 1, length(body) - 1) WHERE id = ?", (damaged,))
    cx.close()
    assert drained(queue) == [b"next"]
    assert [(letter.id, letter.reason) for letter in seen.dead_letters()] == [(damaged, "undecodable")]


def test_f6_several_tasks_may_be_out_at_once(tmp_path: Path) -> None:
    """Each is handed out once, and may be ended in any order."""
    queue = FemtoQueue(tmp_path, "node1")
    for number in range(3):
        queue.push(bytes([number]))
    tasks = [popped(queue) for _ in range(3)]
    assert [task.data for task in tasks] == [b"\0", b"\1", b"\2"]
    assert queue.pop() is None
    for task in reversed(tasks):
        queue.done(task)
    assert FemtoQueue(tmp_path, "node1").pop() is None


def test_f7_files_of_others_do_no_harm(tmp_path: Path) -> None:
    """Finder's, an editor's, a folder: the queue opens and works."""
    old = Directory(tmp_path)
    for folder in ("pending", "scheduled", "failed", "."):
        (old.root / folder / ".DS_Store").write_bytes(b"\0")
        (old.root / folder / "notes.txt~").write_text("buy milk")
    queue = FemtoQueue(tmp_path, "node1")
    queue.push(b"task")
    assert drained(queue) == [b"task"]


def test_f8_a_task_that_kills_its_process_is_given_up(tmp_path: Path, seen: Queue) -> None:
    """It is tried again by five restarts, then it is a dead letter and the next one comes."""
    FemtoQueue(tmp_path, "node1").push(b"poison")
    FemtoQueue(tmp_path, "node1").push(b"next")
    tried = [popped(FemtoQueue(tmp_path, "node1")).data for _ in range(MAX_CRASHES)]
    assert tried == [b"poison"] * MAX_CRASHES
    assert drained(FemtoQueue(tmp_path, "node1")) == [b"next"]
    assert [(letter.reason, letter.attempts) for letter in seen.dead_letters()] == [("crashed", MAX_CRASHES)]


def test_f8_those_behind_it_are_not_given_up_with_it(tmp_path: Path, seen: Queue) -> None:
    """Three were out when the process died; the first kills each after it. The others are done."""
    first = FemtoQueue(tmp_path, "node1")
    for data in (b"poison", b"innocent", b"innocent too"):
        first.push(data)
    assert [popped(first).data for _ in range(3)] == [b"poison", b"innocent", b"innocent too"]
    for _ in range(MAX_CRASHES - 1):
        assert popped(FemtoQueue(tmp_path, "node1")).data == b"poison"
    assert drained(FemtoQueue(tmp_path, "node1")) == [b"innocent", b"innocent too"]
    assert [letter.reason for letter in seen.dead_letters()] == ["crashed"]


def test_f9_nothing_is_left_of_what_is_done(tmp_path: Path, seen: Queue) -> None:
    """Five hundred tasks leave no row and no file."""
    queue = FemtoQueue(tmp_path, "node1")
    queue.push(b"first")
    before = sorted(file.name for file in tmp_path.iterdir())
    for _ in range(500):
        queue.push(b"x" * 100)
    assert len(drained(queue)) == 501
    stats = seen.stats()
    assert (stats.depth, sum(stats.lanes.values()), stats.dead_letters) == (0, 0, 0)
    assert sorted(file.name for file in tmp_path.iterdir()) == before


@pytest.mark.parametrize("node", ["", "a/b", "../esc", "/etc", "a\nb", "x" * 129, "pending", "done"])
def test_f9_a_node_is_a_name_and_no_path(tmp_path: Path, node: str) -> None:
    """Whatever could be a path, or one of femtoqueue's folders, is refused before anything is made."""
    with pytest.raises(BadOption, match="node_id"):
        FemtoQueue(tmp_path / "in" / "fq", node)
    assert list(tmp_path.iterdir()) == []


def test_f10_what_is_measured_by_one_clock_makes_sense(tmp_path: Path) -> None:
    """The program that measures it here: as many tasks out as in, and times above 0."""
    result = subprocess.run(
        [sys.executable, "examples/femtoqueue/measure.py", "200", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["glassq"]["tasks"] == 200
    assert told["glassq"]["push_us"] > 0
    assert told["glassq"]["pop_done_us"] > 0


# -- several handles, threads and processes ------------------------------------------------------------------


def test_unfinished_tasks_return_to_their_node_alone(tmp_path: Path) -> None:
    """All of them at the first pop, in their order, before another node may take one; new ones are free."""
    old = FemtoQueue(tmp_path, "node1")
    for number in range(5):
        old.push(bytes([number]))
    for _ in range(3):
        popped(old)
    again, other = FemtoQueue(tmp_path, "node1"), FemtoQueue(tmp_path, "node2")
    assert popped(again).data == b"\0"
    assert popped(other).data == b"\3"
    assert [popped(again).data for _ in range(3)] == [b"\1", b"\2", b"\4"]


def test_what_was_taken_back_becomes_stale_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that came back and stopped again does not keep what it has not handed out."""
    clock = Clock(monkeypatch, 1_000_000.0)
    old = FemtoQueue(tmp_path, "node1", 1000)
    for number in range(2):
        old.push(bytes([number]))
        popped(old)
    again, other = FemtoQueue(tmp_path, "node1", 1000), FemtoQueue(tmp_path, "node2", 1000)
    popped(again)
    clock.now += 1
    assert drained(other) == [b"\0", b"\1"]
    assert again.pop() is None


def test_a_handle_that_only_pushes_takes_nothing_back(tmp_path: Path) -> None:
    """The worker of that node goes on undisturbed."""
    worker = FemtoQueue(tmp_path, "node1")
    worker.push(b"one")
    task = popped(worker)
    FemtoQueue(tmp_path, "node1").push(b"two")
    worker.done(task)
    assert drained(worker) == [b"two"]


def test_an_older_handle_takes_nothing_from_a_newer_one(tmp_path: Path) -> None:
    """And what was taken from it, it cannot end."""
    older = FemtoQueue(tmp_path, "node1")
    older.push(b"one")
    lost = popped(older)
    newer = FemtoQueue(tmp_path, "node1")
    task = popped(newer)
    assert older.pop() is None
    with pytest.raises(LeaseLost):
        older.done(lost)
    newer.done(task)
    with pytest.raises(LeaseLost, match="was ended before"):
        newer.done(task)


def test_a_late_end_counts_while_nobody_has_taken_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being stale is not being lost."""
    clock = Clock(monkeypatch, 1_000_000.0)
    queue = FemtoQueue(tmp_path, "node1", 100)
    queue.push(b"slow")
    task = popped(queue)
    clock.now += 3600
    queue.done(task)
    assert FemtoQueue(tmp_path, "node2").pop() is None


def test_a_task_can_be_ended_by_its_node_alone_wherever_it_went(tmp_path: Path) -> None:
    """By its id in the handle that took it; pickled, in any handle of the node; in no other node's."""
    queue = FemtoQueue(tmp_path, "node1")
    for data in (b"by its id", b"pickled"):
        queue.push(data)
    queue.done(FemtoTask(popped(queue).id, b""))
    sent = pickle.loads(pickle.dumps(popped(queue)))
    with pytest.raises(LeaseLost, match="under node node2"):
        FemtoQueue(tmp_path, "node2").done(sent)
    FemtoQueue(tmp_path, "node1").done(sent)
    assert FemtoQueue(tmp_path, "node1").pop() is None


def test_all_survives_a_loss_of_power_where_that_is_asked_for(tmp_path: Path) -> None:
    """Each commit waits for the disk (SQLite's `synchronous` is FULL, 2), as `sync_after_write` promised."""
    for sync, level in ((True, 2), (False, 1)):
        queue = FemtoQueue(tmp_path, "node1", sync_after_write=sync)
        writer = queue._storage._connections._writer
        assert writer is not None
        assert writer.execute("PRAGMA synchronous").fetchone() == (level,)


def test_pop_starts_no_threads(tmp_path: Path) -> None:
    """Nothing runs in the background, with a task out or without."""
    queue = FemtoQueue(tmp_path, "node1")
    queue.push(b"x")
    before = threading.enumerate()
    popped(queue)
    queue.pop()
    assert threading.enumerate() == before


def test_threads_share_a_handle(tmp_path: Path) -> None:
    """Eight of them end 400 tasks, each once."""
    queue = FemtoQueue(tmp_path, "node1")
    for number in range(400):
        queue.push(str(number).encode())
    ended: list[bytes] = []
    threads = [threading.Thread(target=lambda: ended.extend(drained(queue))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ended, key=int) == [str(number).encode() for number in range(400)]


def _drain_into(directory: Path, node: str, log: Path) -> None:
    with log.open("ab") as file:
        queue = FemtoQueue(directory, node)
        while task := queue.pop():
            file.write(task.data + b"\n")
            file.flush()
            queue.done(task)


def test_processes_share_a_directory(tmp_path: Path) -> None:
    """Four nodes end 400 tasks; each ran once, and each node saw them in their order."""
    queue = FemtoQueue(tmp_path, "producer")
    for number in range(400):
        queue.push(str(number).encode())
    logs = [tmp_path / f"log{number}" for number in range(4)]
    spawn = multiprocessing.get_context("spawn")
    children = [
        spawn.Process(target=_drain_into, args=(tmp_path, f"node{number}", log))
        for number, log in enumerate(logs)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    ran = [[int(line) for line in log.read_text().split()] for log in logs]
    assert sorted(number for each in ran for number in each) == list(range(400))
    assert all(each == sorted(each) for each in ran)


NODE = """
import sys, time
from glassq.compat.femtoqueue import FemtoQueue

queue = FemtoQueue(sys.argv[1], sys.argv[2], timeout_stale_ms=60_000)
while task := queue.pop():
    print("took", task.data.decode(), flush=True)
    time.sleep(float(sys.argv[3]))
    queue.done(task)
    print("ended", task.data.decode(), flush=True)
"""


def test_a_killed_node_comes_back_to_what_it_had(tmp_path: Path) -> None:
    """`kill -9` in the middle, five times, while another node works: no task is lost, none runs twice but the
    one that was out, and that one runs at once under the name of the node that was killed."""
    queue = FemtoQueue(tmp_path, "producer")
    for number in range(300):
        queue.push(str(number).encode())

    def start(node: str, pace: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", NODE, str(tmp_path), node, pace]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    # Slow, so that something is left for each of the others.
    other, said = start("steady", "0.1"), list[list[str]]()
    for _ in range(5):
        victim = start("victim", "0.002")
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(15)]
        victim.kill()
        said.append([*lines, *victim.communicate()[0].splitlines()])
    said.append(start("victim", "0.002").communicate(timeout=60)[0].splitlines())
    steady = other.communicate(timeout=60)[0].splitlines()
    taken = [[line.split()[1] for line in each if line.startswith("took")] for each in said]
    for before, after in itertools.pairwise(taken):
        # The kill may have come between the end of a task and the word of it, or before that of the next one.
        assert before[-1] == after[0] or int(after[0]) > int(before[-1])
    ended = {line.split()[1] for line in itertools.chain(*said, steady) if line.startswith("ended")}
    runs = Counter(
        task for each in (*taken, [line.split()[1] for line in steady if "took" in line]) for task in each
    )
    assert sorted(runs, key=int) == [str(number) for number in range(300)]
    assert sum(runs.values()) - len(runs) <= 5
    assert len(ended) >= 300 - 5
    assert queue.pop() is None


def in_a_fork(work: Callable[[], object]) -> None:
    """Do something in a forked child; it succeeded."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_is_not_the_node_come_back(tmp_path: Path) -> None:
    """It takes the next task, not those its parent has out, and may end one of those for it."""
    queue = FemtoQueue(tmp_path, "node1")
    for data in (b"parent's", b"child's", b"handed on"):
        queue.push(data)
    mine = popped(queue)

    def work() -> None:
        task = popped(queue)
        assert task.data == b"child's"
        queue.done(task)

    in_a_fork(work)
    handed = popped(queue)
    in_a_fork(lambda: queue.done(handed))
    queue.done(mine)
    assert FemtoQueue(tmp_path, "node1").pop() is None


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_directory_with_femtoqueues_files_is_not_opened_as_if_it_were_empty(tmp_path: Path) -> None:
    """The error names a file and the command that moves them; others do not matter."""
    old = Directory(tmp_path)
    old.put("done", 1, b"x")
    old.put("failed", 2, b"x")
    old.put("pending", 3, b"x", whole=False)
    FemtoQueue(tmp_path, "node1")
    old.put("worker7", 4, b"x")
    with pytest.raises(ConfigurationError, match=r"worker7/4_.* glassq import-femtoqueue"):
        FemtoQueue(tmp_path, "node1")


def test_what_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Text, times that are none, timeouts of nothing, and a task that does not fit."""
    queue = FemtoQueue(tmp_path, "node1")
    with pytest.raises(TypeError, match="a task is bytes, got str; encode it"):
        queue.push("text")  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="time_us: is a whole number of microseconds"):
        queue.schedule(b"x", 1.5)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="timeout_stale_ms"):
        FemtoQueue(tmp_path, "node1", 0)
    with pytest.raises(PayloadTooLarge):
        queue.push(bytes(1 << 20))
    with pytest.raises(LeaseLost):
        queue.done(FemtoTask("femtoqueue/never:1", b""))
    assert queue.pop() is None


def test_a_task_of_a_newer_version_is_left_for_that(tmp_path: Path, seen: Queue) -> None:
    """It stays where it is: whoever is upgraded can run it."""
    queue = FemtoQueue(tmp_path, "node1")
    queue.push(b"x")
    with sqlite3.connect(tmp_path / "glassq.db") as cx:
        cx.execute("UPDATE jobs SET body = replace(body, '\"v\":1', '\"v\":9')")
        cx.execute("UPDATE jobs SET body = CAST(body AS BLOB)")
    cx.close()
    with pytest.raises(FormatMismatch, match="version 9"):
        queue.pop()
    assert seen.stats().lanes[LaneState.READY] == 1


def test_a_cancelled_task_does_not_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`glassq cancel` while it is out: it ends as cancelled instead of becoming stale."""
    clock = Clock(monkeypatch, 1_000_000.0)
    queue = FemtoQueue(tmp_path, "node1", 100)
    pushed = queue.push(b"x")
    popped(queue)
    with Glassq(url_of(tmp_path)) as app:
        assert app.cancel(pushed) == "asked"
        clock.now += 1
        assert FemtoQueue(tmp_path, "node2").pop() is None
        assert app.queue("femtoqueue").stats().depth == 0
