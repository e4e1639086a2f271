"""Extract, transform, load: files of sales go into one table, all of them or none.

    python etl.py north.csv south.csv     submits the workflow, works until it has ended, prints what it did

Each file is read, then cleaned and counted side by side; once all of that is done, one step loads everything.
A file that cannot be read is tried again, then given up: what is behind it is cancelled, and the table stays
as it was. Repair the file, then `glassq dead replay files` and start again with no arguments: the rest
follows.

Files have a line of headings and the columns day, product, cents.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from glassq import Composable, From, Glassq, Workflow, current_job, parallel

app = Glassq()  # $GLASSQ_URL, else the file glassq.db in the working directory
TABLE = os.environ.get("SALES", "sales.db")


class Sale(msgspec.Struct):
    """One line of a file."""

    day: str
    product: str
    cents: int


class Count(msgspec.Struct):
    """What a file should come to."""

    lines: int
    cents: int


@app.fifo("files", max_retries=2, retry_wait=0.2)
def extract(path: str) -> list[Sale]:
    """The lines of one file."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [Sale(row["day"], row["product"], int(row["cents"])) for row in csv.DictReader(file)]


@app.fifo("sales")
def clean(sales: list[Sale]) -> list[Sale]:
    """Names as the table has them; nothing that is no sale."""
    return [Sale(sale.day, sale.product.strip().lower(), sale.cents) for sale in sales if sale.cents > 0]


@app.fifo("counts")
def count(sales: list[Sale]) -> Count:
    """Beside the cleaning, so that nothing gets lost there without being noticed."""
    sold = [sale.cents for sale in sales if sale.cents > 0]
    return Count(len(sold), sum(sold))


@app.fifo("tables")
def load(batches: list[list[Sale]], counts: list[Count]) -> int:
    """Everything in one transaction. Should this job run twice, the second time changes nothing: its id is
    written with the rows."""
    sales = [sale for batch in batches for sale in batch]
    if sum(sale.cents for sale in sales) != sum(each.cents for each in counts):
        raise ValueError("the rows do not come to what was counted")
    with closing(sqlite3.connect(TABLE)) as table, table:
        table.execute("CREATE TABLE IF NOT EXISTS loads (job TEXT PRIMARY KEY)")
        table.execute("CREATE TABLE IF NOT EXISTS sales (day TEXT, product TEXT, cents INTEGER)")
        if table.execute("INSERT OR IGNORE INTO loads VALUES (?)", (current_job().id,)).rowcount:
            rows = [(sale.day, sale.product, sale.cents) for sale in sales]
            table.executemany("INSERT INTO sales VALUES (?, ?, ?)", rows)
    return len(sales)


def pipeline(paths: list[str]) -> Composable:
    """The steps for these files."""
    per_file = [extract.s(path) >> (clean.s(From("extract")) | count.s(From("extract"))) for path in paths]
    return parallel(*per_file) >> load.s(From("clean", many=True), From("count", many=True))


def run(paths: list[str]) -> Workflow | None:
    """Submit the workflow, if there are files, and work until nothing is left to do."""
    workflow = app.submit(pipeline(paths), name="sales") if paths else None
    app.worker(concurrency=4).run_until_idle()
    return workflow


if __name__ == "__main__":
    done = run(sys.argv[1:])
    if done is not None:
        print(f"{done.id} {done.status()}")
        print(done.graph().mermaid(), end="")
