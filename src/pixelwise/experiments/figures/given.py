"""What the figures are drawn from: models, label maps, nets by name, journals, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.data.sample import Item, Sample
from pixelwise.errors import UsageError
from pixelwise.evaluation.foreign import guess_files, guess_reader
from pixelwise.evaluation.on_dataset import check_classes
from pixelwise.evaluation.systems import System, systems
from pixelwise.folders import is_run, stages
from pixelwise.labels import VOID
from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.net import Net
from pixelwise.pages.run import read_run
from pixelwise.predict.model import Model
from pixelwise.predict.on_data import heads_of

CLASSIFIES = "classification"
MOST_READ = 400  # label maps that are looked through for pictures of many classes: some seconds


class Lacking(UsageError):
    """What a figure is drawn from was not given; the hint is what makes it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("U002", message, hint)


@dataclass(frozen=True)
class Given:
    """What ``pixelwise figures`` was given."""

    words: Sequence[str]
    """Runs, checkpoints, folders of label maps (also NAME=PATH), and names of the catalogue."""
    load: Callable[[Path], Model]
    data: DataSet | None = None
    """By default that of the first run."""
    split: str = "val"
    pictures: Sequence[str] = ()
    photo: NDArray[np.uint8] | None = None
    heat: str = ""

    @cached_property
    def systems(self) -> tuple[System, ...]:
        """What was given by path; a run in stages is one for each of its stages."""
        paths = [word for word in self.words if Path(word).exists() or word not in NETS]
        begun = [[str(stage) for stage in stages(Path(path))] for path in paths]
        return systems([w for path, own in zip(paths, begun, strict=True) for w in own or [path]])

    @cached_property
    def models(self) -> dict[str, Model]:
        """Name to model, in the order given."""
        return {s.name: self.load(s.path) for s in self.systems if s.is_model}

    @cached_property
    def nets(self) -> dict[str, Net]:
        """Name in the catalogue to net: of the models, then those given by name."""
        ours = {m.header.net: m.predictor.net for m in self.models.values()}
        return ours | {word: spec(word) for word in self.words if word in NETS}

    def net(self, figure: int) -> tuple[str, Net]:
        """Of the nets that label pixels the one that enlarges most often: of a chain its last."""
        known = [(name, net) for name, net in self.nets.items() if NETS[name].task != CLASSIFIES]
        if not known:
            command = f"pixelwise figures fcn8s-vgg16 -o figures --only {figure}"
            raise Lacking(f"figure {figure} is of a net's spec, and none was given", command)
        return max(known, key=lambda one: sum(r.upsamples for r in one[1].layers.values()))

    @cached_property
    def dataset(self) -> DataSet:
        """The pictures and their truth."""
        runs = (read_run(s.path) for s in self.systems if is_run(s.path))
        known = self.data or next((run.dataset for run in runs if run.dataset), None)
        if known is None:
            what = "the figure shows pictures and their truth, and no data is at hand"
            raise Lacking(what, "pixelwise figures RUN -o figures --data DATA")
        return known

    def scenes(self, count: int) -> list[tuple[Item, Sample]]:
        """The pictures asked for; else those of most classes in their truth, by that alone."""
        items = {item.name: item for item in self.dataset.items(self.split)}
        if unknown := [name for name in self.pictures if name not in items]:
            what = f"{unknown[0]} is no picture of split {self.split} of {self.dataset.root}"
            raise UsageError("U001", what, f"one of {', '.join(list(items)[:5])}, ...")
        if self.pictures:
            chosen = [items[name] for name in self.pictures[:count]]
        else:
            some = list(items.values())[:: -(-len(items) // MOST_READ)]
            chosen = sorted(some, key=lambda i: (-self._classes(i), i.name))[:count]
        return [(item, self.dataset.read(item)) for item in chosen]

    def _classes(self, item: Item) -> int:
        head = self.dataset.heads[0]
        labels = item.labels[head].read(self.dataset.class_map)
        return len(np.unique(labels[labels != VOID]))

    def labels(self, system: str, item: Item) -> NDArray[Any]:
        """What a system says of a picture; in the first head that its data has."""
        if system not in self.models:
            path = next(s.path for s in self.systems if s.name == system)
            files = guess_files(path)
            if item.name not in files:
                what = f"{item.name}: no label map in {path}"
                raise UsageError("U002", what, "--picture NAME, of a picture that all have")
            return guess_reader(self.dataset)(files[item.name])
        model, first = self.models[system], self.dataset.heads[:1]
        fitted = model.fitting(self.dataset, [head for head in first if head in model.heads])
        head = heads_of(model, fitted)[fitted.heads[0]]
        check_classes(model.heads[head].classes, fitted, fitted.heads[0])
        return model.predictor.by_head(fitted.read(item).image)[head].labels
