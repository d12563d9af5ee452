"""``pw.load``: a net with its weights, preprocessing and classes, ready to use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise import images, labels
from pixelwise.data.preprocess import Preprocess
from pixelwise.errors import ModelError
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.predictor import Precision, Predictor, View, best_class, resolve_device
from pixelwise.nets import catalog
from pixelwise.weights.checkpoint import Header, load_checkpoint, read_header, save_checkpoint
from pixelwise.weights.files import weight_file

if TYPE_CHECKING:
    from pixelwise.evaluation.evaluate import Evaluation

Picture = Path | str | NDArray[np.uint8]


@dataclass(frozen=True)
class Model:
    """A trained net, as ``load`` returns it."""

    predictor: Predictor
    header: Header
    path: Path

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.header.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """A colour for each class."""
        if len(self.header.palette) >= len(self.classes):
            return self.header.palette
        colours = labels.distinct_palette(len(self.classes))
        return tuple((int(r), int(g), int(b)) for r, g, b in colours)

    @property
    def task(self) -> str:
        """``segmentation``, or ``classification`` for a convolutionalised classifier."""
        return catalog.entry(self.header.net).task

    def predict(self, picture: Picture | Any, *, probabilities: bool = False) -> Prediction:
        """Label every pixel of a picture.

        Args:
            picture: a path, an (H, W, 3) uint8 array, or a PIL image.
            probabilities: keep the softmax of the scores too, (K, H, W) float32.

        Raises:
            DataError: a picture that cannot be read, or of other channels.
            NumericalError: N003 scores that are not finite.
        """
        image = picture if isinstance(picture, np.ndarray) else _read(picture)
        scores = self.predictor.scores(image)
        kept = scores
        if scores.shape[-2:] != image.shape[:2]:  # a classifier's coarse map of probabilities
            kept = torch.nn.functional.interpolate(scores[None], image.shape[:2], mode="nearest")[0]
        found = None
        if probabilities:
            soft = kept if self.task == "classification" else kept.softmax(0)
            found = soft.cpu().numpy()
        return Prediction(image, best_class(kept), self.classes, self.palette, found)

    def evaluate(self, data: Path | str, split: str = "val") -> Evaluation:
        """Scores on a split of a data folder."""
        from pixelwise.data.layouts import open_dataset
        from pixelwise.evaluation.on_dataset import evaluate_model

        return evaluate_model(self, open_dataset(Path(data)), split)

    def save(self, path: Path | str) -> Path:
        """Write the model as one checkpoint file."""
        return save_checkpoint(path, self.predictor.net.state_dict(), self.header)


def load(
    path: Path | str,
    *,
    device: str = "auto",
    precision: Precision = "fp32",
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
    """
    where = resolve_device(device)
    path = weight_file(Path(path))
    header = read_header(path)
    if not header.net:
        raise ModelError(
            "M040",
            f"{path} holds loose blobs of no net in the catalogue",
            "pixelwise weights import FILE --net NAME -o OUT.safetensors",
        )
    with torch.device("meta"):
        net = catalog.build(header.net, **dict(header.options))
    header, tensors = load_checkpoint(path, net=net)
    net = catalog.build(header.net, **dict(header.options))
    net.load_state_dict(tensors)
    net.eval()
    preprocess = Preprocess.from_dict(dict(header.preprocess))
    shown = view or View(**dict(header.inference))
    predictor = Predictor(net, preprocess, view=shown, precision=precision, device=where)
    return Model(predictor, header, path)


def _read(picture: Path | str | Any) -> NDArray[np.uint8]:
    if isinstance(picture, Path | str):
        return images.read_image(Path(picture))
    return images.from_image(picture)
