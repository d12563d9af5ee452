"""How far apart runs are that differ in one thing of the machine, not of the recipe.

    python tests/trust/repeating.py WORK [STEPS]

Each trains the same small net on the same made scenes with everything random switched on. Printed
as JSON: whether the weights are the same bits, else how far they are apart at most, in parts of the
largest weight of their tensor, and how far mean IU is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

PIXELWISE = (sys.executable, "-m", "pixelwise")
SAME = "nothing: begun again"


@dataclass(frozen=True)
class Way:
    """What is other than in the first run."""

    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    against: str = "first"
    """The run that it is compared with."""


WAYS = {
    "first": Way(),
    SAME: Way(),
    "readers: 3 for 0": Way({"workers": "3"}),
    "hash seed and language": Way(environment={"PYTHONHASHSEED": "7", "LANG": "C", "LC_ALL": "C"}),
    "threads: 2 for 1": Way({"threads": "2"}),
    "batch: 2 x 2 for 4": Way({"batch": "2", "accumulate": "2"}),
    "bf16 for float32": Way({"precision": "bf16"}),
    "bf16 begun again": Way({"precision": "bf16"}, against="bf16 for float32"),
    "threads: 2, begun again": Way({"threads": "2"}, against="threads: 2 for 1"),
}
REPEATS = (SAME, "readers: 3 for 0", "hash seed and language", *list(WAYS)[-2:])
"""What gives the same bits."""


def measured(work: Path, steps: int) -> dict[str, dict[str, Any]]:
    """By what is other."""
    data = work / "scenes"
    if not data.exists():
        run("data", "make", "scenes", str(data), "--count", "40", "--size", "64x64")
    seen: dict[str, tuple[dict[str, torch.Tensor], float]] = {}
    apart = {}
    for number, (name, way) in enumerate(WAYS.items()):
        seen[name] = trained(data, work / f"run-{number}", way, steps)
        if name == "first":
            continue
        (ours, score), (theirs, other) = seen[name], seen[way.against]
        same = all(torch.equal(ours[key], theirs[key]) for key in theirs)
        widest = max(
            float((ours[k] - t).abs().max() / t.abs().max().clamp_min(1e-12))
            for k, t in theirs.items()
            if t.is_floating_point()
        )
        apart[name] = {"same_bits": same, "widest": widest, "mean_iu": abs(score - other)}
    return apart


def trained(data: Path, out: Path, way: Way, steps: int) -> tuple[dict[str, torch.Tensor], float]:
    """Weights and mean IU of a finished run."""
    usual = {
        "net": "fcn8s-tiny",
        "width": "0.5",
        "threads": "1",
        "batch": "4",
        "frozen_bn": "true",  # the statistics of a half batch are others
        "iterations": str(steps),
        "validate_every": str(steps),
        "augment.jitter": "4",
        "optim.lr": "0.005",
    }
    words = [w for k, v in (usual | way.settings).items() for w in ("--set", f"{k}={v}")]
    run("train", str(data), "-o", str(out), "--device", "cpu", *words, **way.environment)
    lines = (out / "journal.jsonl").read_text("utf-8").splitlines()
    score = [e["mean_iu"] for line in lines if (e := json.loads(line))["event"] == "validate"]
    return load_file(out / "weights" / "last.safetensors"), score[-1]


def run(*words: str, **environment: str) -> None:
    done = subprocess.run(
        [*PIXELWISE, *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    print(json.dumps(measured(Path(sys.argv[1]), count), indent=1))
