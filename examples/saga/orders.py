"""A saga: an order is reserved, paid and shipped, and what was done is undone when a later step fails.

    python orders.py order-1 order-2      submits the orders, works until they have ended, prints their ledger

Each step does one thing in some system of its own, so there is no transaction around them. Behind all of them
comes `conclude`, however they ended: where one failed, it calls what undoes those that succeeded, the last
first. Those are jobs as others, with retries of their own; `dedup_id` makes each of them one job, should
`conclude` run twice. FAIL names a step that fails ("reserve", "charge" or "ship").
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from glassq import Composable, Glassq, current_job
from glassq.model.jobs import JobState, Receipt

app = Glassq()  # $GLASSQ_URL, else the file glassq.db in the working directory
LEDGER = Path(os.environ.get("LEDGER", "ledger.txt"))
FAIL = os.environ.get("FAIL", "")


def note(what: str, order: str) -> None:
    """What happened, in the order in which it did."""
    with LEDGER.open("a", encoding="utf-8") as ledger:
        ledger.write(f"{what} {order}\n")


def do(what: str, order: str) -> None:
    """One step of an order."""
    if what == FAIL:
        raise RuntimeError(f"{what} failed for {order}")
    note(what, order)


@app.fifo("stock", key="order", max_retries=0)
def reserve(order: str) -> None:
    """Keep the goods for this order."""
    do("reserve", order)


@app.fifo("payments", key="order", max_retries=1, retry_wait=0.1)
def charge(order: str) -> None:
    """Take the money."""
    do("charge", order)


@app.fifo("parcels", key="order", max_retries=0)
def ship(order: str) -> None:
    """Hand it over: what cannot be undone comes last."""
    do("ship", order)


@app.fifo("stock", key="order", max_retries=-1, retry_wait=1)
def release(order: str) -> None:
    """Undo `reserve`: tried until it succeeds."""
    note("release", order)


@app.fifo("payments", key="order", max_retries=-1, retry_wait=1)
def refund(order: str) -> None:
    """Undo `charge`."""
    note("refund", order)


UNDO = {"charge": refund, "reserve": release}
"""The last step first."""


@app.fifo("orders", key="order")
def conclude(order: str) -> None:
    """Behind all steps, however they ended."""
    outcomes = current_job().upstream.outcomes
    succeeded = {step for step, ends in outcomes.items() if ends == (JobState.SUCCEEDED,)}
    if "ship" in succeeded:
        note("done", order)
        return
    note("undoing", order)
    before: list[Receipt] = []
    for step, undo in UNDO.items():
        if step in succeeded:
            before = [undo.options(dedup_id=f"undo-{step}-{order}", depends_on=before)(order)]


def saga(order: str) -> Composable:
    """The steps of one order, and what comes behind all of them."""
    steps = reserve.s(order), charge.s(order), ship.s(order)
    first, second, third = steps
    in_turn = first >> second >> third
    return in_turn | (first | second | third).then(conclude.s(order), on_failure="run")


def run(orders: list[str]) -> dict[str, str]:
    """Submit the orders, and work until nothing is left to do; how they ended."""
    workflows = {order: app.submit(saga(order), name="order") for order in orders}
    app.worker().run_until_idle()
    return {order: workflow.status() for order, workflow in workflows.items()}


if __name__ == "__main__":
    for order, status in run(sys.argv[1:]).items():
        print(f"{order}: {status}")
    print(LEDGER.read_text(encoding="utf-8"), end="")
