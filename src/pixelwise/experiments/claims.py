"""The paper's sentences as data: arms, which are recipe differences, and what is expected of them.

They stand in ``claims.yaml``, whose head explains them; another one is added there alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pixelwise.data.masking import Masking
from pixelwise.errors import unknown_name
from pixelwise.nets import catalog
from pixelwise.settings import Number, Text, Whole, limits, read, refuse, settings
from pixelwise.training.recipe_text import change, plain_data
from pixelwise.training.stages import merged

Expect = Literal["more", "alike", "no_more"]
Measure = Literal["mean_iu", "pixel_accuracy", "foreground", "seconds"]
MARGINS = {"seconds": 0.25}
"""Relative: what the time of equal steps differs by on a machine with others at work."""
ALIKE = 0.02
"""Of scores: two seeds of one recipe differ by 0.7 points on CamVid (docs/camvid.md) and by up to
4 on the made scenes (docs/training.md), so that less than this is no difference to speak of."""


@settings(noun="look")
class Look:
    """How what was trained is shown the pictures that it is judged on."""

    head: Text = ""
    """Which head is judged; the first, if nothing is said."""
    mask: Masking = "none"
    """What labels hide of the pictures."""
    stitch: Annotated[Whole, limits(ge=1)] = 1
    """Shift-and-stitch, so many times finer."""
    crf: bool = False
    """A dense CRF over the scores, with DeepLab's parameters."""
    blocks: Annotated[Whole, limits(ge=0)] = 0
    """Side of the squares into which pictures are cut, each labelled by itself; 0: whole."""
    hidden: Annotated[Number, limits(ge=0, lt=1)] = 0.0
    """Part of the picture under grey squares; what is under them is judged as well."""
    noise: Annotated[Number, limits(ge=0)] = 0.0
    """Deviation of normal noise, in levels of 255."""
    blur: Annotated[Whole, limits(ge=1)] = 1
    """Pictures are shrunk by this and enlarged again."""


@settings(noun="arm")
class Arm:
    """One of what a claim compares."""

    train: Mapping[Text, Any] = field(default_factory=dict)
    """How its recipe differs from that of the ground."""
    look: Look = Look()


@settings(noun="comparison")
class Comparison:
    """What is expected of two arms."""

    first: Text
    second: Text
    measure: Measure = "mean_iu"
    expect: Expect = "more"

    @property
    def margin(self) -> float:
        """How much is no difference; nothing, where one is expected."""
        return 0.0 if self.expect == "more" else MARGINS.get(self.measure, ALIKE)


@settings(noun="claim")
class Claim:
    """A sentence of the paper, and how it is measured again."""

    sentence: Text
    place: Text
    arms: Mapping[Text, Arm]
    compare: tuple[Comparison, ...]
    ground: Text = "photos"
    curves: bool = False
    """Whether the losses on the way are kept."""

    def __post_init__(self) -> None:
        named = {name for c in self.compare for name in (c.first, c.second)}
        refuse(*(f"{name} is compared and no arm" for name in sorted(named - set(self.arms))))


@settings(noun="ground")
class Ground:
    """What arms are trained on, and the recipe that they differ from."""

    splits: tuple[tuple[Text, Text], ...]
    """Trained and judged on; the first pair that the data has."""
    steps: Whole
    recipe: Mapping[Text, Any]


@settings(noun="entry")
class Catalogue:
    """All of ``claims.yaml``."""

    grounds: Mapping[Text, Ground]
    claims: Mapping[Text, Claim]


@cache
def catalogue() -> Catalogue:
    """The claims, in the order in which they are measured, and their grounds."""
    path = Path(__file__).with_name("claims.yaml")
    return read(Catalogue, plain_data(path.read_text(encoding="utf-8")), place=path.name)


def chosen(names: Sequence[str]) -> dict[str, Claim]:
    """Claims by name, in their order; all of them, if none is named.

    Raises:
        UsageError: U001 there is no such claim.
    """
    known = catalogue().claims
    for name in names:
        if name not in known:
            raise unknown_name("claim", name, [*known], "`pixelwise reproduce --list` shows them")
    return {name: claim for name, claim in known.items() if not names or name in names}


def trained(
    arm: Arm,
    ground: Ground,
    shared: Mapping[str, Any],
    *,
    trunk: str,
    steps: int,
    settings: Sequence[str] = (),
) -> dict[str, Any]:
    """The recipe of an arm as plain data: what is said of it, and no defaults.

    Args:
        arm: the difference.
        ground: what it differs from.
        shared: settings of all arms in this queue: data, splits, weights, seed.
        trunk: stands where the claims have ``{trunk}``.
        steps: what the recipe's ``iterations`` are multiples of.
        settings: ``key=value``, over all.
    """
    words = {"{trunk}": trunk}
    if "{trunk}" in ground.recipe["net"]:
        layers = catalog.spec(f"fcn16s-{trunk}").layers.items()
        skips = [name for name, layer in layers if layer.zero_start and name != "score_fr"]
        words["{skip16}"] = skips[0]
    values: dict[str, Any] = _filled(merged({**ground.recipe, **shared}, arm.train), steps, words)
    change(values, settings)
    return values


def _filled(value: Any, steps: int, words: Mapping[str, str]) -> Any:
    """Plain data with lengths in steps, and names in place of words."""
    if isinstance(value, Mapping):
        made = {_filled(k, steps, words): _filled(v, steps, words) for k, v in value.items()}
        if "iterations" in made:
            made["iterations"] = max(1, round(Fraction(str(made["iterations"])) * steps))
        return made
    if isinstance(value, list):
        return [_filled(v, steps, words) for v in value]
    if isinstance(value, str):
        for word, meaning in words.items():
            value = value.replace(word, meaning)
    return value
