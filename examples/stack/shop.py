"""The shop of docker-compose.yml: three queues with the troubles that queues have, to have something to see.

payments    a card in 20 is declined at first; some are declined for good and end as dead letters
webhooks    acme's endpoint is down for two minutes in ten: its lane halts and waits for a human, who says
            glassq halted retry webhooks --key acme; the other subscribers go on
mails       reminders that are sent some seconds after they were asked for
parcels     workflows: an item is picked, then packed while its label is printed, then handed over
"""

from __future__ import annotations

import os
import random
import time

from glassq import Composable, From, Glassq, current_job

app = Glassq()  # $GLASSQ_URL
app.queue("payments", max_age=60, max_blocked=30, job_timeout=10, max_length=10_000)
app.queue("webhooks", max_age=300, max_blocked=60, job_timeout=10, max_length=10_000)
app.queue("mails", max_age=300)
app.queue("parcels", max_age=300)

ALWAYS_DOWN = os.environ.get("ACME") == "down"
STOLEN_CARD = 13  # cents: declined for good
chance = random.Random()


class Declined(Exception):
    """The bank says no."""


class Unreachable(Exception):
    """The subscriber's endpoint does not answer."""


@app.fifo("payments", key="customer", max_retries=2, retry_wait=2, timeout=10)
def charge(customer: str, cents: int) -> None:
    """Charges of one customer run in order: what was declined is tried again before the next one."""
    time.sleep(chance.uniform(0.01, 0.12))
    if cents == STOLEN_CARD or (current_job().attempt == 1 and chance.random() < 0.05):
        raise Declined(f"{customer}: {cents} cents")


@app.fifo("webhooks", key="subscriber", max_retries=2, retry_wait=3, timeout=10, on_exhausted="halt")
def deliver(subscriber: str, event: str) -> None:
    """Events of one subscriber are delivered in order or not at all."""
    time.sleep(chance.uniform(0.02, 0.3))
    if subscriber == "acme" and (ALWAYS_DOWN or time.time() % 600 < 120):
        raise Unreachable(f"503 for {event}")


@app.fifo("mails", key="address", max_retries=3, retry_wait=5)
def remind(address: str) -> None:
    """Sent when it is due."""
    time.sleep(0.005 + len(address) / 2000)


@app.fifo("parcels", key="order")
def pick(order: str) -> str:
    """Where the item lay."""
    time.sleep(0.02)
    return f"shelf {len(order)}"


@app.fifo("parcels", key="order")
def pack(order: str, shelf: str) -> float:
    """What the parcel weighs."""
    time.sleep(0.02)
    return len(order + shelf) / 10


@app.fifo("mails")
def print_label(order: str) -> str:
    """Meanwhile, in another queue."""
    time.sleep(0.01)
    return f"label of {order}"


@app.fifo("parcels", key="order")
def hand_over(order: str, weight: float, label: str) -> str:
    """Once both are done."""
    time.sleep(0.01)
    return f"{order}, {weight:g} kg, {label}"


def parcel(order: str) -> Composable:
    """What it takes to send an order."""
    packed = pick.s(order) >> (pack.s(order, From("pick")) | print_label.s(order))
    return packed >> hand_over.s(order, From("pack"), From("print_label"))
