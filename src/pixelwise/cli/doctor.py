"""``pixelwise doctor``: what this machine has, and what each missing extra would add."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from pixelwise.cli.console import emit_json, table
from pixelwise.cli.options import Json

PACKAGES = {
    "numpy": "arrays",
    "pillow": "pictures",
    "lightning-fabric": "devices and distribution in training",
    "numba": "fast confusion counts",
    "tensorboard": 'curves in TensorBoard: pip install "pixelwise[tensorboard]"',
}


def doctor(
    json: Json = False,
) -> None:
    """Show the environment, the devices, and what each missing extra would add."""
    import torch

    from pixelwise.machine.environment import environment

    devices = [{"name": "cpu", "about": f"{torch.get_num_threads()} threads"}]
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        about = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
        devices.append({"name": f"cuda:{i}", "about": about})
    extras = [{"name": k, "version": _version(k), "enables": v} for k, v in PACKAGES.items()]
    facts = {**environment(), "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    if json:
        emit_json({"environment": facts, "devices": devices, "extras": extras})
        return
    table("environment", ("what", "value"), list(facts.items()))
    table("devices", ("device", "what"), [tuple(d.values()) for d in devices])
    packages = [(e["name"], e["version"] or "missing", e["enables"]) for e in extras]
    table("packages", ("package", "version", "for"), packages)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
