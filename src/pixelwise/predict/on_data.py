"""A model on a data set: which parts of it fit, and how well its labels do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pixelwise.data.class_merging import as_trained
from pixelwise.data.dataset import DataSet
from pixelwise.data.masking import masked_as
from pixelwise.errors import DataError, unknown_name
from pixelwise.evaluation.evaluate import Evaluation
from pixelwise.evaluation.on_dataset import Labelling, evaluate_split
from pixelwise.nets.kinds import EDGES

if TYPE_CHECKING:
    from pixelwise.predict.model import Model


def fitting(model: Model, dataset: DataSet, heads: Sequence[str] = ()) -> DataSet:
    """As ``Model.fitting``."""
    for head in heads:
        if head not in model.heads:
            raise unknown_name(f"head of {model.path}", head, [*model.heads])
    named = bool(model.header.heads) or len(model.heads) > 1
    wanted = tuple(heads or (model.heads if named else ()))
    unnamed = next((h for h, c in dataset.classes_by_head.items() if c == model.classes), "")
    gaps = [head for head in wanted if head not in (*dataset.class_maps, EDGES)]
    if gaps and len(model.heads) > 1:
        known = [head for head in model.heads if head in dataset.class_maps]
        hint = f"--heads {','.join(known)}" if known else "name its folder in dataset.json"
        raise _lacks(dataset, f"labels for head `{gaps[0]}`", dataset.class_maps, hint)
    if gaps or not wanted:
        wanted = (unnamed or dataset.heads[0],)
    absent = [name for name in model.inputs if name not in dataset.known_inputs]
    if absent and len(model.inputs) > 1:
        hint = "name its folder in dataset.json, under `inputs`"
        what = f"pictures for input `{absent[0]}`"
        raise _lacks(dataset, what, dataset.known_inputs, hint)
    inputs = () if absent else model.inputs
    # Of 8 bits, grey photos are as good as coloured ones: preprocessing checks what is left.
    stored = len(model.inputs) > 1 or model.predictor.preprocess.values != "8-bit"
    kinds = model.header.inputs if stored and not absent else {}
    fitted = replace(dataset.using(inputs=inputs, heads=wanted), kinds=kinds)
    return as_trained(fitted, model.classes, model.header.data.get("map", {}))


def heads_of(model: Model, dataset: DataSet) -> dict[str, str]:
    """Heads of the data to the model's: of one head it may be called otherwise."""
    only = next(iter(model.heads))
    return {h: h if len(model.heads) > 1 else only for h in dataset.heads}


def labelling(model: Model, dataset: DataSet) -> tuple[Labelling, dict[str, tuple[str, ...]]]:
    """What labels a picture by the data's heads, and the classes of each, to be judged."""
    mine = heads_of(model, dataset)
    # All pixels are judged, those too that would be void.
    sieve = replace(model.predictor.view.sieve, reject=0.0)
    predictor = model.predictor.shown({"sieve": sieve})

    def label(image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        by_head = predictor.by_head(image)
        return {theirs: by_head[own].labels for theirs, own in mine.items()}

    return label, {theirs: model.heads[own].classes for theirs, own in mine.items()}


def evaluate(
    model: Model,
    dataset: DataSet,
    split: str,
    *,
    keep: Path | None,
    mask: str,
    watch: Callable[[], object] = lambda: None,
) -> Evaluation:
    """As ``Model.evaluate``, of a data set that fits."""
    label, classes = labelling(model, dataset)
    pixel = model.predictor.preprocess.mean_pixel()
    return evaluate_split(
        label,
        classes,
        dataset,
        split,
        trained_on=model.header.trained_on,
        keep=keep,
        shown=masked_as(mask, dataset.classes, pixel, dataset.kinds),
        watch=watch,
    )


def _lacks(dataset: DataSet, what: str, known: Iterable[str], hint: str) -> DataError:
    return DataError("D031", f"{dataset.root} has no {what}; there are: {', '.join(known)}", hint)
