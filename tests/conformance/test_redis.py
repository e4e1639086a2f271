"""The store on Redis keeps every promise of the protocol, on each server it is made for."""

from __future__ import annotations

import pytest
import redis

from glassq.model.clock import Clock
from glassq.storage import Storage
from glassq.stores.redis.store import RedisStorage
from glassq.testing.conformance import StorageConformance
from tests.conformance.clusters import RedisCluster


class RedisPlace:
    """Each handle has connections of its own, as another process would."""

    url: str

    def empty(self, url: str) -> None:
        """Begin a test with a server that knows nothing but its scripts."""
        self.url = url
        with redis.Redis.from_url(url) as client:
            client.flushall()

    def make(self, clock: Clock) -> Storage:
        """A handle on the test's server."""
        return RedisStorage.open(self.url, clock=clock)


class RedisConformance(RedisPlace, StorageConformance):
    """The whole suite."""


class TestInstalledRedis(RedisConformance):
    @pytest.fixture(autouse=True)
    def _place(self, installed: str) -> None:
        self.empty(installed)


class TestOldestRedis(RedisConformance):
    @pytest.fixture(autouse=True)
    def _place(self, oldest: str) -> None:
        self.empty(oldest)


class TestCluster(RedisConformance):
    @pytest.fixture(autouse=True)
    def _place(self, cluster: RedisCluster) -> None:
        cluster.empty()
        self.url = cluster.url


class TestOldestCluster(RedisConformance):
    @pytest.fixture(autouse=True)
    def _place(self, oldest_cluster: RedisCluster) -> None:
        oldest_cluster.empty()
        self.url = oldest_cluster.url


class TestFakeRedis(RedisConformance):
    @pytest.fixture(autouse=True)
    def _place(self, stand_in: str) -> None:
        self.empty(stand_in)
