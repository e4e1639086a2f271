"""The store on Redis keeps its promises about jobs that wait for others, on each server it is made for."""

from __future__ import annotations

import pytest

from glassq.testing.conformance import FlowConformance
from tests.conformance.clusters import RedisCluster
from tests.conformance.test_redis import RedisPlace


class TestInstalledRedis(RedisPlace, FlowConformance):
    @pytest.fixture(autouse=True)
    def _place(self, installed: str) -> None:
        self.empty(installed)


class TestOldestRedis(RedisPlace, FlowConformance):
    @pytest.fixture(autouse=True)
    def _place(self, oldest: str) -> None:
        self.empty(oldest)


class TestCluster(RedisPlace, FlowConformance):
    @pytest.fixture(autouse=True)
    def _place(self, cluster: RedisCluster) -> None:
        cluster.empty()
        self.url = cluster.url


class TestOldestCluster(RedisPlace, FlowConformance):
    @pytest.fixture(autouse=True)
    def _place(self, oldest_cluster: RedisCluster) -> None:
        oldest_cluster.empty()
        self.url = oldest_cluster.url


class TestFakeRedis(RedisPlace, FlowConformance):
    @pytest.fixture(autouse=True)
    def _place(self, stand_in: str) -> None:
        self.empty(stand_in)
