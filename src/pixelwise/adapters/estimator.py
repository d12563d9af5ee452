"""A scikit-learn estimator: ``FCNSegmenter().fit(X, y).predict(X)``.

Cross-validation, grids of parameters and pipelines of scikit-learn take it as any other: samples
are pictures, targets are label maps of the same sizes, in which 255 is void.
"""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from pixelwise.errors import DataError, UsageError, hxw
from pixelwise.labels import VOID, default_names, distinct_palette
from pixelwise.machine.files import atomic_write, write_json
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores
from pixelwise.pictures.images import write_image, write_labels
from pixelwise.pictures.reading import read
from pixelwise.predict.model import Model, load
from pixelwise.training.loop import train
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import with_settings

Pictures = Sequence[Any] | NDArray[Any]
"""(N, H, W, B) or (N, H, W) uint8, or a list of what ``Model.predict`` takes, of any sizes."""
Maps = Sequence[NDArray[Any]] | NDArray[Any]
"""(N, H, W) of class numbers, or a list of (H, W)."""
CHECKPOINT = "weights/last.safetensors"


class FCNSegmenter(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A fully convolutional net with scikit-learn's interface.

    Args:
        net: a name of the catalogue.
        iterations: steps of training.
        batch: pictures of a step.
        crop: (H, W) that is cut of each picture; needed where pictures differ in size.
        learning_rate: of AdamW, on a cosine schedule.
        weights: what the trunk starts from, as ``train --weights`` takes it.
        classes: names, by number; by default as many numbers as the labels of ``fit`` reach.
        settings: further fields of the recipe, ``{"augment.mirror": False}``.
        random_state: the run's seed.
        device: auto, cpu or cuda.

    After ``fit``: ``classes_`` (K,) the class numbers, ``model_`` the ``pixelwise.Model``,
    ``n_features_in_`` the bands of its pictures.
    """

    def __init__(
        self,
        *,
        net: str = "fcn8s-tiny",
        iterations: int = 300,
        batch: int = 4,
        crop: tuple[int, int] | None = None,
        learning_rate: float = 4e-3,
        weights: str = "",
        classes: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        random_state: int = 0,
        device: str = "auto",
    ) -> None:
        self.net, self.iterations, self.batch, self.crop = net, iterations, batch, crop
        self.learning_rate, self.weights, self.classes = learning_rate, weights, classes
        self.settings, self.random_state, self.device = settings, random_state, device

    def fit(self, X: Pictures, y: Maps) -> FCNSegmenter:
        """Train on pictures and their label maps, from the start.

        Raises:
            DataError: D031 other counts, D013 other sizes, D012 a number that is no class, and what
                training raises.
            UsageError: of the recipe.
        """
        with TemporaryDirectory(prefix="pixelwise-") as folder:
            names = _written(Path(folder) / "data", X, y, self.classes)
            run = Path(folder) / "run"
            train(self._recipe(Path(folder) / "data"), run)
            self._keep((run / CHECKPOINT).read_bytes())
        self.classes_ = np.arange(len(names))
        self.n_features_in_ = self.model_.predictor.bands
        return self

    def _recipe(self, data: Path) -> Recipe:
        optim = {"optim.name": "adamw", "optim.lr": self.learning_rate, "schedule.name": "cosine"}
        own = {"val_split": "", "validate_every": 0, "batch": self.batch, "device": self.device}
        own |= {"crop": "x".join(map(str, self.crop))} if self.crop else {}
        told = {**optim, **own, "weights": self.weights, **(self.settings or {})}
        recipe = Recipe(
            data=str(data), net=self.net, iterations=self.iterations, seed=self.random_state
        )
        return with_settings(recipe, [f"{k}={_text(v)}" for k, v in told.items()])

    def predict(self, X: Pictures) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        """Label maps: (N, H, W) where the pictures are an array, else a list of (H, W)."""
        made = [self._fitted.predict(x).labels for x in X]
        return np.stack(made) if isinstance(X, np.ndarray) and made else made

    def predict_proba(self, X: Pictures) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Probabilities, classes last: (N, H, W, K), or a list of (H, W, K)."""
        made = []
        for x in X:
            kept = self._fitted.predict(x, probabilities=True).probabilities
            assert kept is not None
            made.append(np.moveaxis(kept, 0, -1))
        return np.stack(made) if isinstance(X, np.ndarray) and made else made

    def score(self, X: Pictures, y: Maps) -> float:
        """The paper's mean IU over all pictures; void does not count."""
        count = len(self._fitted.classes)
        pairs = zip(X, y, strict=True)
        counts = [confusion(np.asarray(t), self._fitted.predict(x).labels, count) for x, t in pairs]
        mean = scores(np.sum(counts, axis=0)).mean_iu
        return float("nan") if mean is None else float(mean)

    @property
    def _fitted(self) -> Model:
        if not hasattr(self, "model_"):
            raise NotFittedError("this FCNSegmenter is not fitted yet: call fit(X, y) first")
        model: Model = self.model_
        return model

    def _keep(self, checkpoint: bytes) -> None:
        """The model out of a checkpoint's bytes, in a file that lives as long as the estimator."""
        folder = mkdtemp(prefix="pixelwise-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._checkpoint = checkpoint
        path = atomic_write(Path(folder) / "model.safetensors", checkpoint)
        self.model_ = load(path, device=self.device)

    def __getstate__(self) -> dict[str, Any]:
        """The checkpoint's bytes stand for the model."""
        state: dict[str, Any] = dict(super().__getstate__())
        return {k: v for k, v in state.items() if k != "model_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As pickle and joblib call it."""
        super().__setstate__(state)
        if "_checkpoint" in state:
            self._keep(state["_checkpoint"])

    def __sklearn_tags__(self) -> Any:
        """Pictures have more dimensions than a table."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _written(
    folder: Path, pictures: Pictures, maps: Maps, classes: Sequence[str] | None
) -> tuple[str, ...]:
    """A data set in our own layout, and its classes."""
    if len(pictures) != len(maps) or not len(maps):
        what = f"X has {len(pictures)} pictures and y has {len(maps)} label maps"
        raise DataError("D031", what, "one label map for each picture")
    known = [np.asarray(m) for m in maps]
    highest = max((int(m[m != VOID].max(initial=0)) for m in known), default=0)
    names = tuple(classes or default_names(highest + 1))
    palette = distinct_palette(len(names))
    for i, (picture, labels) in enumerate(zip(pictures, known, strict=True)):
        image = read(picture)
        _refuse(i, image.shape, labels, len(names))
        if image.shape[2] == 3:
            write_image(folder / "images" / f"{i:06}.png", image)
        else:
            atomic_write(folder / "images" / f"{i:06}.npy", partial(_save, image))
        write_labels(folder / "labels" / f"{i:06}.png", labels.astype(np.uint8), palette)
    atomic_write(folder / "splits" / "train.txt", "".join(f"{i:06}\n" for i in range(len(known))))
    told = {"classes": list(names), "palette": palette.tolist(), "ignore": VOID}
    write_json(folder / "dataset.json", told)
    return names


def _save(image: NDArray[Any], file: BinaryIO) -> None:
    np.save(file, image)


def _refuse(place: int, shape: tuple[int, ...], labels: NDArray[Any], classes: int) -> None:
    if labels.shape != shape[:2]:
        what = f"picture {place} is {hxw(shape)} (HxW), its label map has shape {labels.shape}"
        raise DataError("D013", what, "label maps have the height and width of their pictures")
    if labels.dtype.kind not in "iu":
        raise UsageError("U002", f"label map {place} is {labels.dtype}, expected whole numbers")
    strange = np.setdiff1d(labels, [*range(classes), VOID])
    if strange.size:
        what = f"label map {place} holds {strange[0]}, expected 0 to {classes - 1}, or {VOID}"
        raise DataError("D012", what, "classes=(...) names them all")
