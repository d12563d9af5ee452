"""``pw.load``: a net with its weights, preprocessing and classes, ready to use."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from pixelwise import settings
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.masking import masked_as
from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.network import Network, filled
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import ModelError, UsageError, unknown_name
from pixelwise.evaluation.evaluate import Evaluation
from pixelwise.evaluation.on_dataset import evaluate_split
from pixelwise.labels import colours_for, default_names
from pixelwise.machine.environment import resolve_device
from pixelwise.nets import catalog
from pixelwise.nets.net import Net
from pixelwise.pictures.reading import read
from pixelwise.predict.prediction import Prediction
from pixelwise.predict.predictor import Labelled, Predictor
from pixelwise.predict.view import View
from pixelwise.settings import as_dict
from pixelwise.weights import checkpoint
from pixelwise.weights.checkpoint import DAMAGED, Header
from pixelwise.weights.sniff import sniff, weight_file
from pixelwise.weights.surgery import score_layers

log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "bf16")
Picture = Path | str | bytes | NDArray[Any]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained net, as ``load`` returns it."""

    predictor: Predictor
    header: Header
    path: Path

    def __repr__(self) -> str:
        return f"<Model {self.header.net} of {len(self.classes)} classes, {self.path}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.header.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """A colour for each class."""
        return colours_for(len(self.classes), self.header.palette)

    @property
    def task(self) -> str:
        """``segmentation``, or ``classification`` for a convolutionalised classifier."""
        return catalog.entry(self.header.net).task

    def predict(self, picture: Picture | Any, *, probabilities: bool = False) -> Prediction:
        """Label every pixel of a picture.

        Args:
            picture: a path, the bytes of a file, a PIL image, or an array (H, W, B) of uint8 (of a
                net trained on stored values also of others); (H, W) is grey, and a fourth band
                is alpha, composed over white, where the net takes three.
            probabilities: keep them too: (K, H, W) float32, of a classifier its coarse map.

        Raises:
            DataError: D010 to D025 a picture that cannot be read or is of another type, D018 of
                other channels, D023 too small.
            NumericalError: N003 scores that are not finite.
            ResourceError: R003 it would not fit into memory.
        """
        preprocess = self.predictor.preprocess
        image = read(picture, bands=self.predictor.bands, values=preprocess.values)
        by_head = self.predictor.by_head(image, scores=probabilities)
        heads = {head: self._prediction(image, head, made) for head, made in by_head.items()}
        first = next(iter(heads.values()))
        return dataclasses.replace(first, heads=heads) if len(heads) > 1 else first

    def _prediction(self, image: NDArray[Any], head: str, made: Labelled) -> Prediction:
        net, kept = self.predictor.net, None
        if made.scores is not None:  # a classifier's scores are probabilities already
            soft = made.scores if self.task == "classification" else made.scores.softmax(0)
            kept = soft.cpu().numpy()
        classes, palette = self.classes, self.palette
        if head != next(iter(net.outputs)):  # a header describes the first head's classes
            count = net.channels[net.outputs[head]]
            classes, palette = default_names(count), colours_for(count)
        grid = self.predictor.grid(head)
        return Prediction(image, made.labels, classes, palette, kept, grid)

    def evaluate(
        self,
        data: DataSet | Path | str,
        split: str = "val",
        *,
        keep: Path | str | None = None,
        mask: str = "none",
        watch: Callable[[], object] = lambda: None,
    ) -> Evaluation:
        """Scores on a split of a data set.

        Args:
            data: a data set, or a folder of one; with the model's classes, in its order.
            split: train, val, or another that it has.
            keep: folder for the guessed label maps, ``<name>.png``.
            mask: foreground, background or shape (all but it): what labels hide of the pictures.
            watch: called after each picture.

        Raises:
            ModelError: M040 the model's classes are not the data set's.
            DataError: an unreadable picture, an unknown or empty split.
            UsageError: U003 ``keep`` holds files of the data set, or others that are no guesses.
        """
        dataset = data if isinstance(data, DataSet) else open_dataset(Path(data))
        pixel = self.predictor.preprocess.mean_pixel()
        return evaluate_split(
            self.predictor.labels,
            self.classes,
            dataset,
            split,
            trained_on=self.header.trained_on,
            keep=Path(keep) if keep else None,
            shown=masked_as(mask, dataset.classes, pixel),
            watch=watch,
        )

    def shown(
        self, *, zoom: float | str | Sequence[float] | None = None, mirror: bool | None = None
    ) -> Model:
        """The same model that is shown pictures as ``View`` says; what is not given stays.

        Raises:
            UsageError: U002 a factor out of range, or several for a net that gives a coarse map.
        """
        old = self.predictor
        zooms: Any = old.view.zooms if zoom is None else zoom
        view = View(zooms, old.view.mirror if mirror is None else mirror)
        predictor = Predictor(old.runner, old.preprocess, view=view)
        return dataclasses.replace(self, predictor=predictor)

    def save(self, path: Path | str) -> Path:
        """Write the model as one checkpoint file."""
        runner = self.predictor.runner
        assert isinstance(runner, TorchRunner), "another engine is made from a checkpoint"
        header = dataclasses.replace(self.header, inference=as_dict(self.predictor.view))
        return checkpoint.save_checkpoint(path, runner.network.state_dict(), header)


def load(
    path: Path | str,
    *,
    device: str = "auto",
    precision: str = "fp32",
    view: View | None = None,
) -> Model:
    """A model from a run folder or a checkpoint.

    Args:
        path: a run folder (its best weights) or a ``.safetensors`` file.
        device: auto, cpu or cuda.
        precision: fp32, or bf16 autocast.
        view: how pictures are shown to the net; by default as the model was made for.

    Raises:
        ModelError: missing, damaged, foreign, or not finite.
        ResourceError: R009 the device is not there.
        UsageError: U001 no such device or precision.
    """
    where = resolve_device(device)
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    path = weight_file(Path(path))
    kind = sniff(path)
    if kind != "safetensors":
        raise ModelError(
            "M040",
            f"{path} is a {kind} file, which names neither net nor classes, expected a checkpoint",
            f"pixelwise weights import {path} --net NAME -o OUT.safetensors",
        )
    header = checkpoint.read_header(path)
    net, preprocess, own_view = _described(header, path)
    with torch.device("meta"):  # shapes are compared before memory is taken
        shape_only = Network(net)
    header, tensors = checkpoint.load_checkpoint(path, net=shape_only)
    module = filled(net, tensors)
    if not any(module.get_parameter(f"{name}.weight").any() for name in score_layers(net)):
        log.warning("%s: the score layers are zero, every pixel will get one class: train it", path)
    runner = TorchRunner(module, bf16=precision == "bf16", device=where)
    return Model(Predictor(runner, preprocess, view=view or own_view), header, path)


def _described(header: Header, path: Path) -> tuple[Net, Preprocess, View]:
    """The net, preprocessing and view that a header names; what it says comes from a file."""
    net = checkpoint.net_of(header, path)
    try:
        view = View(**dict(header.inference))
    except (UsageError, TypeError, ValueError, OverflowError) as error:
        message = f"{path}: the header describes no view of pictures ({error})"
        hint = "pip install --upgrade pixelwise, if a newer version wrote it"
        raise ModelError("M040", message, hint) from error
    try:
        preprocess = settings.read(Preprocess, dict(header.preprocess))
    except ModelError as error:
        raise ModelError(error.code, f"{path}: {error}", error.hint) from error
    bands, classes = sum(net.inputs.values()), net.channels[next(iter(net.outputs.values()))]
    for values, what, of, number in (
        (preprocess.mean, "channel means", "channels", bands),
        (header.classes, "class names", "classes", classes),
    ):
        if len(values) != number:
            message = f"{path}: {len(values)} {what} for {number} {of}"
            raise ModelError("M002", message, DAMAGED)
    return net, preprocess, view
