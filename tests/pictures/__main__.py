"""`python -m tests.pictures DIR`: a minute of a real shop, and every dashboard as a picture of it, in DIR.

Needs a Redis server, Prometheus and Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conformance.redisservers import any_server, running
from tests.integration.observedshop import MINUTE, observed_shop
from tests.pictures.drawing import page

PAGES = (
    ("glassq-overview", ".+"),
    ("glassq-queue", "payments"),
    ("glassq-queue", "webhooks"),
    ("glassq-workers", ".+"),
    ("glassq-storage", ".+"),
    ("glassq-slo", ".+"),
)
"""Which dashboards, and for which queue."""


def photograph(drawn: Path, height: int) -> None:
    """A picture of a page, beside it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no chromium on the PATH: the pages are there, their pictures are not")
    picture = drawn.with_suffix(".png")
    subprocess.run(
        [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            f"--screenshot={picture}",
            f"--window-size=1600,{height}",
            drawn.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )


def main(folder: Path) -> None:
    """Run the shop, draw all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() as scratch,
        running(any_server(), Path(scratch)) as redis_url,
        observed_shop(Path(scratch), redis_url) as (prometheus, _),
    ):
        for uid, queue in PAGES:
            content, height = page(uid, prometheus, MINUTE, queue=queue)
            drawn = folder.resolve() / f"{uid if queue == '.+' else f'{uid}-{queue}'}.html"
            drawn.write_text(content, encoding="utf-8")
            photograph(drawn, height)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
