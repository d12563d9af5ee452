"""Miniature data sets for tests: a few small pictures with labels that can be learned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]], np.uint8)


def picture(index: int, size: tuple[int, int] = (40, 48)) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 and (H, W) uint8: three classes as coloured blocks with noise."""
    rng = np.random.default_rng(index)
    labels = np.zeros(size, np.uint8)
    row, column = rng.integers(8, size[0] - 8), rng.integers(8, size[1] - 8)
    labels[row:, :] = 1
    labels[row:, column:] = 2
    noise = rng.integers(-30, 30, (*size, 3))
    image = np.clip(COLOURS[labels].astype(int) + noise, 0, 255).astype(np.uint8)
    return image, labels


def folder_set(
    root: Path, count: int = 8, *, images: str = "images", labels: str = "labels"
) -> Path:
    """``images/pN.png`` beside ``labels/pN.png``, without splits."""
    for name in (images, labels):
        (root / name).mkdir(parents=True)
    for i in range(count):
        image, truth = picture(i)
        Image.fromarray(image).save(root / images / f"p{i}.png")
        Image.fromarray(truth).save(root / labels / f"p{i}.png")
    return root


def camvid_set(root: Path, *, lists: bool = True, test: bool = True, suffix: str = "png") -> Path:
    """SegNet's CamVid in small: three drives to train on, a window of one to validate."""
    frames = {
        "train": [f"0001TP_{i:06d}" for i in range(6)]
        + [f"0006R0_f{i:05d}" for i in range(4)]
        + [f"0016E5_{i:05d}" for i in range(10)],
        "val": ["0016E5_07959", "0016E5_07961"],
    }
    if test:
        frames["test"] = ["0001TP_008550", "Seq05VD_f00000"]
    for part, names in frames.items():
        (root / part).mkdir(parents=True)
        (root / f"{part}annot").mkdir()
        for i, name in enumerate(names):
            image, truth = picture(i)
            truth[0, :5] = 11
            Image.fromarray(image).save(root / part / f"{name}.{suffix}")
            Image.fromarray(truth).save(root / f"{part}annot" / f"{name}.png")
        if lists:
            at = "/SegNet/CamVid"
            lines = [f"{at}/{part}/{n}.png {at}/{part}annot/{n}.png\n" for n in names]
            (root / f"{part}.txt").write_text("".join(lines))
    return root


def canonical_set(
    root: Path,
    splits: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
    classes: Mapping[str, tuple[int, int, int]],
) -> Path:
    """Our own layout: (H, W, 3) pictures with (H, W) labels by split, classes with colours."""
    for folder in ("images", "labels", "splits"):
        (root / folder).mkdir(parents=True)
    for split, samples in splits.items():
        names = [f"{split}{i}" for i in range(len(samples))]
        for name, (image, truth) in zip(names, samples, strict=True):
            Image.fromarray(image).save(root / "images" / f"{name}.png")
            Image.fromarray(truth).save(root / "labels" / f"{name}.png")
        (root / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
    description = {"classes": list(classes), "palette": [list(c) for c in classes.values()]}
    (root / "dataset.json").write_text(json.dumps({**description, "ignore": 255}))
    return root


def two_of_each(root: Path, **changes: object) -> Path:
    """Colour and 16-bit depth; three things and two shapes."""
    folder_set(root, 6)
    for folder in ("depth", "shapes"):
        (root / folder).mkdir()
    for i in range(6):
        image, labels = picture(i)
        depth = image[..., 0].astype(np.uint16) * 200
        Image.fromarray(depth).save(root / f"depth/p{i}.png")
        Image.fromarray((labels > 0).astype(np.uint8)).save(root / f"shapes/p{i}.png")
    told = {
        "inputs": {"colour": "images", "depth": "depth"},
        "heads": {
            "things": {"folder": "labels", "classes": ["a", "b", "c"]},
            "shapes": {"folder": "shapes", "classes": ["flat", "high"], "ignore": 7},
        },
    }
    (root / "dataset.json").write_text(json.dumps(told | changes))
    return root
