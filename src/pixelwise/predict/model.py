"""``pw.load``: a net with its weights, preprocessing and classes, ready to use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise import settings
from pixelwise.crf.parameters import DenseCrf
from pixelwise.data.dataset import DataSet
from pixelwise.data.depth import Depth, HhaInput, HhaOf
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.engine.convolutions import MEMORY
from pixelwise.engine.planned import PlannedRunner, runner
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import DataError, ModelError, UsageError, unknown_name
from pixelwise.evaluation.evaluate import Evaluation
from pixelwise.labels import colours_for, default_names
from pixelwise.machine.environment import resolve_device
from pixelwise.nets import catalog
from pixelwise.pictures.bands import kind_of, refuse_other_kind, stacked, whole
from pixelwise.pictures.reading import UNNAMED, Values, read
from pixelwise.predict import exported, on_data
from pixelwise.predict.components import Sieve
from pixelwise.predict.described import calibrated_view, described, network_of
from pixelwise.predict.prediction import Prediction
from pixelwise.predict.predictor import Labelled, Predictor
from pixelwise.predict.view import View
from pixelwise.weights import checkpoint, eight_bits
from pixelwise.weights.checkpoint import DAMAGED, HeadClasses, Header
from pixelwise.weights.safetensors_file import unchanged
from pixelwise.weights.sniff import sniff, weight_file

log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "bf16", "int8")
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
    def heads(self) -> dict[str, HeadClasses]:
        """Classes and colours of each head, in the net's order; without a name in the header the
        name is the net's.
        """
        net, known = self.predictor.net, self.header.heads
        first = HeadClasses(self.classes, self.palette)
        heads: dict[str, HeadClasses] = {}
        for head, layer in net.outputs.items():
            count = net.channels[layer]
            own = known.get(head) or (HeadClasses(default_names(count)) if heads else first)
            heads[head] = HeadClasses(own.classes, colours_for(count, own.palette))
        return heads

    @property
    def inputs(self) -> tuple[str, ...]:
        """What makes a picture for it, by the names of the data that it was trained on."""
        return tuple(self.header.inputs or self.predictor.net.inputs)

    @property
    def computed(self) -> dict[str, HhaInput]:
        """The inputs that it was trained on as HHA of depth, and how that was made.

        Raises:
            ModelError: M002 the header says it in another way.
        """
        told = self.header.data.get("computed", {})
        try:
            return {name: HhaInput(settings.read(HhaOf, source)) for name, source in told.items()}
        except (DataError, AttributeError) as error:
            raise ModelError("M002", f"{self.path}: data.computed: {error}", DAMAGED) from error

    @property
    def false_colour(self) -> tuple[int, ...]:
        """Of the data that it was trained on, see ``labels.three_bands``; else empty."""
        told, known = self.header.data.get("false_colour"), range(self.predictor.bands)
        if not isinstance(told, list) or len(told) != 3 or any(n not in known for n in told):
            return ()
        return tuple(told)

    @property
    def task(self) -> str:
        """``segmentation``, or ``classification`` for a convolutionalised classifier."""
        return catalog.entry(self.header.net).task

    def predict(self, picture: Picture | Any, *, probabilities: bool = False) -> Prediction:
        """Label every pixel of a picture.

        Args:
            picture: a path, the bytes of a file, a PIL image, or an array (H, W, B) of uint8 (of a
                net trained on stored values also of others); (H, W) is grey, and a fourth band
                is alpha, composed over white, where the net takes three. For a net of several
                inputs one of these for each, by name, or an array of all bands. An input that was
                HHA of depth in training takes depth, or a ``data.depth.Depth``, as well.
            probabilities: keep them too: (K, H, W) float32, of a classifier its coarse map.

        Raises:
            DataError: D010 to D025 a picture that cannot be read or is of another type, D018 of
                other channels, D023 too small, D013 inputs of several sizes.
            UsageError: U002 a picture without the model's further inputs.
            NumericalError: N003 scores that are not finite.
            ResourceError: R003 it would not fit into memory.
        """
        return self.label(self.image(picture), probabilities=probabilities)

    def label(self, image: NDArray[Any], *, probabilities: bool = False) -> Prediction:
        """As ``predict``, of what ``image`` made of a picture."""
        by_head = self.predictor.by_head(image, scores=probabilities)
        heads = {head: self._prediction(image, head, made) for head, made in by_head.items()}
        first = next(iter(heads.values()))
        return replace(first, heads=heads) if len(heads) > 1 else first

    def _prediction(self, image: NDArray[Any], head: str, made: Labelled) -> Prediction:
        kept, own, kind = None, self.heads[head], self.predictor.net.kind(head)
        if kind.measured:
            return Prediction(image, made.labels, own.classes, own.palette, kind=kind)
        if made.scores is not None:  # a classifier's scores are probabilities already
            soft = made.scores if self.task == "classification" else made.scores.softmax(0)
            kept = soft.cpu().numpy()
        grid = self.predictor.grid(head)
        told = own.classes, own.palette, kept, grid
        return Prediction(image, made.labels, *told, false_colour=self.false_colour)

    def image(self, picture: Picture | Mapping[str, Picture] | Any) -> NDArray[Any]:
        """(H, W, B), as ``predict`` looks at it: one picture, or one for each input by its name."""
        kinds, several = dict(self.header.inputs), len(self.inputs) > 1
        # Photos of one input may be grey or in colour; of several each is what it is, and depth.
        values = self.predictor.preprocess.values
        if values == "8-bit" and (several or self.computed):
            values = "stored"
        if not isinstance(picture, Mapping):
            if several and not isinstance(picture, np.ndarray):
                form = ", ".join(f'"{name}": ...' for name in self.inputs)
                what = f"the model takes {', '.join(self.inputs)}, and one picture was given"
                raise UsageError("U002", what, f"model.predict({{{form}}})")
            image = self._read(picture, self.inputs[0], self.predictor.bands, values)
            if kinds and values != "8-bit" and image.shape[2] == self.predictor.bands:
                refuse_other_kind(image, whole(kinds), UNNAMED)
            return image
        if set(picture) != set(self.inputs):
            given = ", ".join(map(str, picture)) or "nothing"
            what = f"the model takes {', '.join(self.inputs)}, given was {given}"
            raise UsageError("U002", what, "name each input of the model, and no other")
        images = {}
        for name in self.inputs:
            try:
                bands = kinds[name].bands if name in kinds else self.predictor.net.inputs[name]
                images[name] = self._read(picture[name], name, bands, values)
            except DataError as error:  # of bytes it does not know whose they are
                text = str(error).replace(str(UNNAMED), f"input `{name}`", 1)
                raise DataError(error.code, text, error.hint) from None
        return stacked(images, kinds or {name: kind_of(i) for name, i in images.items()})

    def _read(self, picture: Any, name: str, bands: int, values: Values) -> NDArray[Any]:
        """The picture of an input; of one that was computed of depth, depth will do."""
        made = self.computed.get(name)
        if isinstance(picture, Depth):
            depth = read(picture.source, bands=1, values="stored")
            raw = None if picture.raw is None else read(picture.raw, bands=1, values="stored")
            return picture.made.image(depth, UNNAMED, picture.name, raw)
        image = read(picture, bands=bands, values=values)
        if made is None or image.shape[2] != 1:
            return image
        if isinstance(made.source.camera, str):
            what = f"{UNNAMED}: the camera of this depth is not known, each picture that the model "
            hint = "pixelwise data hha DEPTH -o OUT --camera fx,fy,cx,cy, and give it what is made"
            raise DataError("D034", f"{what}was trained on had its own", hint)
        return made.image(image, UNNAMED, "")

    def coloured(self, colours: Mapping[str, tuple[int, int, int]]) -> Model:
        """The same model with other colours for some classes, by their names, in every head.

        Raises:
            UsageError: U001 no head has such a class.
        """
        heads = self.heads
        known = [name for own in heads.values() for name in own.classes]
        for name in colours:
            if name not in known:
                raise unknown_name(f"class of {self.path}", name, known)
        new = {
            head: HeadClasses(
                own.classes,
                tuple(colours.get(n, c) for n, c in zip(own.classes, own.palette, strict=True)),
            )
            for head, own in heads.items()
        }
        first = next(iter(new.values()))
        named = new if self.header.heads or len(new) > 1 else {}
        return replace(self, header=replace(self.header, palette=first.palette, heads=named))

    def fitting(self, dataset: DataSet, heads: Sequence[str] = ()) -> DataSet:
        """The data set with this model's inputs, and those of its heads that are asked for.

        Names of a model of one input or head that the data has not are the data's own.

        Raises:
            UsageError: U001 no such head.
            DataError: D031 the data has no labels for a head, or no pictures for an input.
        """
        return on_data.fitting(self, dataset, heads)

    def evaluate(
        self,
        data: DataSet | Path | str,
        split: str = "val",
        *,
        heads: Sequence[str] = (),
        keep: Path | str | None = None,
        mask: str = "none",
        watch: Callable[[], object] = lambda: None,
    ) -> Evaluation:
        """Scores on a split of a data set.

        Args:
            data: a data set, or a folder of one; with the model's classes, in its order.
            split: train, val, or another that it has.
            heads: of a model of several only these; by default all.
            keep: folder for the guessed label maps, ``<name>.png``, of further heads in a folder
                of the head's name in it.
            mask: foreground, background or shape (all but it): what labels hide of the pictures.
            watch: called after each picture.

        Returns:
            The evaluation, of several heads the first one's with all of them as ``heads``.

        Raises:
            ModelError: M040 the model's classes are not the data set's.
            DataError: an unreadable picture, an unknown or empty split, as ``fitting``.
            UsageError: U003 ``keep`` holds files of the data set, or others that are no guesses.
        """
        opened = data if isinstance(data, DataSet) else open_dataset(Path(data))
        place, dataset = Path(keep) if keep else None, self.fitting(opened, heads)
        return on_data.evaluate(self, dataset, split, keep=place, mask=mask, watch=watch)

    def shown(
        self,
        *,
        zoom: float | str | Sequence[float] | None = None,
        mirror: bool | None = None,
        stitch: int | None = None,
        crf: DenseCrf | None = None,
        sieve: Sieve | None = None,
    ) -> Model:
        """The same model that is shown pictures as ``View`` says; what is not given stays.

        Raises:
            UsageError: U002 a factor out of range, several, a CRF or a sieve for a net that gives a
                coarse map, or a stitch that does not divide the stride of its scores.
        """
        wanted = {"zooms": zoom, "mirror": mirror, "stitch": stitch, "crf": crf, "sieve": sieve}
        given = {name: value for name, value in wanted.items() if value is not None}
        return replace(self, predictor=self.predictor.shown(given))

    def save(self, path: Path | str) -> Path:
        """Write the model as one checkpoint file."""
        carries = self.predictor.runner
        if self.predictor.others:
            what = f"{self.path} and others are an ensemble, which is no checkpoint"
            raise ModelError("M040", what, "save each of them")
        if not isinstance(carries, TorchRunner | PlannedRunner):
            what = f"{self.path} holds a net for another runtime, which is no checkpoint"
            raise ModelError("M040", what, "save the model from which it was exported")
        if isinstance(carries, PlannedRunner):
            carries.unchanged()
        header = replace(self.header, inference=self.predictor.view.as_dict())
        tensors = dict(carries.network.state_dict())
        if isinstance(carries, PlannedRunner) and carries.quantised:
            tensors = eight_bits.stored(carries.network, carries.quantised)
        return checkpoint.save_checkpoint(path, tensors, header)


def load(
    path: Path | str,
    *,
    device: str = "auto",
    precision: str = "",
    memory: str = "fast",
    view: View | None = None,
) -> Model:
    """A model from a run folder, a checkpoint, or a file that was exported from one.

    Args:
        path: a run folder (its best weights), a ``.safetensors`` file, an ONNX or OpenVINO file.
        device: auto, cpu or cuda.
        precision: fp32, bf16, or int8 of a quantised model; by default that, else fp32.
        memory: fast, or low: weights of large layers are read from the file for each picture,
            where the net is carried out by its plan.
        view: how pictures are shown to the net; by default as the model was made for.

    Raises:
        ModelError: missing, damaged, foreign, or not finite.
        ResourceError: R009 the device is not there, or does not compute in this precision.
        UsageError: U001 no such device, precision or memory; U002 a precision it has not.
    """
    where = resolve_device(device)
    if precision and precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if memory not in MEMORY:
        raise unknown_name("memory", memory, MEMORY)
    run, path = Path(path), weight_file(Path(path))
    if path.suffix in exported.SUFFIXES:
        eight_bits.check_precision(precision, None, path)
        header, foreign = exported.opened(path, bf16=precision == "bf16")
        _, preprocess, own_view = described(header, path)
        return Model(Predictor(foreign, preprocess, view=view or own_view), header, path)
    kind = sniff(path)
    if kind != "safetensors":
        raise ModelError(
            "M040",
            f"{path} is a {kind} file, which names neither net nor classes, expected a checkpoint",
            f"pixelwise weights import {path} -o OUT.safetensors",
        )
    header = checkpoint.read_header(path)
    net, preprocess, own_view = described(header, path)
    eight_bits.check_precision(precision, header.quantised, path)
    same, quantised = unchanged(path), None
    if header.quantised:
        network, quantised = eight_bits.load(path, net, header)
    else:
        network = network_of(path, net, where)
    made = runner(
        network,
        precision="int8" if quantised else precision or "fp32",
        quantised=quantised,
        device=where,
        memory=memory,
        unchanged=same,
    )
    shown = view or calibrated_view(own_view, run, header)
    return Model(Predictor(made, preprocess, view=shown), header, path)
