"""What a type checker knows of tasks: arguments, receipts, and what is to be awaited."""

from __future__ import annotations

from pathlib import Path

import pytest

PROGRAM = """
from typing import assert_type
from collections.abc import Coroutine
from typing import Any

from glassq import AsyncTask, Glassq, Receipt, Signature, Task

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

def plain() -> None:
    assert_type(sweep, Task[[], bool])
    assert_type(charge("o-1", 5), Receipt)
    assert_type(charge.enqueue("o-1"), Receipt)
    assert_type(send.enqueue("o-1", urgent=True), Receipt)
    assert_type(charge.s("o-1"), Signature[float])
    assert_type(send.s("o-1", urgent=False), Signature[bytes])
    assert_type(charge.call("o-1"), float)
    here = send.call("o-1", urgent=True)
    known: Coroutine[Any, Any, bytes] = here
    assert_type(app.enqueue_many([charge.s("o-1"), send.s("o-2", urgent=True)]), list[Receipt])

async def coroutine() -> None:
    assert_type(await charge.aenqueue("o-1", 5), Receipt)
    assert_type(await send("o-1", urgent=True), Receipt)
    assert_type(await send.options(delay=5)("o-1", urgent=True), Receipt)
    assert_type(await send.options(delay=5).aenqueue("o-1", urgent=True), Receipt)
    assert_type(await app.aenqueue_many([charge.s("o-1"), send.s("o-2", urgent=True)]), list[Receipt])

async def mistakes() -> None:
    await charge.aenqueue(1)  # E: arg-type
    await charge.aenqueue()  # E: call-arg
    await send("o-1")  # E: call-arg
    await send.aenqueue("o-1", urgent="yes")  # E: arg-type
    send("o-1", urgent=True).seq  # E: attr-defined
    await charge("o-1")  # E: misc
    send("o-1", urgent=True)  # E: unused-coroutine
"""


def test_a_type_checker_knows_what_is_awaited(tmp_path: Path) -> None:
    """Arguments are checked in every way to enqueue a call; each marked mistake is found, nothing else."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    root = Path(__file__).parents[2]
    options = ["--config-file", str(root / "pyproject.toml"), "--no-error-summary", "--hide-error-context"]
    told, errors, _ = api.run([*options, "--cache-dir", str(root / ".mypy_cache"), str(program)])
    assert errors == ""
    found = {
        (int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]"))
        for line in told.splitlines()
        if ": error:" in line
    }
    marked = {
        (number, line.partition("# E: ")[2])
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if "# E: " in line
    }
    assert found == marked, told
