"""Everything a network can do to a connection, for producers and workers at once: no doubles, no loss, no
other order."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.chaos.bounds import STALLED_IN_FLIGHT, assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.proxy import STRIKING, Fault, Proxy
from tests.chaos.servers import AOF_EVERYSEC, serving
from tests.chaos.sizes import Sizes

SILENT = (Fault.SWALLOW_REQUESTS, Fault.SWALLOW_REPLIES)


@pytest.mark.parametrize("fault", [*STRIKING, Fault.DELAY, Fault.BYTEWISE])
def test_a_bad_network_changes_nothing(tmp_path: Path, stages: Stages, sizes: Sizes, fault: Fault) -> None:
    """Requests and replies are lost, late or in pieces, on the producers' side and on the workers': every
    request is repeated until it is answered, and carried out once."""
    # A silent connection is given up after seconds, so that fewer of them fit.
    seldom = fault in SILENT or fault is Fault.DELAY
    wanted = sizes.pick(2, 40) if seldom else sizes.pick(20, 300)
    with (
        serving(tmp_path / "server", *AOF_EVERYSEC) as server,
        Proxy(server.port, seed=f"{sizes.seed}:producers") as calling,
        Proxy(server.port, seed=f"{sizes.seed}:workers") as working,
    ):
        stage = stages(server.url)
        for number in range(2):
            stage.producer(f"p{number}", GLASSQ_URL=calling.url)
            stage.worker(GLASSQ_URL=working.url)
        stage.wait_for_more("settle.ok", 20)
        calling.fault = working.fault = fault
        ends = time.monotonic() + sizes.budget
        stage.wait_for(
            lambda: min(calling.faults_done, working.faults_done) >= wanted or time.monotonic() > ends,
            f"{wanted} faults",
            timeout=sizes.budget + 30,
        )
        stage.wait_for_more("enqueue.ok", 5)
        stage.wait_for_more("settle.ok", 20)
        stage.figures.count(network_faults=calling.faults_done + working.faults_done)
        for proxy in (calling, working):
            proxy.fault = Fault.NONE
            proxy.sever()  # what is silent would stay so
        stage.check_history()
    assert not stage.events("loss")
    # To whom nothing comes back the store stalls, for as long as it takes to give a connection up.
    assert_reruns(stage, STALLED_IN_FLIGHT if fault in SILENT else 1)
    assert min(calling.faults_done, working.faults_done) >= sizes.pick(wanted, 1)
