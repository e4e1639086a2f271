"""What is done about an order, apart from the request."""

from __future__ import annotations

from glassq import Glassq

from .models import Order

app = Glassq()  # $GLASSQ_URL, else the file glassq.db in the working directory
app.queue("orders", max_age=60, max_blocked=30, job_timeout=10)


@app.fifo("orders", key="customer", max_retries=3, retry_wait=2)
def pack(customer: str, order: int) -> None:
    """Is given the order's number, not the order: what is read here is what was committed."""
    placed = Order.objects.get(pk=order)
    placed.packed = True
    placed.save()
    print(f"packing {placed.item} for {customer}", flush=True)
