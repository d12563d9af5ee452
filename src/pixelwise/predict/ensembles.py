"""Several models as one: the mean of their probabilities (Hansen and Salamon, PAMI 1990)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pixelwise.errors import ModelError
from pixelwise.evaluation.on_dataset import differing
from pixelwise.predict.model import Model
from pixelwise.predict.predictor import Predictor


def ensemble(models: Sequence[Model]) -> Model:
    """One model of several, which is used as the first one is.

    Each shows itself the picture by its own view and preprocessing; a CRF is the first one's, and
    looks at the mean. Heads go by their names, and are those of the first.

    Raises:
        ModelError: M040 other heads, classes or pictures than the first one's.
        UsageError: U002 a coarse map.
    """
    first, *others = models
    if not others:
        return first
    for other in others:
        if difference := _difference(first, other):
            what = f"{other.path} has no ensemble with {first.path}: {difference}"
            raise ModelError("M040", what, "take models that were trained on the same data")
    own, predictors = first.predictor, [other.predictor for other in others]
    predictor = Predictor(own.runner, own.preprocess, view=own.view, others=predictors)
    return replace(first, predictor=predictor, header=replace(first.header, **_facts(models)))


def _difference(first: Model, other: Model) -> str:
    """Why a model does not fit the first; empty: it does."""
    mine, theirs = first.heads, other.heads
    if len(mine) == len(theirs) == 1:  # which may be called otherwise
        theirs = dict(zip(mine, theirs.values(), strict=True))
    if mine.keys() != theirs.keys():
        return f"its heads are {', '.join(theirs)}, expected {', '.join(mine)}"
    for head, own in mine.items():
        if (its := theirs[head].classes) != own.classes:
            of = f" of head `{head}`" if len(mine) > 1 else ""
            return f"its classes{of} are others (its / expected: {differing(its, own.classes)})"
    facts, expected = _in_common(other), _in_common(first)
    named = (
        f"its {k} is {v}, expected {expected[k]}" for k, v in facts.items() if v != expected[k]
    )
    return next(named, "")


def _in_common(model: Model) -> dict[str, Any]:
    """What pictures have to be for a model, as they are read once for all, and what heads give."""
    own, inputs = model.predictor, ", ".join(model.inputs) if len(model.inputs) > 1 else "one"
    kinds = dict(model.header.inputs) if own.preprocess.values != "8-bit" else {}
    facts = {"number of bands": own.bands, "kind of values": own.preprocess.values}
    further = {"depth": model.computed, "kind of heads": own.net.kinds}
    return {**facts, "list of inputs": inputs, "kind of inputs": kinds, **further}


def _facts(models: Sequence[Model]) -> dict[str, Any]:
    """Fields of the header that are those of all models together."""
    seen = [model.header.trained_on for model in models]
    known = frozenset[str]().union(*filter(None, seen))
    data = {k: v for k, v in models[0].header.data.items() if k != "trained_on"}
    told = repr([(m.header.sha256, m.predictor.view.as_dict()) for m in models])
    return {
        "sha256": hashlib.sha256(told.encode()).hexdigest(),
        "data": data if None in seen else {**data, "trained_on": sorted(known)},
        "step": max(model.header.step for model in models),
    }
