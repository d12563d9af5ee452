"""Damaged copies of files of every kind, read in processes that may die.

    python fuzzing.py KIND FOLDER COUNT [--seed S]

A copy is a whole file with bits turned over, bytes changed, taken out, put in, set to extremes,
parts repeated or its end cut off. It must be read, or refused by an error of ours; what else
happens is counted: another exception, a process that dies, one that takes more than two seconds or
a gigabyte. Such a copy is kept in FOLDER. What was seen is printed as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import mmap
import os
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image

from pixelwise.errors import PixelwiseError

SECONDS = 2
GIGABYTE = 1 << 30
BATCH = 500
"""Copies read by one process; after a death the next goes on behind the copy that it died of."""


@dataclass(frozen=True)
class Kind:
    seeds: dict[str, bytes]
    """Whole files by name; its ending decides how a copy is called."""
    read: Callable[[Path], object]


@dataclass
class Seen:
    read: int = 0
    refused: int = 0
    """By an error of ours."""
    wrong: Counter[str] = field(default_factory=Counter)
    """By what happened instead."""


# -- damage ---------------------------------------------------------------------------------------
def damaged(whole: bytes, wild: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(wild.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        at, length = wild.randrange(len(data)), wild.choice((1, 1, 2, 4, 8, 64))
        match wild.randrange(8):
            case 0:
                data[at] ^= 1 << wild.randrange(8)
            case 1:
                data[at] = wild.randrange(256)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = wild.randbytes(length)
            case 4:
                extreme = wild.choice((b"\xff", b"\x00", b"\x7f", b"\x80"))
                data[at : at + length] = extreme * len(data[at : at + length])
            case 5:
                data[at:at] = data[at : at + 16 * length]
            case 6:
                other = wild.randrange(len(data))
                data[at : at + length] = data[other : other + length]
            case _:
                if wild.random() < 0.3:
                    del data[at:]
    return bytes(data)


def copy(kind: Kind, seed: int, number: int) -> tuple[str, bytes]:
    """Always the same for a seed and number."""
    wild = random.Random(f"{seed} {number}")
    name = wild.choice(sorted(kind.seeds))
    return name, damaged(kind.seeds[name], wild)


# -- reading --------------------------------------------------------------------------------------
def fuzz(kind: Kind, folder: Path, count: int, seed: int) -> Seen:
    for name, content in kind.seeds.items():
        path = folder / f"whole-{name}"
        path.write_bytes(content)
        kind.read(path)
    told, seen = mmap.mmap(-1, 16), Seen()
    start = 0
    while start < count:
        batch = [copy(kind, seed, i) for i in range(start, min(count, start + BATCH))]
        state = batch_read(kind, folder, batch, told, seen)
        done = int.from_bytes(told[:8], "little")
        if state:
            name, content = batch[done]
            why = f"signal {-state}" if state < 0 else f"exit {state}"
            note(seen, folder, why, name, content, start + done)
            done += 1
        start += done if state else len(batch)
    return seen


def batch_read(
    kind: Kind, folder: Path, batch: list[tuple[str, bytes]], told: mmap.mmap, seen: Seen
) -> int:
    """The exit status of a child that reads them; ``told`` has how many it has read."""
    told[:8] = bytes(8)
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(out)
        os._exit(child(kind, folder, batch, told, into))
    os.close(into)
    with os.fdopen(out) as lines:
        for line in lines:
            verdict, at = json.loads(line)
            if verdict in {"read", "refused"}:
                setattr(seen, verdict, getattr(seen, verdict) + 1)
            else:
                note(seen, folder, verdict, *batch[at], at)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def child(
    kind: Kind, folder: Path, batch: list[tuple[str, bytes]], told: mmap.mmap, into: int
) -> int:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTE, used + GIGABYTE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stderr = io.StringIO()
    with os.fdopen(into, "w", buffering=1) as say:
        for at, (name, content) in enumerate(batch):
            told[:8] = at.to_bytes(8, "little")
            path = folder / f"copy-{name}"
            path.write_bytes(content)
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)  # of this process's own time
            try:
                kind.read(path)
                verdict = "read"
            except PixelwiseError:
                verdict = "refused"
            except BaseException as error:  # noqa: BLE001 - that is what is looked for
                verdict = f"{type(error).__name__}: {str(error)[:80]}"
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            say.write(json.dumps([verdict, at]) + "\n")
    return 0


def note(seen: Seen, folder: Path, why: str, name: str, content: bytes, at: int) -> None:
    if not seen.wrong[why]:
        kept = folder / "found" / f"{sum(seen.wrong.values())}-{at}-{name}"
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(content)
        print(f"{kept}: {why}", file=sys.stderr)
    seen.wrong[why] += 1


# -- kinds of files -------------------------------------------------------------------------------
def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pictures() -> Kind:
    from pixelwise.pictures.reading import read
    from small_model import pixels

    rgb = Image.fromarray(pixels((24, 32)))
    wide = Image.fromarray(pixels((24, 32))[..., 0].astype(np.uint16) * 257)
    seeds = {
        "a.png": encoded(rgb, "PNG"),
        "b.png": encoded(rgb.quantize(16), "PNG"),
        "c.png": encoded(wide, "PNG"),
        "d.png": encoded(rgb.convert("RGBA"), "PNG"),
        "e.jpg": encoded(rgb, "JPEG"),
        "f.jpg": encoded(rgb, "JPEG", progressive=True, exif=exif()),
        "g.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "h.webp": encoded(rgb, "WEBP"),
        "i.bmp": encoded(rgb, "BMP"),
        "j.tif": encoded(rgb, "TIFF"),
        "k.tif": encoded(rgb, "TIFF", compression="tiff_lzw"),
        "l.tif": encoded(wide, "TIFF", compression="tiff_adobe_deflate"),
        "m.ppm": encoded(rgb, "PPM"),
    }
    return Kind({n: c for n, c in seeds.items() if reads(read, n, c)}, read)


def exif() -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = 6
    return data


def reads(read: Callable[[Path], object], name: str, content: bytes) -> bool:
    """Whether this format is one of those that are read at all."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / name
        path.write_bytes(content)
        try:
            read(path)
        except PixelwiseError:
            return False
    return True


def label_maps() -> Kind:
    from pixelwise.pictures.images import read_labels

    ids = np.random.default_rng(0).integers(0, 4, (24, 32), np.uint8)
    indexed = Image.fromarray(ids)
    indexed.putpalette(list(range(256)) * 3)
    seeds = {
        "a.png": encoded(Image.fromarray(ids), "PNG"),
        "b.png": encoded(indexed, "PNG"),
        "c.png": encoded(Image.fromarray(ids.astype(np.uint16)), "PNG"),
        "d.bmp": encoded(Image.fromarray(ids), "BMP"),
        "e.tif": encoded(Image.fromarray(ids), "TIFF"),
    }
    return Kind({n: c for n, c in seeds.items() if reads(read_labels, n, c)}, read_labels)


def small_net() -> dict[str, Any]:
    import torch

    return {
        f"{name}.{part}": torch.randn(4, 3, 3, 3) if part == "weight" else torch.randn(4)
        for name in ("conv1", "conv2")
        for part in ("weight", "bias")
    }


def caffemodels() -> Kind:
    from pixelwise.weights.exporting import export_weights
    from pixelwise.weights.load import read_weights
    from small_model import save_model

    with tempfile.TemporaryDirectory() as place:
        options = {"classes": 3, "width": 1 / 64}
        net = save_model(Path(place) / "net.safetensors", net="fcn8s-alexnet", options=options)
        export_weights(net, Path(place) / "out.caffemodel")
        content = (Path(place) / "out.caffemodel").read_bytes()
    return Kind({"a.caffemodel": content}, read_weights)


def checkpoints() -> Kind:
    import safetensors.torch

    from pixelwise.weights.load import read_weights
    from small_model import save_model

    with tempfile.TemporaryDirectory() as place:
        options = {"classes": 3, "width": 1 / 16}
        ours = save_model(Path(place) / "net.safetensors", options=options).read_bytes()
    return Kind(
        {"a.safetensors": ours, "b.safetensors": safetensors.torch.save(small_net())}, read_weights
    )


def torch_files() -> Kind:
    import torch

    from pixelwise.weights.load import read_weights

    seeds = {}
    for name, zipped in (("a.pth", True), ("b.pth", False)):
        buffer = io.BytesIO()
        torch.save(small_net(), buffer, _use_new_zipfile_serialization=zipped)
        seeds[name] = buffer.getvalue()
    return Kind(seeds, read_weights)


def mats() -> Kind:
    import published
    from pixelwise.pictures.matfile import MatReader

    labels = np.random.default_rng(0).integers(0, 4, (24, 32), np.uint8)
    seeds = {"a.mat": published.mat({"labels": labels, "names": np.array(["a", "b"], object)})}
    readers: dict[int, MatReader] = {}

    def read(path: Path) -> object:
        reader = readers.setdefault(os.getpid(), MatReader(seconds=5))
        return reader.read(path, "labels")

    return Kind(seeds, read)


def archives() -> Kind:
    import published
    from pixelwise.data.prepare.archives import listed
    from pixelwise.data.prepare.source import silent

    files = published.voc(2012, {"train": ["2007_000001"], "val": ["2007_000002"]})
    with tempfile.TemporaryDirectory() as place:
        seeds = {
            "a.tar": published.tar(files, Path(place) / "a.tar").read_bytes(),
            "b.tar.gz": published.tar(files, Path(place) / "b.tar.gz", "w:gz").read_bytes(),
            "c.zip": published.zipped(files, Path(place) / "c.zip").read_bytes(),
        }

    def read(path: Path) -> object:
        with tempfile.TemporaryDirectory() as place:
            return sum(len(entry.read()) for entry in listed(path, Path(place) / "laid", silent))

    return Kind(seeds, read)


def documents() -> Kind:
    from pixelwise.data.class_files import described
    from pixelwise.data.formats.layouts import open_dataset

    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "coco"
        (root / "images").mkdir(parents=True)
        Image.new("RGB", (32, 24)).save(root / "images" / "1.png")
        square = [4, 4, 20, 4, 20, 20, 4, 20]
        coco = {
            "images": [{"id": 1, "file_name": "1.png", "width": 32, "height": 24}],
            "categories": [{"id": 1, "name": "thing"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square], "iscrowd": 0}
            ],
        }
        labelme = {
            "imagePath": "1.png",
            "imageWidth": 32,
            "imageHeight": 24,
            "shapes": [
                {"label": "thing", "shape_type": "polygon", "points": [[4, 4], [20, 4], [20, 20]]}
            ],
        }
    seeds = {
        "annotations.json": json.dumps(coco).encode(),
        "1.json": json.dumps(labelme).encode(),
        "dataset.json": json.dumps({"classes": ["a", "b"], "values": "stored"}).encode(),
    }

    def read(path: Path) -> object:
        with tempfile.TemporaryDirectory() as place:
            name = path.name.partition("-")[2]
            folder = Path(place) / ("" if name == "1.json" else "images")
            folder.mkdir(exist_ok=True)
            Image.new("RGB", (32, 24)).save(folder / "1.png")
            (Path(place) / name).write_bytes(path.read_bytes())
            if name == "dataset.json":
                return described(Path(place))
            dataset = open_dataset(Path(place))
            return [dataset.read(item).labels.sum() for item in dataset.all_items()]

    return Kind(seeds, read)


KINDS: dict[str, Callable[[], Kind]] = {
    "pictures": pictures,
    "labels": label_maps,
    "caffemodels": caffemodels,
    "checkpoints": checkpoints,
    "torch": torch_files,
    "mats": mats,
    "archives": archives,
    "documents": documents,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    seen = fuzz(KINDS[told.kind](), told.folder, told.count, told.seed)
    json.dump({"read": seen.read, "refused": seen.refused, "wrong": dict(seen.wrong)}, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # a reader in a process of its own is not waited for


if __name__ == "__main__":
    main()
