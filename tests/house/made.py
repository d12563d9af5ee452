"""What the documents' commands need before they are typed: data, runs and files, made small."""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.house.source import ROOT

from pixelwise.labels import distinct_palette
from pixelwise.pictures.images import write_image, write_labels

SIZE = (40, 48)
NAMES = ("road", "house")
COUNT = 10
NARROW = ("alexnet", "vgg16")  # trunks of 57 and 134 million numbers
SPLITS = {"train": range(6), "val": (6, 7), "held": (6, 7), "test": (8, 9)}


def make(folder: Path, name: str, kind: str) -> None:
    """Put what is called ``KIND`` or ``KIND(ARGUMENT)`` to ``folder / name``."""
    word, _, argument = kind.rstrip(")").partition("(")
    assert word in KINDS, f"no kind of made input is called `{word}`, expected one of {[*KINDS]}"
    path = folder / name.rstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    KINDS[word](path, argument)


@functools.cache
def _drawn() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Pictures (H, W, 3) with labels (H, W): noise of two brightnesses, side by side."""
    rng, drawn = np.random.default_rng(0), []
    for _ in range(COUNT):
        labels = np.zeros(SIZE, np.uint8)
        labels[:, int(rng.integers(12, 36)) :] = 1
        noise = rng.integers(0, 90, (*SIZE, 3))
        drawn.append(((noise + 150 * labels[..., None]).astype(np.uint8), labels))
    return tuple(drawn)


def pictures(path: Path, _: str = "") -> None:
    """``images/pN.png`` and ``labels/pN.png`` of two classes, and nothing that names them."""
    for i, (picture, labels) in enumerate(_drawn()):
        write_image(path / "images" / f"p{i}.png", picture)
        write_labels(path / "labels" / f"p{i}.png", labels, distinct_palette(2))


def street(path: Path, _: str = "") -> None:
    """The same with the names road and house, and with splits."""
    pictures(path)
    (path / "classes.txt").write_text("\n".join(NAMES) + "\n")
    (path / "splits").mkdir()
    for split, numbers in SPLITS.items():
        (path / "splits" / f"{split}.txt").write_text("".join(f"p{i}\n" for i in numbers))


def photos(path: Path, suffix: str = "") -> None:
    """Three pictures without labels, JPEG unless the argument says otherwise."""
    for i, (picture, _) in enumerate(_drawn()[:3]):
        photo(path / f"{path.name.rstrip('s')}{i}.{suffix or 'jpg'}", str(i), picture)


def photo(path: Path, _: str = "", picture: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_drawn()[0][0] if picture is None else picture).save(path)


def maps(path: Path, _: str = "") -> None:
    """A label map for each picture, by its name; they are the truth."""
    for i, (_picture, labels) in enumerate(_drawn()):
        write_labels(path / f"p{i}.png", labels, distinct_palette(2))


def label_map(path: Path, _: str = "") -> None:
    write_labels(path, _drawn()[0][1], distinct_palette(2))


def scores(path: Path, _: str = "") -> None:
    """Probabilities (2, H, W) as `predict --save scores` keeps them."""
    sure = 0.2 + 0.6 * _drawn()[0][1]
    np.savez(path, probabilities=np.stack([1 - sure, sure]).astype(np.float16))


def run(path: Path, kind: str = "") -> None:
    """A run of three steps on data of a kind (street)."""
    shutil.copytree(_trained(kind or "street"), path)


@functools.cache
def _trained(kind: str) -> Path:
    """Trained once a process: what a run learns is the same each time."""
    import pixelwise as pw

    home = Path(tempfile.mkdtemp(prefix="documents-"))
    make(home, "data", kind)
    settings = {"net": "fcn8s-tiny", "iterations": 3, "batch": 2, "crop": (32, 32), "threads": 1}
    pw.train(pw.Recipe(data=str(home / "data"), **settings), home / "run")  # type: ignore[arg-type]
    return home / "run"


def video(path: Path, _: str = "") -> None:
    from small_videos import make_video

    make_video(path)


def weights(path: Path, net: str = "") -> None:
    """Random weights of a net as a checkpoint; VGG and AlexNet have a sixteenth of the channels."""
    from random_weights import save_random

    path.parent.mkdir(parents=True, exist_ok=True)
    narrow = {"width": 1 / 16} if net.endswith(NARROW) else {}
    save_random(path, net, **narrow)


def archive(path: Path, data_set: str) -> None:
    """What the authors of a data set offer for download, in small."""
    from tests.unit.data.prepare import test_context, test_siftflow

    import published
    from make_data import camvid_set

    path.mkdir(parents=True, exist_ok=True)
    names = [f"2007_00003{i}" for i in range(4)]
    writers = {
        "voc": lambda: [
            published.tar(published.voc(2012, files, bare), path / f"voc-{bare[:1]}.tar")
            for files, bare in (
                ({"train": names[:2], "val": names[2:]}, []),
                ({"test": ["2008_000001"]}, ["2008_000001"]),
            )
        ],
        "sbd": lambda: published.tar(published.sbd(names[:2], names[2:]), path / "benchmark.tgz"),
        "camvid": lambda: camvid_set(path / "CamVid"),
        "context": lambda: test_context.archives(path),
        "siftflow": lambda: published.unpack(test_siftflow.files(), path),
    }
    writers[data_set]()


def scenes(path: Path, _: str = "") -> None:
    """The project's own, the fewest that are made."""
    shutil.copytree(_scenes(), path)


@functools.cache
def _scenes() -> Path:
    from pixelwise.data.scenes.write import make_scenes

    home = Path(tempfile.mkdtemp(prefix="documents-")) / "scenes"
    make_scenes(home, count=20, size=(96, 128), seed=0)
    return home


def depth(path: Path, _: str = "") -> None:
    """16-bit pictures of a depth camera in millimetres, or one of them."""
    pictures = _scenes() / "depth"
    if path.suffix:
        shutil.copy(sorted(pictures.glob("*.png"))[0], path)
    else:
        shutil.copytree(pictures, path)


def coded(path: Path, kind: str) -> None:
    """Pictures whose label maps are of a kind that other tools write."""
    pictures(path)
    for i, (_, labels) in enumerate(_drawn()):
        place = path / "labels" / f"p{i}.png"
        red, grey = labels[..., None] * np.array([255, 0, 0], np.uint8), 255 * labels
        if kind == "jpeg":
            place.unlink()
            Image.fromarray(red).save(place.with_suffix(".jpg"))
            continue
        rim = np.linspace(0, 255, 9).astype(np.uint8)[None, :-1]
        blurred = grey.copy()
        blurred[:1, :8] = rim
        drawn = {
            "black and white": grey,
            "colours": red,
            "blurred": blurred,
            "alpha": np.dstack([red, np.full_like(labels, 255)]),
            "from one": labels + 1,
            "beyond": np.where(labels, 7, labels).astype(np.uint8),
        }[kind]
        Image.fromarray(drawn).save(place)


def sizes(path: Path, _: str = "") -> None:
    """Pictures of three sizes."""
    pictures(path)
    for i in range(3):
        for folder in ("images", "labels"):
            place = path / folder / f"p{i}.png"
            with Image.open(place) as image:
                image.crop((0, 0, 48 - 3 * i, 40 - 2 * i)).save(place)


def outlines(path: Path, _: str = "") -> None:
    """Labelme's files: the house of each picture in an outline, and its door over it."""
    path.mkdir(parents=True)
    for i, (picture, labels) in enumerate(_drawn()):
        write_image(path / f"p{i}.png", picture)
        edge, (height, width) = int(labels[0].argmax()), SIZE
        shapes = [
            {"label": label, "shape_type": "polygon", "points": corners}
            for label, corners in (
                ("road", [[0, 0], [edge, 0], [edge, height], [0, height]]),
                ("house", [[edge, 0], [width, 0], [width, height], [edge, height]]),
                ("door", [[edge + 2, 20], [edge + 8, 20], [edge + 8, height], [edge + 2, height]]),
            )
        ]
        told = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"p{i}.png"}
        told |= {"imageData": None, "imageHeight": height, "imageWidth": width}
        (path / f"p{i}.json").write_text(json.dumps(told))


def voc(path: Path, _: str = "") -> None:
    """PASCAL's own layout."""
    import published

    names = [f"2007_00003{i}" for i in range(4)]
    published.unpack(published.voc(2012, {"train": names[:2], "val": names[2:]}), path)


def ours(path: Path, place: str = "") -> None:
    """A folder or file of the repository."""
    path.symlink_to(ROOT / place)


def real(path: Path, place: str = "") -> None:
    """A file that the project does not contain; a page with one is skipped without them."""
    home = os.environ.get("PIXELWISE_TEST_DATA", "")
    if not home:
        pytest.skip("no real data: PIXELWISE_TEST_DATA is not set, expected their folder")
    path.symlink_to(Path(home) / place)


def text(path: Path, words: str = "") -> None:
    """A text file of one word a line."""
    path.write_text("\n".join(words.split()) + "\n", "utf-8")


KINDS: dict[str, Callable[[Path, str], None]] = {
    "pictures": pictures,
    "street": street,
    "photos": photos,
    "photo": photo,
    "maps": maps,
    "map": label_map,
    "scores": scores,
    "run": run,
    "video": video,
    "weights": weights,
    "archive": archive,
    "scenes": scenes,
    "depth": depth,
    "coded": coded,
    "sizes": sizes,
    "outlines": outlines,
    "voc": voc,
    "ours": ours,
    "real": real,
    "text": text,
}
