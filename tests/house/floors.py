"""The house as data: which part stands on which floor, and who may know which library.

A part is a package or a single module directly under ``pixelwise``. It may import parts of lower
floors and itself, nothing else; parts of one floor do not know each other.
"""

from __future__ import annotations

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"__init__", "errors", "labels"}),
    frozenset(
        {"allocator", "environment", "files", "geometry", "imagefile", "runfolder", "signals"}
    ),
    frozenset({"images"}),
    frozenset({"nets", "data", "losses", "metrics"}),
    frozenset({"weights"}),
    frozenset({"inference"}),
    frozenset({"evaluation"}),
    frozenset({"model"}),
    frozenset({"report"}),
    frozenset({"training"}),
    frozenset({"workflows"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)

# Library -> where it may be imported: a folder (with /) or a file.
RIM: dict[str, tuple[str, ...]] = {
    "PIL": ("images.py", "imagefile.py"),
    "lightning_fabric": ("training/",),
    "numba": ("metrics/",),
    "typer": ("cli/",),
    "rich": ("cli/", "training/watching.py"),
    "yaml": ("training/recipe_text.py", "report/build.py"),
    "numpy": ("",),
    "torch": (
        "nets/module.py",
        "nets/response_norm.py",
        "nets/upsampling.py",
        "losses/cross_entropy.py",
        "losses/jaccard.py",
        "weights/",
        "inference/",
        "environment.py",
        "model.py",
        "training/",
        "workflows/",
        "cli/running.py",
    ),
}
