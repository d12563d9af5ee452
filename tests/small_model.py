"""A narrow untrained net with scores that differ from pixel to pixel, and pictures for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pixelwise.engine.build import build
from pixelwise.weights.checkpoint import Header, save_checkpoint

CLASSES = ("wall", "tür, door", "floor")
HEADER = Header(
    "fcn8s-tiny",
    {"classes": 3, "width": 0.25},
    CLASSES,
    ((128, 0, 0), (0, 128, 0), (0, 0, 128)),
    {"order": "rgb", "scale": 1.0, "mean": [128.0] * 3, "std": [64.0] * 3},
)


def save_model(path: Path, *, seed: int = 0, **changes: Any) -> Path:
    header = dataclasses.replace(HEADER, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build(header.net, **dict(header.options))
        for name, p in net.named_parameters():
            if name.startswith("score"):  # fresh ones are zero: every pixel would be class 0
                torch.nn.init.normal_(p)
    return save_checkpoint(path, net.state_dict(), header)


def save_classifier(path: Path, *, classes: int = 5) -> Path:
    names = tuple(f"thing {i}" for i in range(classes))
    options = {"classes": classes, "width": 1 / 16}
    return save_model(path, net="googlenet", options=options, classes=names, palette=())


def photo(path: Path, *, size: tuple[int, int] = (40, 56), seed: int = 0) -> Path:
    """Coloured blocks with noise; suffix decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(size, seed)).save(path)
    return path


def pixels(size: tuple[int, int] = (40, 56), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), np.uint8)
    large = blocks.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]
    return (large // 2 + rng.integers(0, 128, large.shape, np.uint8)).astype(np.uint8)
