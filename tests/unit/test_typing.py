"""What type checkers know of tasks, as a program that installs the library sees them: arguments, options,
receipts, and what is to be awaited."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYRIGHT = ROOT / "tests/typecheck/node_modules/.bin/pyright"

PROGRAM = """
# pyright: strict, reportUnusedVariable=false
from collections.abc import Coroutine
from typing import Any, assert_type

import glassq
from glassq import Glassq, JobContext, Priority, Receipt, Signature, WorkflowStatus, current_job

app = Glassq("sqlite://")

@app.fifo("q", key="order")
def charge(order: str, cents: int = 0) -> float:
    return 1.0

@app.fifo("q", timeout=5)
async def send(order: str, *, urgent: bool) -> bytes:
    return b""

@app.every(60)
@app.fifo("q")
def sweep() -> bool:
    return True

@glassq.fifo("q", max_retries=0)
def note(*lines: str) -> None: ...

def plain(kept: Receipt) -> None:
    assert_type(sweep(), Receipt[bool])
    assert_type(charge("o-1", 5), Receipt[float])
    assert_type(charge.enqueue("o-1"), Receipt[float])
    assert_type(charge.options(key="k", priority=Priority.HIGH)("o-1"), Receipt[float])
    assert_type(send.enqueue("o-1", urgent=True), Receipt[bytes])
    assert_type(send.options(delay=5).enqueue("o-1", urgent=True), Receipt[bytes])
    assert_type(note("a", "b"), Receipt[None])
    assert_type(charge.options(result_ttl=60)("o-1").result(timeout=5), float)
    assert_type(charge.s("o-1"), Signature[float])
    assert_type(charge.options(ttl=5).s("o-1"), Signature[float])
    assert_type(send.s("o-1", urgent=False), Signature[bytes])
    assert_type(charge.call("o-1"), float)
    here = send.call("o-1", urgent=True)
    known: Coroutine[Any, Any, bytes] = here
    assert_type(app.enqueue_many([charge.s(each) for each in "abc"]), list[Receipt[float]])
    mixed: list[Receipt] = app.enqueue_many([charge.s("o-1"), send.s("o-2", urgent=True)])
    for receipt in app.enqueue_each(note.s(each) for each in "abc"):
        assert_type(receipt, Receipt[None])
    kept = charge("o-1")

def inside() -> None:
    assert_type(current_job(), JobContext)
    current_job().progress(0.5)
    assert_type(current_job(None), JobContext | None)
    current_job(None).progress(0.5)  # E: union-attr reportOptionalMemberAccess

async def coroutine() -> None:
    assert_type(await charge.aenqueue("o-1", 5), Receipt[float])
    assert_type(await send("o-1", urgent=True), Receipt[bytes])
    assert_type(await send.options(delay=5)("o-1", urgent=True), Receipt[bytes])
    assert_type(await send.options(delay=5).aenqueue("o-1", urgent=True), Receipt[bytes])
    assert_type(await app.aenqueue_many([charge.s("o-1")]), list[Receipt[float]])
    assert_type(await (await send("o-1", urgent=True)).aresult(), bytes)
    workflow = await app.asubmit(charge.s("o-1") >> send.s("o-1", urgent=True))
    assert_type(await workflow.wait_async(timeout=5), WorkflowStatus)

async def arguments() -> None:
    charge(1)  # E: arg-type reportArgumentType
    charge.enqueue("o-1", "5")  # E: arg-type reportArgumentType
    charge.call("o-1", penny=5)  # E: call-arg reportCallIssue
    charge.s()  # E: call-arg reportCallIssue
    charge.options(delay=5)(1)  # E: arg-type reportArgumentType
    charge.options(delay=5).s("o-1", cents="5")  # E: arg-type reportArgumentType
    note(1)  # E: arg-type reportArgumentType
    await charge.aenqueue(1)  # E: arg-type reportArgumentType
    await send("o-1")  # E: call-arg reportCallIssue
    await send.aenqueue("o-1", urgent="yes")  # E: arg-type reportArgumentType
    await send.options(delay=5)("o-1", urgent="yes")  # E: arg-type reportArgumentType

def options() -> None:
    charge.options(delai=5)  # E: call-arg reportCallIssue
    charge.options(delay="5")  # E: arg-type reportArgumentType
    app.fifo("q", max_retry=4)  # E: arg-type reportArgumentType
    glassq.fifo("q", retry_wait="4")  # E: arg-type reportArgumentType
    app.fifo("q")(5)  # E: call-overload reportCallIssue,reportArgumentType
    app.defaults(max_retry=4)  # E: call-arg reportCallIssue
    app.queue("q", max_lenght=1000)  # E: call-arg reportCallIssue
    app.queue("q", max_age="1m")  # E: arg-type reportArgumentType
    app.worker(["q"], windwo=64)  # E: call-arg reportCallIssue
    app.worker(assigned="tenant-7")  # E: arg-type reportArgumentType
    app.async_worker(concurency=4)  # E: call-arg reportCallIssue
    app.lifespan(concurency=4)  # E: call-arg reportCallIssue
    app.queue("q", turn=32, weights={"k": 2}, durability="replicated:2", on_unknown="bury")
    app.worker(concurrency=2, assigned=["tenant-*"], steal_from=("k",), schedules=False)
    app.lifespan(queues=["q"], drain=5, window=16)

async def awaiting() -> None:
    send("o-1", urgent=True).seq  # E: attr-defined reportAttributeAccessIssue,reportUnknownMemberType
    await charge("o-1")  # E: misc reportGeneralTypeIssues
    send("o-1", urgent=True)  # E: unused-coroutine reportUnusedCoroutine
    wrong: Receipt[str] = await send("o-1", urgent=True)  # E: assignment reportAssignmentType
    wrong = charge("o-1")  # E: assignment reportAssignmentType
"""


def marked(checker: int) -> set[tuple[int, str]]:
    """Line and kind of each mistake in the program; which word of the mark is this checker's."""
    return {
        (number, kind)
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if "# E: " in line
        for kind in line.partition("# E: ")[2].split()[checker].split(",")
    }


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program of somebody who has installed the library, outside its repository."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


@pytest.mark.slow
def test_mypy_finds_each_mistake_and_nothing_else(program: Path) -> None:
    """Types of receipts, signatures and results are known; wrong arguments and options are errors in every
    way to enqueue a call."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    words = ["--strict", "--config-file=", "--no-error-summary", "--hide-error-context"]
    cache = ["--cache-dir", str(ROOT / ".mypy_cache/consumer"), "--python-executable", sys.executable]
    told, errors, _ = api.run([*words, *cache, str(program)])
    assert errors == ""
    found = re.findall(r"^.*?:(\d+): error: .*\[([\w-]+)\]$", told, re.MULTILINE)
    assert {(int(line), kind) for line, kind in found} == marked(0), told


@pytest.mark.slow
@pytest.mark.skipif(not PYRIGHT.exists(), reason="pyright is not here: make tests/typecheck/node_modules")
def test_pyright_finds_each_mistake_and_nothing_else(program: Path) -> None:
    """As mypy does."""
    command = [str(PYRIGHT), "--outputjson", "--pythonpath", sys.executable, program.name]
    ended = subprocess.run(
        command, cwd=program.parent, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.stderr == ""
    said = json.loads(ended.stdout)["generalDiagnostics"]
    assert {(each["range"]["start"]["line"] + 1, each["rule"]) for each in said} == marked(1), ended.stdout
