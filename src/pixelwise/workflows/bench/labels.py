"""Labels of one picture by every way, in turns: time, agreement, memory, and what it is worth.

Every way must give the scores of the net's modules before it is timed; a faster wrong answer is no
row. The processor's own time stands beside, which other work on the machine changes less.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.engine import convolutions
from pixelwise.errors import PixelwiseError, UsageError, hxw
from pixelwise.nets.net import Net
from pixelwise.predict import model as models
from pixelwise.predict.described import described
from pixelwise.predict.exported import SUFFIXES
from pixelwise.weights import checkpoint
from pixelwise.weights.checkpoint import Header
from pixelwise.workflows.bench import timing
from pixelwise.workflows.bench.ways import Way, in_eight_bits, make

EXACT, LOWER = 1e-3, 0.2
"""The largest error of a way, as a share of the largest score: in float32, and below it."""
K40 = 4.29e12
"""Operations in a second at the peak of the paper's card (Tesla K40, single precision)."""
PAPER = {"fcn32s-alexnet": 50, "fcn32s-vgg16": 210, "fcn32s-googlenet": 59, "fcn8s-vgg16": 175}
"""Milliseconds of a 500x500 picture (CVPR 2015, tables 1 and 3)."""


@dataclass(frozen=True)
class Task:
    """What is measured."""

    path: Path
    """A model file."""
    size: tuple[int, int]
    threads: int
    rounds: int
    ways: tuple[str, ...]
    memory: bool = True

    @cached_property
    def header(self) -> Header:
        """What the file says of itself."""
        if self.path.suffix in SUFFIXES:
            return models.load(self.path).header
        return checkpoint.read_header(self.path)

    @property
    def single(self) -> bool:
        """Whether it has one way alone: another runtime's file, or a quantised one."""
        return self.path.suffix in SUFFIXES or self.header.quantised is not None

    @property
    def net(self) -> Net:
        """The net that it holds."""
        return checkpoint.net_of(self.header, self.path)

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, B) of noise."""
        bands = sum(self.net.inputs.values())
        draw = np.random.default_rng(0).normal(128, 60, (*self.size, bands))
        return draw.clip(0, 255).astype(np.uint8)

    @property
    def picture(self) -> Tensor:
        """(1, B, H, W) of it, as preprocessing gives it."""
        _, preprocess, _ = described(self.header, self.path)
        return torch.from_numpy(preprocess(self.image))[None]


def measure(task: Task, scratch: Path) -> dict[str, Any]:
    """Rows by way, and why others have none; plain data for JSON. Files are made in ``scratch``.

    Raises:
        UsageError: U002 no way can be measured.
    """
    torch.set_num_threads(task.threads)
    before, picture = timing.cpu_times(), task.picture
    ways, missing = dict[str, Way](), dict[str, str]()
    paths = dict.fromkeys(task.ways, task.path)
    for name in task.ways:
        try:
            if name == "int8" and not task.single:
                paths[name] = in_eight_bits(task.path, task.image, scratch)
            ways[name] = make(name, paths[name], picture)
        except PixelwiseError as error:
            missing[name] = f"{error}; {error.hint}" if error.hint else str(error)
    agreements = _agreements(task, ways, picture, missing)
    if not agreements:
        why = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise UsageError("U002", f"nothing could be measured: {why}", "leave --ways out")
    turns = {name: partial(_timed, way, picture) for name, way in ways.items()}
    spent = timing.interleaved(turns, task.rounds)
    rows = [
        {"way": name, **_row(spent[name], spent[next(iter(spent))]), **agreements[name]}
        for name in spent
    ]
    ways.clear()  # this process stands beside those whose memory is measured
    for row in rows:
        way = row["way"]
        row["peak_mb"] = _peak(replace(task, path=paths[way]), way) if task.memory else None
    facts = timing.surroundings("labels", before, threads=task.threads)
    shown = {"size": hxw(task.size), "kernels": convolutions.in_use(), **_worth(task, rows)}
    return {**facts, **shown, "rows": rows, "missing": missing}


def _timed(way: Way, picture: Tensor) -> tuple[float, float]:
    cpu = time.process_time()
    return timing.seconds(lambda: way(picture)), time.process_time() - cpu


def _agreements(
    task: Task, ways: dict[str, Way], picture: Tensor, missing: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """How each way's answer differs from the modules'; a way that gives another is taken out."""
    found = dict[str, dict[str, Any]]()
    truth = next(iter(ways.values()), None) if task.single else make("modules", task.path, picture)
    if truth is None:
        return {}
    labels, scores = _answer(truth, picture)
    for name, way in list(ways.items()):
        own_labels, own = _answer(way, picture)
        error = float((own - scores).abs().max() / scores.abs().max())
        if error < (LOWER if "bf16" in name or "int8" in name else EXACT):
            found[name] = {"error": error, "differ": int((own_labels != labels).sum())}
        else:
            missing[name] = f"its scores are others: {error:.1e} of the largest"
            del ways[name]
    return found


def _answer(way: Way, picture: Tensor) -> tuple[Tensor, Tensor]:
    labels, scores = way(picture)
    return labels.long(), scores().float()


def _row(spent: Sequence[Any], ours: Sequence[Any]) -> dict[str, Any]:
    wall, cpu = (np.array(times) * 1e3 for times in zip(*spent, strict=True))
    first = np.median([turn[0] for turn in ours]) * 1e3
    around = timing.spread(wall.tolist())
    return {
        "ms": round(around["median"], 1),
        "quartiles": [round(around["low"], 1), round(around["high"], 1)],
        "cpu_ms": round(float(np.median(cpu)), 1),
        "times_first": round(around["median"] / first, 3),
    }


def _peak(task: Task, way: str) -> int | None:
    """Megabytes of a process that makes a way and labels one picture."""
    size = "x".join(map(str, task.size))
    peak = int(timing.printed_by(__name__, way, str(task.path), size, str(task.threads)))
    return round(peak / 1e6) or None


def _worth(task: Task, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Operations of a picture, the processor's ceiling, and the paper's time at its card's."""
    operations = 2 * sum(task.net.macs(*task.size).values())
    a = torch.ones(2048, 2048, dtype=torch.float32)
    fastest = min(timing.seconds(lambda: a @ a) for _ in range(5))
    ceiling = 2 * 2048**3 / fastest
    for row in rows:
        row["of_ceiling"] = round(operations / (row["ms"] / 1e3) / ceiling, 3)
    paper = PAPER.get(task.header.net) if task.size == (500, 500) else None
    of_k40 = round(operations / (paper / 1e3) / K40, 2) if paper else None
    return {
        "net": task.header.net,
        "gflop": round(operations / 1e9, 1),
        "ceiling_gflops": round(ceiling / 1e9),
        "paper_ms_on_k40": paper,
        "paper_of_ceiling": of_k40,
    }


def main() -> None:
    """Print the peak memory of a way: WAY FILE SIZE THREADS."""
    way, path, size, threads = sys.argv[1:]
    height, width = map(int, size.split("x"))
    torch.set_num_threads(int(threads))
    task = Task(Path(path), (height, width), int(threads), 1, (way,))
    picture = task.picture
    make(way, task.path, picture)(picture)
    sys.stdout.write(f"{timing.own_memory()}\n")


if __name__ == "__main__":
    main()
