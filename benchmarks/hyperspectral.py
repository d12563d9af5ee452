"""A spectral cube by an FCN, by a patch-wise CNN of the same layers, and pixel by pixel.

    python benchmarks/hyperspectral.py houston_dataset.mat --out DIR

DIR gets the data set (made of the cube and its labels, which are four times finer), its splits, a
table as JSON, and a picture of the labels. Every way runs in a process of its own, on one thread,
whose greatest memory and processor time are told; scores are those of pixels held out, weights
those of the last step. ``--ways`` takes some alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.splitting import Shares
from pixelwise.data.within import write_parts
from pixelwise.evaluation.evaluate import Pair, evaluate
from pixelwise.labels import VOID, colour, distinct_palette
from pixelwise.pictures.images import resize, side_by_side, write_image, write_labels
from pixelwise.pictures.matfile import MatReader
from pixelwise.predict.model import load
from pixelwise.training.loop import train
from pixelwise.training.recipe import Augmentation, Optim, Recipe, Schedule

WAYS = ("majority", "svm", "forest", "patches", "fcn")
WINDOW = 9  # the field of fcn-spectral
STEPS, EPOCHS = 600, 12


def make(mat: Path, root: Path) -> None:
    """The data set: the cube as it is, labels 1..K as classes 0..K-1, 0 as void."""
    with MatReader() as reader:
        cube, labels = reader.read(mat, "hyprImg", "clasLabs")
    (root / "images").mkdir(parents=True)
    np.save(root / "images/houston.npy", cube)
    count = int(labels.max())
    write_labels(
        root / "labels/houston.png",
        np.where(labels == 0, VOID, labels - 1).astype(np.uint8),
        distinct_palette(count),
    )
    told = {
        "classes": [f"class {i}" for i in range(1, count + 1)],
        "values": "stored",
        "label_scale": labels.shape[0] // cube.shape[0],
    }
    (root / "dataset.json").write_text(json.dumps(told))


def samples(root: Path):
    dataset = open_dataset(root)
    parts = {split: dataset.read(dataset.items(split)[0]) for split in ("train", "val")}
    image = parts["train"].image.astype(np.float32)
    known = parts["train"].labels != VOID
    spectra = image[known]
    image = (image - spectra.mean(0)) / spectra.std(0)
    return image, parts["train"].labels, parts["val"].labels, dataset.classes


def by_pixel(image, labels, way: str):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    kind = SVC(C=100) if way == "svm" else RandomForestClassifier(100, random_state=0)
    known = labels != VOID
    began = time.process_time()
    kind.fit(image[known], labels[known])
    trained = time.process_time()
    guess = kind.predict(image.reshape(-1, image.shape[2])).reshape(labels.shape)
    return guess, trained - began, time.process_time() - trained


def by_patch(image, labels, classes: int):
    """The layers of fcn-spectral on windows: valid convolutions leave one pixel."""
    torch.manual_seed(0)
    layers, channels = [], image.shape[2]
    for i in range(5):
        layers += [
            nn.Conv2d(channels, 64, 3 if i else 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        ]
        channels = 64
    net = nn.Sequential(*layers, nn.Conv2d(64, classes, 1))
    r = WINDOW // 2
    padded = torch.from_numpy(np.pad(image, [(r, r), (r, r), (0, 0)])).permute(2, 0, 1)
    windows = padded.unfold(1, WINDOW, 1).unfold(2, WINDOW, 1)  # (B, H, W, 9, 9)

    def cut(rows, columns):
        return windows[:, rows, columns].permute(1, 0, 2, 3)

    rows, columns = (torch.from_numpy(a) for a in np.nonzero(labels != VOID))
    truth = torch.from_numpy(labels.astype(np.int64))[rows, columns]
    optimizer = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=1e-3)
    total = EPOCHS * -(-len(rows) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=total)
    began = time.process_time()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(rows)).split(64):
            loss = nn.functional.cross_entropy(
                net(cut(rows[batch], columns[batch])).flatten(1), truth[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    trained = time.process_time()
    net.eval()
    every = torch.cartesian_prod(*(torch.arange(n) for n in labels.shape))
    with torch.inference_mode():
        best = [net(cut(*p.T)).flatten(1).argmax(1) for p in every.split(256)]
    guess = torch.cat(best).numpy().reshape(labels.shape)
    return guess, trained - began, time.process_time() - trained


def by_fcn(root: Path, run: Path):
    recipe = Recipe(
        data=str(root), net="fcn-spectral", iterations=STEPS, crop=(32, 32), batch=4,
        val_split="", threads=1,
        optim=Optim("adamw", lr=4e-3, weight_decay=1e-3), schedule=Schedule(warmup=20),
        augment=Augmentation(mirror=True), ema=0.97,
    )  # fmt: skip
    began = time.process_time()
    train(recipe, run)
    trained = time.process_time()
    model = load(run / "weights/last.safetensors")
    began_guess = time.process_time()
    guess = model.predict(next(root.glob("images/*.npy"))).labels
    return guess, trained - began, time.process_time() - began_guess


def one(way: str, root: Path, out: Path) -> dict:
    torch.set_num_threads(1)
    image, labels, truth, classes = samples(root)
    if way == "majority":
        common = np.bincount(labels[labels != VOID]).argmax()
        guess, fit, use = np.full(labels.shape, common), 0.0, 0.0
    elif way == "patches":
        guess, fit, use = by_patch(image, labels, len(classes))
    elif way == "fcn":
        guess, fit, use = by_fcn(root, out.with_name(f"{out.stem}-run"))
    else:
        guess, fit, use = by_pixel(image, labels, way)
    guess = guess.astype(np.uint8)
    np.save(out.with_suffix(".npy"), guess)
    judged = evaluate([Pair("houston", truth, guess)], classes)
    scores = judged.scores
    return {
        "way": way,
        "overall": scores.pixel_accuracy,
        "average": scores.mean_accuracy,
        "kappa": judged.kappa,
        "mean_iu": scores.mean_iu,
        "seconds_to_train": fit,
        "seconds_to_label": use,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def picture(root: Path, guesses: dict[str, np.ndarray], path: Path) -> None:
    dataset = open_dataset(root)
    maps = {s: dataset.read(dataset.items(s)[0]).labels for s in ("train", "val")}
    palette = np.array(dataset.palette, np.uint8)
    shown = {"trained on": maps["train"], "held out": maps["val"], **guesses}
    drawn = [resize(colour(m, palette), (384, 384), method="nearest") for m in shown.values()]
    write_image(path, side_by_side(drawn, list(shown)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mat", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--way", default="")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--by", default="blocks,pixels")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(one(given.way, given.mat, given.out)))
        return
    rows = []
    ways = given.ways.split(",")
    splits = [("blocks", s) for s in range(given.seeds)] + [("pixels", 0)]
    for by, seed in [split for split in splits if split[0] in given.by.split(",")]:
        root = given.out / f"{by}-{seed}"
        make(given.mat, root)
        drawn = write_parts(root / "splits", open_dataset(root), Shares(0.3), by, seed=seed)
        pixels = {split: int(row.sum()) for split, row in drawn.pixels.items()}
        guesses = {}
        for way in ways:
            out = given.out / f"{by}-{seed}-{way}"
            command = [sys.executable, __file__, str(root), "--out", str(out), "--way", way]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = {"split": by, "seed": seed, **pixels, **json.loads(done.stdout.splitlines()[-1])}
            rows.append(row)
            guesses[way] = np.load(out.with_suffix(".npy"))
            print(json.dumps(row), flush=True)
        picture(
            root, {w: guesses[w] for w in ways if w != "majority"}, given.out / f"{by}-{seed}.png"
        )
    (given.out / "table.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
