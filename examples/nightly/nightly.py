"""A nightly report for each region, written by whichever worker is free.

    glassq worker nightly:app                  one of all workers that run leads the schedules
    glassq schedule list                       when the next reports are due, and what was missed
    glassq schedule run-now report-north       one more, now

Reports of one region are written in order, those of several side by side. After an outage of some nights each
is made up for, as `missed="all"` asks, and a report knows the night it is for, however late it is written.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from glassq import Glassq, current_job

ZONE = ZoneInfo("Europe/Stockholm")

app = Glassq()  # $GLASSQ_URL, else the file glassq.db in the working directory
app.queue("reports", max_age=3600, job_timeout=600)


@app.fifo("reports", key="region", max_retries=5, retry_wait=60)
def write_report(region: str) -> None:
    """The report of the day before the night in which it is due; of today when it is run by hand."""
    due = current_job().slot or datetime.now(UTC)
    folder = Path(os.environ.get("REPORTS", "."))
    with (folder / f"{region}.txt").open("a", encoding="utf-8") as report:
        report.write(f"written for {due.astimezone(ZONE):%Y-%m-%d}\n")


for each in ("north", "south"):
    app.schedule(
        f"report-{each}", write_report.s(each), cron="30 2 * * *", timezone=ZONE.key, missed="all", jitter=60
    )
