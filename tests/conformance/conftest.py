"""What the suites of all stores share: explained comparisons, and Redis servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from glassq.stores.redis import scripts
from tests.conformance.clusters import RedisCluster, clustered
from tests.conformance.redisservers import bundled_server, running, standing_in, system_server

pytest.register_assert_rewrite("glassq.testing.conformance")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the distribution's server."""
    with running(system_server(), tmp_path_factory.mktemp("installed")) as url:
        yield url


@pytest.fixture(scope="session")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the oldest server that is supported."""
    with running(bundled_server(), tmp_path_factory.mktemp("oldest")) as url:
        yield url


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three nodes of the distribution's server."""
    with clustered(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def oldest_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three nodes of the oldest server that is supported."""
    with clustered(tmp_path_factory.mktemp("oldest-cluster"), binary=bundled_server()) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def stand_in() -> Iterator[str]:
    """The URL of a server that only looks like one."""
    with standing_in() as url:
        # Its connections end with the first error, an unknown script included, so it is told all of them.
        with redis.Redis.from_url(url) as client:
            for script in vars(scripts).values():
                if isinstance(script, scripts.Script):
                    client.script_load(script.source)
        yield url


@pytest.fixture(params=["installed", "oldest"])
def server(request: pytest.FixtureRequest) -> str:
    """The URL of each real server in turn, empty."""
    url: str = request.getfixturevalue(request.param)
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url
