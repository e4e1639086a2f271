"""The server the model is held against."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.conformance.redisservers import bundled_server, running, system_server


@pytest.fixture(scope="module", params=[system_server, bundled_server], ids=["installed", "oldest"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that can be told to load its data anew, as a restart does."""
    binary = request.param()
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    # Redis 6.2 has no such option, and needs none.
    options = [] if "v=6." in version else ["--enable-debug-command", "yes"]
    with running(binary, tmp_path_factory.mktemp("server"), *options) as url:
        yield url


@pytest.fixture
def share(request: pytest.FixtureRequest) -> int:
    """How often this server gets the usual number of examples: three times in all, the oldest one once."""
    return 1 if request.node.callspec.params["server"] is bundled_server else 2
