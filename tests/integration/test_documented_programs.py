"""The programs of the documents run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glassq.testing.conformance import StorageConformance
from tests.conformance.clusters import clustered

DOCS = Path(__file__).parents[2] / "docs"
CLUSTER = "redis+cluster://127.0.0.1:7000,127.0.0.1:7001"
GLASSQ = [sys.executable, "-m", "glassq"]


def commands(page: str) -> list[str]:
    """The commands of a page, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^(?:glassq|export) .*", "\n".join(_blocks(text, "sh")), flags=re.MULTILINE)


def programs(page: str) -> list[str]:
    """The Python blocks of a page, in order."""
    return _blocks((DOCS / page).read_text(encoding="utf-8"), "python")


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(program: str, folder: Path) -> str:
    """Run a program in a process of its own, warnings being errors; returns what it printed."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


PROOFS = {
    "how-to/embed-a-worker.md": """
assert done is True
assert [mail for mail in sent if mail[0].startswith("ann")] == [
    ("ann@example.org", "Welcome"),
    ("ann@example.org", "Your receipt"),
]
assert ("bob@example.org", "Welcome") in sent
""",
    "how-to/asyncio.md": """
assert number == 1
assert ("bob@example.org", "Welcome") in sent
assert [what for who, what in sent if who.startswith("ann")] == ["Welcome", "noted", "Day 2", "Day 3"]
assert len(sent) == 5
""",
    "how-to/use-a-web-framework.md": """
import asyncio


async def serve(web):
    async with web.router.lifespan_context(web) as state:
        await order("ann", "tea")
        while not packed:
            await asyncio.sleep(0.01)
        assert state == {"pool": ["open"]}


asyncio.run(serve(web))
assert (packed, pools) == ([("ann", "tea")], [])
""",
    "how-to/get-results.md": """
assert result == {"month": "may", "pages": 12}
assert errors == ["LookupError: there is no such month", f"{unwanted.id} was cancelled"]
assert both == [{"month": "july", "pages": 2}, {"month": "august", "pages": 3}]
assert (shown.state, shown.has_result) == ("succeeded", True)
assert history == [("enqueued", ""), ("attempt", "succeeded"), ("settled", "succeeded")]
""",
    "how-to/come-from-pyfiq.md": """
assert told == [
    "users: sync(['ann']) returned ANN",
    "users: sync(['bob']) failed: no such user",
    "users: sync(['cy']) returned CY",
]
""",
    "how-to/come-from-femtoqueue.md": """
assert done == [b"send the invoice"]
assert [letter.reason for letter in app.queue("femtoqueue").dead_letters()] == ["exception"]
assert app.queue("femtoqueue").stats().depth == 0
""",
    "how-to/replay-dead-letters.md": """
assert [(job.key, job.was_seq, job.seq) for job in back] == [("o-1", 1, 1), ("o-1", 2, 2), ("o-2", 3, 3)]
assert left == earlier.id
by_order = {order: [cents for each, cents in charged if each == order] for order, _ in charged}
assert by_order == {"o-1": [500, 250], "o-2": [1200], "o-3": [100, 200]}
""",
    "how-to/deal-with-a-halted-lane.md": """
assert charged == [("bob", 1200), ("alice", 500), ("alice", 250)]
assert payments.halted() == []
""",
    "how-to/find-the-key-that-is-stuck.md": """
assert [(each.key, each.state, each.depth) for each in held_up.keys] == [("o-7", "halted", 3)]
assert [(each.key, each.depth) for each in deepest.keys] == [("o-3", 31), ("o-7", 3), ("o-0", 1)]
assert deepest.lanes == deepest.looked_at == 100 and deepest.exact
assert charged == [("o-1", 300)]
""",
    "how-to/spread-a-queue-over-a-cluster.md": """
assert len({receipt.id.partition("/")[0] for receipt in receipts}) > 1
assert app.worker().run_until_idle(timeout=30)
assert app.queue("orders").stats().settled["succeeded"] == 12
""",
    "how-to/run-jobs-by-the-clock.md": """
import time

assert app.worker().run_until_idle(timeout=30)
assert app.queue("reports").stats().settled["succeeded"] == 1
with app.scheduler():
    while len(app.schedules.all()) < 3:
        time.sleep(0.05)
assert {view.name for view in app.schedules.all()} == {"program.nightly", "program.sweep", "report-us"}
""",
    "how-to/build-a-workflow.md": """
assert status == "succeeded"
assert workflow.progress() == {"succeeded": 4}
assert second.seq is None
assert app.worker().run_until_idle(timeout=30)
assert app.queue("numbers").stats().settled["succeeded"] == 3
""",
    "how-to/verify-a-history.md": """
assert report.clean
assert report.notes == []
assert report.figures["jobs_acknowledged"] == report.figures["settlements"]["ack"] == 10
""",
}


ELSEWHERE = {
    "how-to/prove-a-store.md",
    "how-to/run-several-workers.md",
    "how-to/test-your-handlers.md",
}
"""Pages of files and commands: what they show is run by a test of their subject, here or elsewhere."""


def test_every_how_to_page_is_proved() -> None:
    """No how-to page is written without a proof that it reaches its goal."""
    assert {f"how-to/{page.name}" for page in (DOCS / "how-to").glob("*.md")} == {*PROOFS, *ELSEWHERE}


@pytest.mark.parametrize("page", sorted(PROOFS))
def test_how_to_pages_do_what_they_say(page: str, tmp_path: Path) -> None:
    """The blocks of a how-to page, one after the other, are a program that reaches its goal; where it begins
    with a cluster, on one of the test's own."""
    program = "\n".join([*programs(page), PROOFS[page], "app.close()"])
    if CLUSTER not in program:
        run(program, tmp_path)
        return
    with clustered(tmp_path / "cluster") as cluster:
        run(program.replace(CLUSTER, cluster.url), tmp_path)


def test_how_to_pages_pass_a_type_checker(tmp_path: Path) -> None:
    """Whoever copies a program out of a page is told nothing by mypy. Modules of the reader's own are not
    there, and lists may begin empty."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    for page in PROOFS:
        name = "page_" + page.removeprefix("how-to/").removesuffix(".md").replace("-", "_")
        (tmp_path / f"{name}.py").write_text("\n".join(programs(page)), encoding="utf-8")
    words = ["--check-untyped-defs", "--disable-error-code=var-annotated", "--ignore-missing-imports"]
    place = ["--config-file=", "--cache-dir", str(DOCS.parent / ".mypy_cache/reader")]
    shown, errors, _ = api.run([*words, *place, "--python-executable", sys.executable, str(tmp_path)])
    assert errors == ""
    assert shown.startswith(f"Success: no issues found in {len(PROOFS)} source files"), shown


def test_what_is_said_of_fairness_can_be_written(tmp_path: Path) -> None:
    """Each piece of the page is one of a program, and its jobs run."""
    program = [
        "import glassq",
        "app = glassq.Glassq('sqlite:///jobs.db')",
        *programs("explanation/fairness.md"),
        "receipts = [thumbnail(path) for path in 'ab']",
        "assert receipts[0].key != receipts[1].key and receipts[0].key[0] == '~'",
        "assert app.worker(assigned=['tenant-7'], steal_from=['us-*']).run_until_idle(20)",
        "app.close()",
    ]
    assert run("\n".join(program), tmp_path) == ""


def test_a_halted_lane_can_be_skipped_as_documented(tmp_path: Path) -> None:
    """`skip` gives up the head alone: the job behind it runs, the skipped one does not."""
    halt, show, _ = programs("how-to/deal-with-a-halted-lane.md")
    skip = (
        "blocked_cards.clear()\n"
        "payments.skip('alice')\n"
        "app.worker().run_until_idle(timeout=30)\n"
        "assert charged == [('bob', 1200), ('alice', 250)]\n"
        "app.close()\n"
    )
    shown = run(f"{halt}\n{show}\n{skip}", tmp_path)
    assert "alice" in shown
    assert "the card is blocked" in shown


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("how-to/replay-dead-letters.md", "3 dead letters of queue payments came back"),
        ("how-to/deal-with-a-halted-lane.md", "the lane of key alice of queue payments goes on"),
        ("how-to/find-the-key-that-is-stuck.md", "the deepest of 100 lanes; --top N shows more"),
    ],
)
def test_the_commands_of_how_to_pages_work(page: str, said: str, tmp_path: Path) -> None:
    """Each command of a page, typed after its first program, ends well; a question is answered as it asks."""
    run(f"{programs(page)[0]}\napp.close()", tmp_path)
    environment = dict(os.environ)
    shown = []
    for command in commands(page):
        name, *words = shlex.split(command)
        if name == "export":
            environment.update([(name, value) for name, _, value in (word.partition("=") for word in words)])
            continue
        ended = subprocess.run(
            [*GLASSQ, *words],
            cwd=tmp_path,
            env=environment,
            input="payments\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        shown.append(ended.stdout)
    assert said in "".join(shown)


def test_the_commands_of_workflows_work(tmp_path: Path) -> None:
    """A workflow is shown, and cancelled once its name was typed."""
    page = "how-to/build-a-workflow.md"
    workflow = run(f"{programs(page)[0]}\napp.close()\nprint(workflow.id)", tmp_path).strip()
    shown = []
    for command in commands(page):
        _, *words = shlex.split(re.sub("~files/[0-9a-f]+", workflow, command))
        ended = subprocess.run(
            [*GLASSQ, *words],
            cwd=tmp_path,
            input="sales\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        shown.append(ended.stdout)
    assert re.search(r"^load +tables/\S+ +deferred +clean, check +-$", shown[0], re.MULTILINE)
    assert shown[1] == f"4 jobs of workflow {workflow} removed or, where they run, asked to stop\n"


def test_the_tutorial_works_from_nothing(tmp_path: Path) -> None:
    """Jobs enqueued before any worker existed run in order, and Ctrl-C is a clean stop."""
    (tmp_path / "shop.py").write_text(programs("tutorials/first-queue.md")[0], encoding="utf-8")
    enqueued = subprocess.run(
        [sys.executable, "shop.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert enqueued.stdout.splitlines() == [f"enqueued as number {number}" for number in (1, 2, 3)]

    with subprocess.Popen(
        [*GLASSQ, "worker", "shop:app", "--http", "127.0.0.1:0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as worker:
        assert worker.stdout is not None
        charged: list[str] = []
        for line in worker.stdout:
            # Not whole lines: two threads that print at once may share one, and leave an empty one behind.
            charged += re.findall(r"charging \w+: \d+ cents", line)
            if len(charged) == len(enqueued.stdout.splitlines()):
                worker.send_signal(signal.SIGINT)
                break
        worker.stdout.read()
        assert worker.wait(timeout=30) == 0
    assert [line for line in charged if "alice" in line] == [
        "charging alice: 500 cents",
        "charging alice: 250 cents",
    ]
    assert "charging bob: 1200 cents" in charged


def run_tests(folder: Path, *arguments: str) -> str:
    """Run the tests of a folder as a stranger would, with glassq's plugin and no other; what pytest said."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "glassq.testing.plugin", *arguments],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_handlers_are_tested_as_documented(tmp_path: Path) -> None:
    """All tests of the page pass, on the application that it shows; the first of them takes five lines."""
    shop, *tests = sorted(
        programs("how-to/test-your-handlers.md"), key=lambda block: "\napp = Glassq(" not in block
    )
    (tmp_path / "shop.py").write_text(shop, encoding="utf-8")
    (tmp_path / "test_shop.py").write_text("\n\n".join(tests), encoding="utf-8")
    written = len(re.findall(r"^ *def test_", "\n".join(tests), flags=re.MULTILINE))
    assert f"{written} passed" in run_tests(tmp_path)
    assert written == 12
    assert len([line for line in tests[0].splitlines() if line.startswith(" ")]) == 5


def test_a_strangers_store_runs_the_suite_as_documented(tmp_path: Path) -> None:
    """In a repository of its own, with the page's ten lines: every test of the suite is found, and passes
    where the store keeps what it promises."""
    (tmp_path / "mystore.py").write_text(
        "from glassq.stores.sqlite.store import SqliteStorage\n"
        "def MyStorage(path, *, clock):\n"
        "    return SqliteStorage.open(f'sqlite:///{path}', clock=clock)\n",
        encoding="utf-8",
    )
    [example] = programs("how-to/prove-a-store.md")
    (tmp_path / "test_mystore.py").write_text(example, encoding="utf-8")
    suite = {name for name in dir(StorageConformance) if name.startswith("test_")}
    found = run_tests(tmp_path, "--collect-only").splitlines()
    assert {line.rpartition("::")[2] for line in found if "TestMyStorage::" in line} == suite
    assert re.search(r"[1-9][0-9]+ passed", run_tests(tmp_path, "-k", "settle"))
