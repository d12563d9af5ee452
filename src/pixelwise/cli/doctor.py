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

    facts = {**environment(), "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    devices = [("cpu", f"{torch.get_num_threads()} threads")]
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        devices.append((f"cuda:{i}", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"))
    extras = [(name, _version(name), enables) for name, enables in PACKAGES.items()]
    if json:
        emit_json(
            {
                "environment": facts,
                "devices": [dict(zip(("name", "about"), row, strict=True)) for row in devices],
                "extras": [
                    dict(zip(("name", "version", "enables"), row, strict=True)) for row in extras
                ],
            }
        )
        return
    table("environment", ("what", "value"), list(facts.items()))
    table("devices", ("device", "what"), devices)
    shown = [(name, version or "missing", enables) for name, version, enables in extras]
    table("packages", ("package", "version", "for"), shown)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
