"""A checkpoint of ours as another runtime's file: written, carried out there, compared, kept.

Nothing is kept that does not give our own scores on pictures of odd sizes, within rounding.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.backends import Carry
from pixelwise.engine.network import Network, filled
from pixelwise.errors import ModelError, UsageError, hxw, unknown_name
from pixelwise.export.formats import MAKE, Work
from pixelwise.machine.files import write_together
from pixelwise.nets.net import Net
from pixelwise.settings import read
from pixelwise.weights.checkpoint import load_checkpoint, net_of, read_header
from pixelwise.weights.sniff import weight_file

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2"}
SIZES = ((1, 1), (37, 501), (375, 500), (500, 500))
"""On which a file is compared, where the net takes them: one pixel, odd, PASCAL's, the paper's."""
TOLERANCE = 1e-4
"""Of the largest score: the farthest that a runtime's own order of sums has been seen to go is a
tenth of it."""


@dataclass(frozen=True)
class Agreement:
    """How a file compares with our own net on one random picture."""

    size: tuple[int, int]
    error: float
    """The largest difference of scores as a part of the largest score; NaN where it gives none."""
    labels: float
    """The part of pixels with the same class."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    files: tuple[Path, ...]
    format: str
    net: str
    outputs: tuple[str, ...]
    checked: tuple[Agreement, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        checked = [{**vars(a), "size": list(a.size)} for a in self.checked]
        return {**vars(self), "files": [str(p) for p in self.files], "checked": checked}


def export_model(
    path: Path | str,
    out: Path | str,
    *,
    format: str = "",
    labels: bool = False,
    size: tuple[int, int] = (500, 500),
    force: bool = False,
) -> Exported:
    """Write the model at ``path`` as ``out`` for another runtime.

    Args:
        path: a run folder or a checkpoint.
        out: the file; of OpenVINO an ``.xml``, with a ``.bin`` beside it.
        format: onnx, openvino or pt2; by default what the name ends in.
        labels: labels (N, H, W) instead of scores (N, K, H, W).
        size: the only height and width that a ``.pt2`` takes; the others take any.
        force: replace what is there.

    Raises:
        ModelError: what ``load_checkpoint`` raises; M040 a layer that the format has not, weights
            that do not fit into a file, or scores that differ.
        UsageError: U001 no such format, U002 another suffix, U003 the file exists.
        ResourceError: R001, R002; R008 a package of the extra ``export`` is missing.
    """
    path, out = weight_file(Path(path)), Path(out)
    format = format or {s: f for f, s in SUFFIXES.items()}.get(out.suffix, "")
    if format not in SUFFIXES:
        raise unknown_name("format", format or out.suffix, tuple(SUFFIXES))
    files = [out, out.with_suffix(".bin")] if format == "openvino" else [out]
    _refuse_places(files, format, path, force=force)
    header = read_header(path)
    net = net_of(header, path)
    if labels:
        net.only_classes("--labels")
    sizes = tuple(s for s in ((size,) if format == "pt2" else SIZES) if _takes(net, s))
    with torch.device("meta"):
        shapes = Network(net)
    header, tensors = load_checkpoint(path, net=shapes)
    network = filled(net, tensors)
    work = Work(network, header, labels, size)
    with tempfile.TemporaryDirectory(prefix="pixelwise-export-") as scratch:
        made = MAKE[format](work, Path(scratch))
        checked = tuple(_compared(work, made.carry, s) for s in sizes)
        _refuse_differences(checked, path, format)
        written = write_together(dict(zip(files, made.contents, strict=True)))
    return Exported(written, format, header.net, work.outputs, checked)


def _compared(work: Work, carry: Carry, size: tuple[int, int]) -> Agreement:
    """The same random picture through the file and through our own net."""
    preprocess = read(Preprocess, dict(work.header.preprocess))
    noise = np.random.default_rng(0).integers(0, 256, (*size, preprocess.bands_given))
    x = torch.from_numpy(preprocess(noise.astype(np.uint8)))[None]
    with torch.inference_mode():
        wanted = work.network.activations(x, work.net.outputs.values())
    given = dict(zip(work.net.outputs, carry(x.numpy()), strict=True))
    error, same, pixels = 0.0, 0, 0
    for head, layer in work.net.outputs.items():
        ours, theirs = wanted[layer].numpy(), given[head]
        if not work.labels:
            error = max(error, float(np.abs(ours - theirs).max() / (np.abs(ours).max() or 1)))
            theirs = theirs.argmax(1)
        best = ours.argmax(1)
        same, pixels = same + int((theirs == best).sum()), pixels + best.size
    return Agreement(size, float("nan") if work.labels else error, same / pixels)


def _refuse_differences(checked: tuple[Agreement, ...], path: Path, format: str) -> None:
    for one in checked:
        # Of labels alone ties may fall otherwise; of scores the error says all.
        if one.error > TOLERANCE or (one.error != one.error and one.labels < 0.999):
            what = (
                f"{path} as {format}: at {hxw(one.size)} scores differ by {one.error:.1e} of the "
            )
            what += f"largest and {1 - one.labels:.2%} of labels; nothing was written"
            raise ModelError("M040", what, "another version of the runtime, or another format")


def _refuse_places(files: list[Path], format: str, model: Path, *, force: bool) -> None:
    if files[0].suffix != SUFFIXES[format]:
        what = f"{files[0]}: expected a name that ends in {SUFFIXES[format]}"
        raise UsageError("U002", what, f"-o {files[0].with_suffix(SUFFIXES[format])}")
    for place in files:
        if place.exists() and (not force or (model.exists() and place.samefile(model))):
            hint = "choose another -o" if force else "choose another -o, or --force"
            raise UsageError("U003", f"{place} exists already", hint)


def _takes(net: Net, size: tuple[int, int]) -> bool:
    try:
        return all(net.sizes(length) for length in size)
    except UsageError:
        return False
