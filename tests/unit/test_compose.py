"""The stack of docker-compose.yml hangs together: what one service names, another one is.

Nothing here starts a container; what is checked is what would keep `docker compose up` from working, or a
link of it from leading anywhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from glassq.observe.dashboards.rendering import dashboard_files
from glassq.observe.dashboards.variables import DOCS_SERVED, SERVICE
from tests.rules import ALERTS

ROOT = Path(__file__).parents[2]
STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = STACK["services"]
PROMETHEUS = yaml.safe_load((ROOT / "examples/stack/prometheus.yml").read_text(encoding="utf-8"))
SOURCES = yaml.safe_load((ROOT / "grafana/provisioning/datasources/glassq.yml").read_text(encoding="utf-8"))
PROVIDERS = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/glassq.yml").read_text(encoding="utf-8"))
IMAGES = {
    "redis": "redis:8.6-alpine",
    "prometheus": "prom/prometheus:v3.12.0",
    "alertmanager": "prom/alertmanager:v0.34.1",
    "grafana": "grafana/grafana:12.4.2",
    "jaeger": "jaegertracing/jaeger:2.20.0",
}

each_service = pytest.mark.parametrize("name", SERVICES)


def published() -> list[tuple[str, str, str, int]]:
    """Service, address, port on this machine and port in the container, of every published port."""
    return [
        (name, *port.split(":")[:2], int(port.split(":")[2]))
        for name, service in SERVICES.items()
        for port in service.get("ports", ())
    ]


LISTENING = {(name, inside) for name, _, _, inside in published()}
"""Where services can be reached by each other. Each port is also published, so that a person may look."""


def mounts(name: str) -> dict[str, tuple[str, str]]:
    """Path in the container -> what is mounted there, and how."""
    parts = [[*volume.split(":"), "rw"][:3] for volume in SERVICES[name].get("volumes", ())]
    return {inside: (outside, how) for outside, inside, how in parts}


def named_addresses() -> list[tuple[str, str, int]]:
    """Every address of a service that some file names, with where it stands."""
    found = [
        (f"{name}: {variable}", value)
        for name, service in SERVICES.items()
        for variable, value in service.get("environment", {}).items()
        if "://" in value
    ]
    found += [(f"data source {source['name']}", source["url"]) for source in SOURCES["datasources"]]
    targets = [each for job in PROMETHEUS["scrape_configs"] for each in job["static_configs"]]
    targets += [each for one in PROMETHEUS["alerting"]["alertmanagers"] for each in one["static_configs"]]
    found += [("prometheus.yml", f"http://{target}") for each in targets for target in each["targets"]]
    split = [(where, urlsplit(url)) for where, url in found]
    return [(where, url.hostname or "", url.port or 0) for where, url in split]


# -- services ------------------------------------------------------------------------------------------


def test_the_stack_is_whole_and_its_versions_are_fixed() -> None:
    """Everything that is promised is there, in the versions that the rest was checked with."""
    assert {name: service["image"] for name, service in SERVICES.items() if "build" not in service} == IMAGES
    assert {name for name, service in SERVICES.items() if "build" in service} == {
        "worker-a",
        "worker-b",
        "producer",
        "documentation",
    }


@each_service
def test_services_wait_for_what_can_tell_that_it_is_ready(name: str) -> None:
    """What a service waits for exists, and has a health check where it is waited for until it is healthy."""
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        if wait["condition"] == "service_healthy":
            assert SERVICES[other]["healthcheck"]["test"][0] == "CMD"


@each_service
def test_everything_that_is_mounted_exists(name: str) -> None:
    """Files and folders of the repository are there, and read-only; volumes and secrets are declared."""
    for outside, how in mounts(name).values():
        if outside.startswith("."):
            assert (ROOT / outside).exists()
            assert how == "ro"
        else:
            assert outside in STACK["volumes"]
    for secret in SERVICES[name].get("secrets", ()):
        assert (ROOT / STACK["secrets"][secret]["file"]).read_text(encoding="utf-8").strip()


def test_ports_are_this_machines_own() -> None:
    """No port is published twice, and none to other machines: nobody has to log in."""
    ports = [port for _, _, port, _ in published()]
    assert len(ports) == len(set(ports))
    assert {address for _, address, _, _ in published()} == {"127.0.0.1"}


def test_every_address_is_that_of_a_service() -> None:
    """Scrape targets, data sources, OTLP endpoints, the store: host is a service, and it listens there."""
    addresses = named_addresses()
    assert len(addresses) >= 13
    assert [each for each in addresses if each[1:] not in LISTENING] == []


def test_applications_listen_where_they_are_scraped() -> None:
    """The port of a scrape target is the one that the command of the service names."""
    for job in PROMETHEUS["scrape_configs"]:
        for target in job["static_configs"][0]["targets"]:
            host, _, port = target.partition(":")
            command = " ".join(SERVICES[host]["command"])
            program = (ROOT / "examples/stack/producer.py").read_text(encoding="utf-8")
            assert f":{port}" in command or ("producer.py" in command and f"PORT = {port}\n" in program)


# -- files ---------------------------------------------------------------------------------------------


def test_the_image_is_made_of_what_is_there() -> None:
    """What the Dockerfile copies exists and is let into the build; commands name files of the image."""
    dockerfile = (ROOT / "examples/stack/Dockerfile").read_text(encoding="utf-8")
    copied = " ".join(re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)).split()
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for path in copied:
        assert (ROOT / path).exists()
        assert f"!{path}" in let_in
    for service in SERVICES.values():
        programs = [word for word in service.get("command", ()) if word.endswith(".py")]
        assert all((ROOT / "examples/stack" / program).exists() for program in programs)


def test_prometheus_finds_rules_token_and_exemplars() -> None:
    """The paths of its configuration are mounted, and exemplars are kept: without the feature there is no way
    from a curve to a trace."""
    inside = mounts("prometheus")
    for rules in PROMETHEUS["rule_files"]:
        assert inside[rules][0] == "./grafana/prometheus/glassq-rules.yml"
    for job in PROMETHEUS["scrape_configs"]:
        secret = Path(job["authorization"]["credentials_file"])
        assert secret.parent == Path("/run/secrets")
        assert secret.name in SERVICES["prometheus"]["secrets"]
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_configuration() -> None:
    """Prometheus' own reader takes the file, without the paths that exist only in the container."""
    command = ["promtool", "check", "config", "--syntax-only", str(ROOT / "examples/stack/prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert checked.returncode == 0, checked.stderr


def test_grafana_finds_dashboards_and_opens_traces() -> None:
    """Providers read mounted folders; an exemplar's label leads to the data source that shows its trace."""
    inside = mounts("grafana")
    for provider in PROVIDERS["providers"]:
        assert inside[provider["options"]["path"]][0] == "./grafana/dashboards"
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) in inside
    assert home.name in dashboard_files()
    by_uid = {source["uid"]: source for source in SOURCES["datasources"]}
    assert len(by_uid) == len(SOURCES["datasources"])
    (way,) = by_uid["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert way["name"] == "trace_id"
    assert by_uid[way["datasourceUid"]]["type"] == "jaeger"
    for worker in ("worker-a", "worker-b"):
        assert SERVICES[worker]["environment"]["OTEL_SERVICE_NAME"] == SERVICE.query


def test_links_to_this_machine_lead_to_a_service() -> None:
    """Alerts name dashboards, and dashboards runbooks, at addresses that the stack publishes."""
    ports = {int(port) for _, _, port, _ in published()}
    links = {DOCS_SERVED, *(rule.annotations["dashboard_url"].partition("?")[0] for rule in ALERTS)}
    assert {urlsplit(link).port for link in links} <= ports
    assert mounts("documentation")["/docs"][0] == "./docs"
