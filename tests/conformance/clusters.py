"""Redis clusters for the tests: real nodes on loopback, each with ports of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.conformance.redisservers import system_server
from tests.processes import wait_until

SLOTS = 16384
NODE_TIMEOUT = 1.0
"""Seconds after which the others take a node that is silent for dead."""
_LARGEST_PORT = 55000
"""A node's second port is its first one and 10,000."""


class Node:
    """One node, in a process of its own; its data are in memory alone."""

    def __init__(self, folder: Path, binary: str) -> None:
        folder.mkdir(parents=True)
        self._binary = binary
        self.folder = folder
        self.port = _two_free_ports()
        self.away = False
        """Whether it was killed or stopped."""
        self.start()

    def start(self) -> None:
        """Start it, also after a kill: it knows its cluster from its file."""
        command = [
            *(self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "no", "--cluster-enabled", "yes"),
            *("--cluster-node-timeout", str(int(NODE_TIMEOUT * 1000)), "--cluster-config-file", "nodes.conf"),
            *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
            *("--cluster-require-full-coverage", "no"),  # the other nodes' slots go on without a dead one
        ]
        with (self.folder / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self.away = False
        wait_until(self._answers, f"node {self.port} to answer", self._log, 20)

    def admin(self) -> redis.Redis:
        """A connection of its administrator."""
        return redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0))

    def ask(self, *command: str | int) -> Any:
        """One command, as its administrator."""
        with self.admin() as admin:
            return admin.execute_command(*command)

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        told = self.ask("CLUSTER", "MYID")
        return told.decode() if isinstance(told, bytes) else str(told)

    def stop(self) -> None:
        """SIGSTOP."""
        self.away = True
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self._process.pid, signal.SIGCONT)
        self.away = False

    def kill(self) -> None:
        """`kill -9`."""
        self.away = True
        self._process.kill()
        self._process.wait()

    def knows(self, role: str) -> bool:
        """Whether it takes itself for a `master` or a `slave`."""
        return bool(self.ask("ROLE")[0].decode() == role)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log()
        with contextlib.suppress(redis.RedisError):
            self.ask("PING")
            return True
        return False

    def _log(self) -> str:
        return (self.folder / "redis.log").read_text()[-2000:]


class RedisCluster:
    """Three masters with all slots, and perhaps a replica for each."""

    def __init__(self, folder: Path, binary: str, replicas: int = 0) -> None:
        self.nodes = [Node(folder / f"node{number}", binary) for number in range(3 * (1 + replicas))]
        self.masters, self.replicas = self.nodes[:3], self.nodes[3:]
        self._join()
        for number, replica in enumerate(self.replicas):
            master = self.masters[number % 3].id
            wait_until(lambda: master in _told(replica), "a replica that knows its master", str, 20)  # noqa: B023
            replica.ask("CLUSTER", "REPLICATE", master)
        self.wait_until_ready()

    @property
    def url(self) -> str:
        """What names it: two of its nodes, the rest is theirs to tell."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}"

    def _join(self) -> None:
        share = SLOTS // 3 + 1
        for number, node in enumerate(self.masters):
            first, last = number * share, min(SLOTS, (number + 1) * share) - 1
            node.ask("CLUSTER", "ADDSLOTS", *range(first, last + 1))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)

    def wait_until_ready(self, nodes: Sequence[Node] | None = None) -> None:
        """Until all of these agree that every slot is held, and every replica has its copy."""
        for node in nodes or self.nodes:
            wait_until(lambda: _is_ready(node, len(self.nodes)), f"node {node.port} to be ready", str, 30)  # noqa: B023

    def empty(self) -> None:
        """Take everything out."""
        for node in self.nodes:
            if node.knows("master"):
                node.ask("FLUSHALL")

    def holder(self, slot: int) -> Node:
        """The master of a slot, by what the nodes say that run."""
        for node in self.nodes:
            if node.away:
                continue
            with contextlib.suppress(redis.RedisError):
                for first, last, master, *_ in node.ask("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(each for each in self.nodes if each.port == master[1])
        raise AssertionError(f"nobody holds slot {slot}")

    def migrate(self, slot: int, to: Node, *, at_once: int = 3, pause: float = 0.0) -> int:
        """Move a slot to another master as `redis-cli --cluster reshard` does, some keys at a time, slowly;
        returns how many went."""
        source, moved = self.holder(slot), 0
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, at_once):
            source.ask("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
            time.sleep(pause)
        for node in (to, source, *self.masters):
            if node.knows("master"):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        return moved

    def fail_over(self, replica: Node) -> None:
        """Let a replica take its master's place once it has everything, as soon as that master knows it."""
        master = next(node for node in self.nodes if node.port == int(replica.ask("ROLE")[2]))
        own, its = master.id, replica.id
        wait_until(lambda: its in str(master.ask("CLUSTER", "REPLICAS", own)), "a known replica", str, 20)
        replica.ask("CLUSTER", "FAILOVER")
        wait_until(lambda: replica.knows("master"), "the replica to be a master", str, 20)

    def close(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.kill()


@contextmanager
def clustered(folder: Path, *, binary: str | None = None, replicas: int = 0) -> Iterator[RedisCluster]:
    """A cluster with its files in `folder`, nothing saved, of the installed server unless told otherwise.
    Leaving the context kills it."""
    with ExitStack() as stack:
        cluster = RedisCluster(folder, binary or system_server(), replicas)
        stack.callback(cluster.close)
        yield cluster


def _told(node: Node) -> str:
    told = node.ask("CLUSTER", "NODES")
    return str(told)


def _is_ready(node: Node, count: int) -> bool:
    info = node.ask("CLUSTER", "INFO")
    state = info["cluster_state"] if isinstance(info, dict) else info.decode()
    if "ok" not in state:
        return False
    if node.knows("slave"):
        return bool(node.ask("ROLE")[3] == b"connected")
    return f"'cluster_known_nodes': '{count}'" in str(info) or f"cluster_known_nodes:{count}" in str(info)


def _two_free_ports() -> int:
    while True:
        with socket.socket() as probe, socket.socket() as second:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port >= _LARGEST_PORT:
                continue
            try:
                second.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port
