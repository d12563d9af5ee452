"""A Ray cluster of two machines on this one, in a process of its own, whose parts can be taken.

Ray's threads and warnings stay out of the tests' process. All is bound to the loopback address.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = """
import sys
from ray.cluster_utils import Cluster

head = {"num_cpus": 0, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=head)
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
print(cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "remove":
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("removed", flush=True)
cluster.shutdown()
"""
MARK = "PIXELWISE_TEST_CLUSTER"
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""So that nothing is bound elsewhere; who works on the cluster has to see it alike."""


class Cluster:
    """``address``, and what can happen to it."""

    def __init__(self, host: subprocess.Popen[str], mark: str) -> None:
        self._host, self._mark = host, f"{MARK}={mark}".encode()
        self.address = self._line()

    def _line(self) -> str:
        assert self._host.stdout is not None
        return next(line.strip() for line in self._host.stdout if not line.startswith("["))

    def workers(self) -> list[int]:
        """Processes that carry out our work now."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                ours = self._mark in (place / "environ").read_bytes().split(b"\0")
                if ours and b"ray::Worker" in (place / "cmdline").read_bytes():
                    found.append(int(place.name))
            except OSError:  # gone meanwhile
                continue
        return found

    def kill_a_worker(self) -> None:
        os.kill(self.workers()[0], signal.SIGKILL)

    def remove_a_machine(self) -> None:
        """At once, with all that runs on it."""
        assert self._host.stdin is not None
        self._host.stdin.write("remove\n")
        self._host.stdin.flush()
        assert self._line() == "removed"


@contextmanager
def two_machines() -> Iterator[Cluster]:
    mark = secrets.token_hex(8)
    env = {**os.environ, **LOOPBACK, MARK: mark, "RAY_USAGE_STATS_ENABLED": "0"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    host = subprocess.Popen([sys.executable, "-c", HOST], env=env, text=True, **pipes)
    try:
        yield Cluster(host, mark)
    finally:
        assert host.stdin is not None
        host.stdin.close()
        host.wait(120)
        assert host.stdout is not None
        host.stdout.close()
