"""The house as data: which part stands on which floor, and who may know which library.

A part is a package or a single module directly under ``pixelwise``. It may import parts of lower
floors and itself, nothing else; parts of one floor do not know each other.
"""

from __future__ import annotations

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"__init__", "errors", "labels"}),
    frozenset({"geometry", "machine", "settings"}),
    frozenset({"folders", "nets", "pictures"}),
    frozenset({"engine", "data", "losses", "metrics"}),
    frozenset({"weights", "evaluation", "crf"}),
    frozenset({"export", "predict"}),
    frozenset({"pages"}),
    frozenset({"training"}),
    frozenset({"experiments"}),
    frozenset({"adapters", "scale", "serving", "workflows"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)

# Library -> where it may be imported: a folder (with /) or a file.
RIM: dict[str, tuple[str, ...]] = {
    "PIL": ("pictures/",),
    "lightning_fabric": ("training/",),
    "numba": ("metrics/",),
    "llvmlite": ("engine/vectors.py",),
    "maxflow": ("crf/grid.py",),
    "typer": ("cli/",),
    "rich": ("cli/", "machine/progress.py"),
    "yaml": (
        "adapters/pretrained.py",
        *("training/recipe_text.py", "pages/run.py"),
        *("data/formats/ultralytics.py", "data/class_merging.py"),
    ),
    "jinja2": ("pages/",),
    "markupsafe": ("pages/",),
    "pydantic": ("settings.py",),
    "numpy": ("",),
    "safetensors": ("weights/safetensors_file.py",),
    "scipy": ("pictures/matfile_process.py",),
    "h5py": ("pictures/matfile_process.py",),
    "onnx": ("export/",),
    "matplotlib": ("experiments/figures/",),
    "av": ("pictures/videos.py",),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "h11", "prometheus_client"), ("serving/",)),
    "sklearn": ("adapters/",),
    "ray": ("scale/cluster.py",),
    "lightning": ("adapters/",),
    "tifffile": ("pictures/large.py", "pictures/cubes.py"),
    "torch": (
        "adapters/lightning_module.py",
        "engine/",
        "export/",
        "losses/borders.py",
        "losses/cross_entropy.py",
        "losses/measured.py",
        "losses/mining.py",
        "losses/of_classes.py",
        "losses/overlap.py",
        "losses/sampling.py",
        "crf/layer.py",
        "weights/",
        "predict/",
        "machine/environment.py",
        "machine/memory.py",
        "training/",
        "workflows/",
    ),
}
