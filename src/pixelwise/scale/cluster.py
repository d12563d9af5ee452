"""A Ray cluster, and how many workers it holds.

Which one says ``RAY_ADDRESS``, as everywhere in Ray; without it one is started on this machine, for
as long as the work takes, which others cannot reach. Whoever reaches a cluster's ports may run
programs on it, see ``docs/scale.md``.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from pixelwise.errors import ResourceError, unknown_name
from pixelwise.machine.environment import DEVICES, use_threads

GROUP = 4
"""Processors of a worker where nothing is said: its net takes 1.3 GB (FCN-8s-VGG16, see
docs/performance.md), which four processors of usual machines have several times."""
# Read by Ray as it is imported: all ports are the loopback address's, as on these systems.
CLOSED = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}


@dataclass(frozen=True)
class Cluster:
    """What there is to work with."""

    ray: Any
    """The library, connected."""
    workers: int
    threads: int
    """Processors of each worker."""
    device: str
    """Of each worker: cpu, or cuda for a GPU of its own."""


@contextmanager
def connected(device: str, threads: int) -> Iterator[Cluster]:
    """The cluster, for the length of the block; ``device`` and ``threads`` as commands take them.

    Raises:
        ResourceError: R008 Ray is not installed, R009 no cluster, or none with what is asked for.
        UsageError: U001 no such device, U002 threads out of range.
    """
    if device not in DEVICES:
        raise unknown_name("device", device, DEVICES)
    use_threads(threads)  # refuses what is out of range
    address = os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # of 40 s; Ray's 20 are 14 minutes
    alone = {"include_dashboard": False} if address == "local" else {}
    if alone:
        os.environ.update(CLOSED, RAY_AUTH_TOKEN=secrets.token_hex(32))  # else kept in ~/.ray
    try:
        import ray
    except ImportError as error:
        what = "--ray needs the package ray, which is not installed"
        raise ResourceError("R008", what, 'pip install "pixelwise[ray]"') from error
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **alone)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        what = f"the Ray cluster {address} cannot be reached ({first_line(error)})"
        hint = "unset RAY_ADDRESS, or give it the HOST:PORT that `ray start --head` names"
        raise ResourceError("R009", what, hint) from error
    with redirect_stdout(sys.stderr):  # where Ray's own remarks, its last ones too, would be data
        try:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            yield Cluster(ray, *sized(nodes, device, threads))
        finally:
            ray.shutdown()


def sized(nodes: Sequence[Mapping[str, float]], device: str, threads: int) -> tuple[int, int, str]:
    """Workers, processors of each, and device, for machines with these ``CPU`` and ``GPU``.

    Raises:
        ResourceError: R009 no machine has room for one worker.
    """
    machines = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    on_gpu = device == "cuda" or (device == "auto" and any(gpus for _, gpus in machines))
    own = [n for n, gpus in machines if n and (gpus or not on_gpu)]
    each = threads or min([1 if on_gpu else GROUP, *own])
    workers = sum(min(n // each, gpus) if on_gpu else n // each for n, gpus in machines)
    if not workers:
        what = f"no machine of the Ray cluster has {each} processors{' and a GPU' * on_gpu}"
        raise ResourceError("R009", what, "--threads 1" if threads > 1 else "--device cpu")
    return workers, each, "cuda" if on_gpu else "cpu"


def first_line(error: Exception) -> str:
    """What messages take of Ray's errors, which tell of whole clusters."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
