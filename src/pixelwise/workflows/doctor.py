"""What this machine has: versions, devices, processor features, extras."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from pixelwise.machine.environment import environment

PACKAGES = {
    "numpy": "arrays",
    "pillow": "pictures",
    "lightning-fabric": "devices and distribution in training",
    "numba": "fast confusion counts",
    "tensorboard": 'curves in TensorBoard: pip install "pixelwise[tensorboard]"',
}


def examine() -> dict[str, Any]:
    """Environment, devices and packages as plain data."""
    return {
        "environment": {**environment(), "cpu_capability": torch.backends.cpu.get_cpu_capability()},
        "devices": _devices(),
        "extras": [
            {"name": name, "version": _version(name), "enables": enables}
            for name, enables in PACKAGES.items()
        ],
    }


def _devices() -> list[dict[str, str]]:
    devices = [{"name": "cpu", "about": f"{torch.get_num_threads()} threads"}]
    for i in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(i)
        memory = f"{about.total_memory / 2**30:.0f} GiB"
        devices.append({"name": f"cuda:{i}", "about": f"{about.name}, {memory}"})
    return devices


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
