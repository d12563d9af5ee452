"""How long a run is in steps, and when it is evaluated."""

from __future__ import annotations

import math

from pixelwise.training.recipe import Recipe

DEFAULT_EPOCHS = 30.0  # enough for a pretrained trunk on a few hundred pictures (docs/training.md)
VALIDATIONS = 10  # over a run, where the recipe does not say
PATIENT = 3.0  # in a run by the clock, training gets this many times the time of an evaluation


def iterations(recipe: Recipe, images: int, images_per_step: int) -> int | None:
    """Optimizer steps of a run; None when it is measured in minutes alone."""
    if recipe.iterations:
        return recipe.iterations
    if recipe.minutes and not recipe.epochs:
        return None
    return max(1, math.ceil((recipe.epochs or DEFAULT_EPOCHS) * images / images_per_step))


def next_validation(before: float, after: float) -> float:
    """At which share of the run to evaluate again, when an evaluation went from one to another.

    At the next tenth; in a run by the clock later, where an evaluation takes much of its minutes.
    """
    tenth = (math.floor(after * VALIDATIONS + 1e-9) + 1) / VALIDATIONS
    return max(tenth, after + PATIENT * (after - before))
