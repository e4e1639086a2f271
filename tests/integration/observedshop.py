"""The shop of docker-compose.yml without containers: real Redis, producer, two workers, real Prometheus."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from glassq.cli.demo.otlp import SpanCollector
from glassq.cli.rules.command import rule_files
from tests.integration.theatre import EXAMPLES, Theatre, fetch, free_port
from tests.processes import wait_until

EVERY = "1s"
"""Scrapes and rules, so that a minute holds enough of them."""
JOB = "shop"

Series = dict[str, Any]


class Prometheus:
    """A server that scrapes these targets, with the rules, and answers questions."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("no prometheus on the PATH (Debian, Ubuntu: apt install prometheus)")
        folder.mkdir()
        rules = rule_files()["prometheus/glassq-rules.yml"].decode()
        # The long windows are recorded every two minutes: a minute would hold none of them.
        (folder / "rules.yml").write_text(rules.replace("interval: 2m", f"interval: {EVERY}"))
        configuration = {
            "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": targets}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._ready, "Prometheus", (folder / "log").read_text)

    def _ready(self) -> bool:
        try:
            return bool(fetch(f"{self.url}/-/ready"))
        except OSError:
            return False

    def ask(self, path: str, **parameters: object) -> Any:
        """The data of an answer of the API; an error is the test's failure, with what Prometheus says."""
        try:
            return json.loads(fetch(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def now(self, expr: str) -> list[Series]:
        """The series of an expression at this moment."""
        answer: list[Series] = self.ask("query", query=expr)["result"]
        return answer

    def happened(self, expr: str) -> bool:
        """Whether an expression has an answer, asked no more often than there can be a new one."""
        time.sleep(0.5)
        return bool(self.now(expr))

    def over_time(self, expr: str, seconds: float, step: float = 1) -> list[Series]:
        """The series of an expression up to now."""
        end = time.time()
        answer = self.ask("query_range", query=expr, start=end - seconds, end=end, step=step)
        found: list[Series] = answer["result"]
        return found

    def exemplars(self, expr: str, seconds: float) -> list[Series]:
        """The exemplars that lie on the series of an expression."""
        end = time.time()
        found: list[Series] = self.ask("query_exemplars", query=expr, start=end - seconds, end=end)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def close(self) -> None:
        """It goes at once: nobody will ask for its data."""
        self._process.kill()
        self._process.wait()


@contextmanager
def observed_shop(folder: Path, redis_url: str) -> Iterator[tuple[Prometheus, SpanCollector]]:
    """Orders come in and are worked off, with retries, dead letters, delayed jobs and a lane that halts."""
    with SpanCollector() as collector:
        theatre = Theatre(folder, redis_url, "stack", collector)
        try:
            port = free_port()
            producer = str(EXAMPLES / "stack/producer.py")
            theatre.start("shop", producer, PORT=str(port), RATE="8")
            workers = [theatre.worker("shop:app", name, ACME="down") for name in ("worker-a", "worker-b")]
            addresses = [theatre.address("shop"), *workers]
            prometheus = Prometheus(folder / "prometheus", [each.partition("//")[2] for each in addresses])
            try:
                yield prometheus, collector
            finally:
                prometheus.close()
        finally:
            theatre.close()
