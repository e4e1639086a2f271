"""What the reader chooses at the top of a dashboard."""

from __future__ import annotations

from msgspec import UNSET

from glassq.observe.dashboards.queries import known
from glassq.observe.dashboards.schema import PROMETHEUS, Variable

DOCS_SERVED = "http://localhost:8000"
"""By the stack of docker-compose.yml."""
ANY = ".+"
"""All values, as a regular expression: matches series that have the label at all."""

DATASOURCE = Variable(
    name="datasource",
    label="Data source",
    description="The Prometheus that scrapes your applications.",
    type="datasource",
    query="prometheus",
)
TRACES = Variable(
    name="traces",
    label="Traces",
    description="The Jaeger that links to traces open.",
    type="datasource",
    query="jaeger",
)
SERVICE = Variable(
    name="service",
    label="Trace service",
    description="service.name of the workers (OTEL_SERVICE_NAME); links to traces search under it.",
    type="textbox",
    query="glassq-worker",
    current={"text": "glassq-worker", "value": "glassq-worker"},
)
DOCS = Variable(
    name="docs",
    label="Docs",
    description="Where the folder docs of glassq is served; the links to runbooks lead there.",
    type="textbox",
    query=DOCS_SERVED,
    current={"text": DOCS_SERVED, "value": DOCS_SERVED},
)


def _values(name: str, label: str, description: str, metric: str, *, many: bool) -> Variable:
    """The values of a label, found anew when the time changes."""
    chosen = "" if name == "job" else '{job=~"$job"}'
    return Variable(
        name=name,
        label=label,
        description=description,
        type="query",
        datasource=PROMETHEUS,
        query={"qryType": 1, "query": f"label_values({known(metric).name}{chosen}, {name})", "refId": name},
        current={"text": ["All"], "value": ["$__all"]} if many else UNSET,
        include_all=many,
        multi=many,
        all_value=ANY,
        refresh=2,
    )


JOB = _values(
    "job",
    "Job",
    "The scrape job of an application. Applications whose queues have equal names are told apart here.",
    "build_info",
    many=True,
)
INSTANCE = _values("instance", "Instance", "Processes that are scraped.", "build_info", many=True)
QUEUES = _values("queue", "Queue", "Queues to show.", "queue_depth", many=True)
QUEUE = _values("queue", "Queue", "The queue to look into.", "queue_depth", many=False)
