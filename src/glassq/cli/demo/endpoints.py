"""What a worker says about itself over HTTP: its real /metrics and health pages."""

from __future__ import annotations

import http.client
from collections import Counter
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families


def get(url: str, path: str) -> tuple[int, str]:
    """Status and text of one page; `OSError` when nobody answers."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=5.0)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def totals(exposition: str, queue: str) -> Counter[str]:
    """Every sample of one queue by name, its other labels summed over."""
    sums: Counter[str] = Counter()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.labels.get("queue") == queue:
                sums[sample.name] += int(sample.value)
    return sums
