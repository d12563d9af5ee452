"""Miniatures of published data sets, with the paths and formats of the true archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from pixelwise.labels import voc_palette

SIZE = (30, 40)


def photo(name: str, size: tuple[int, int] = SIZE) -> bytes:
    """A JPEG that depends on its name."""
    rng = np.random.default_rng(list(name.encode()))
    pixels = rng.integers(0, 256, (*size, 3), np.uint8)
    return encoded(Image.fromarray(pixels), "JPEG")


def label_png(labels: np.ndarray) -> bytes:
    """A palette PNG as VOC's are."""
    image = Image.fromarray(labels)
    image.putpalette(voc_palette().tobytes())
    return encoded(image, "PNG")


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def voc_labels(name: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Two classes, and a band of void between them."""
    labels = np.zeros(size, np.uint8)
    labels[10:, :] = 1 + sum(name.encode()) % 20
    labels[9:11, :] = 255
    return labels


def sbd_labels(name: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Another outline than VOC's, without void."""
    labels = np.zeros(size, np.uint8)
    labels[12:, 5:] = 1 + sum(name.encode()) % 20
    return labels


def mat(variables: Mapping[str, object]) -> bytes:
    """A MATLAB file of version 5, compressed as MATLAB's own."""
    buffer = io.BytesIO()
    savemat(buffer, dict(variables), do_compression=True)
    return buffer.getvalue()


def lines(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def voc(year: int, splits: Mapping[str, Iterable[str]], bare: Iterable[str] = ()) -> dict:
    """Path in the archive to content: JPEGImages, SegmentationClass and lists of a year."""
    home = f"{'TrainVal/' if year == 2011 else ''}VOCdevkit/VOC{year}"
    files = {f"{home}/ImageSets/Segmentation/{s}.txt": lines(n) for s, n in splits.items()}
    names = {name for listed in splits.values() for name in listed}
    for name in sorted({*names, *bare}):
        files[f"{home}/JPEGImages/{name}.jpg"] = photo(name)
        if name not in bare:
            files[f"{home}/SegmentationClass/{name}.png"] = label_png(voc_labels(name))
    return files


def sbd(train: Iterable[str], val: Iterable[str]) -> dict:
    """``benchmark_RELEASE/dataset``, its label maps in MATLAB's structs."""
    home = "benchmark_RELEASE/dataset"
    files = {f"{home}/train.txt": lines(train), f"{home}/val.txt": lines(val)}
    for name in sorted({*train, *val}):
        struct = {"Boundaries": np.zeros(3), "Segmentation": sbd_labels(name)}
        struct["CategoriesPresent"] = np.array([1.0])
        files[f"{home}/cls/{name}.mat"] = mat({"GTcls": struct})
        files[f"{home}/img/{name}.jpg"] = photo(name)
    return files


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def tar(files: Mapping[str, bytes], path: Path, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        folders = {str(p) for name in files for p in Path(name).parents if str(p) != "."}
        for name in sorted(folders):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(files: Mapping[str, bytes], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    paths = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}
