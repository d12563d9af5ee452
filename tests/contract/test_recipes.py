"""The paper's recipes, number by number as the released solvers have them (fact sheet 2.1, 3.1)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pixelwise.data.preprocess import PUBLISHED
from pixelwise.experiments.recipes import experiment
from pixelwise.nets import catalog
from pixelwise.training.recipe import Recipe

VOC = (104.00699, 116.66877, 122.67892)
NYUD, HHA = (116.190, 97.203, 92.318), (132.431, 94.076, 118.477)
SIFT_FLOW = (114.578, 115.294, 108.353)

# recipe, stage, net, base_lr, momentum, iter_size, iterations that ran, evaluated every, mean.
# nyud color and hha: of 100k the snapshots at 28k and 60k that the fusion was made from.
SOLVERS = """
voc-staged      fcn32s        voc-fcn32s             1e-10 0.99  1 100_000 4000 VOC
voc-staged      fcn16s        voc-fcn16s             1e-12 0.99  1 100_000 4000 VOC
voc-staged      fcn8s         voc-fcn8s              1e-14 0.99  1 100_000 4000 VOC
voc-atonce      -             voc-fcn8s-atonce       1e-10 0.99  1 300_000 4000 VOC
voc-alexnet     -             voc-fcn-alexnet        1e-4  0.9  20 100_000 4000 VOC
nyudv2          color         nyud-fcn32s-color      1e-10 0.99  1  28_000 2000 NYUD
nyudv2          hha           nyud-fcn32s-hha        1e-10 0.99  1  60_000 2000 HHA
nyudv2          color-hha     nyud-fcn32s-color-hha  1e-12 0.99  1 100_000 2000 NYUD+HHA
nyudv2-color-d  -             nyud-fcn32s-color-d    1e-10 0.99  1 100_000 2000 NYUD+(7.844,)
siftflow        fcn32s        siftflow-fcn32s        1e-10 0.99  1 100_000 2000 SIFT_FLOW
siftflow        fcn16s        siftflow-fcn16s        1e-12 0.99  1 100_000 2000 SIFT_FLOW
siftflow        fcn8s         siftflow-fcn8s         1e-12 0.99  1 100_000 2000 SIFT_FLOW
pascalcontext   fcn32s        pascalcontext-fcn32s   1e-10 0.99  1 400_000 8000 VOC
pascalcontext   fcn16s        pascalcontext-fcn16s   1e-12 0.99  1 400_000 8000 VOC
pascalcontext   fcn8s         pascalcontext-fcn8s    1e-14 0.99  1 400_000 8000 VOC
"""
MEANS = {
    "VOC": VOC,
    "NYUD": NYUD,
    "HHA": HHA,
    "SIFT_FLOW": SIFT_FLOW,
    "NYUD+HHA": NYUD + HHA,
    "NYUD+(7.844,)": (*NYUD, 7.844),
}
ROWS = [line.split() for line in SOLVERS.strip().splitlines()]


def recipe(name: str, stage: str = "-") -> Recipe:
    whole = experiment(name).recipe
    return whole if stage == "-" else whole.by_stage()[stage]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2])
def test_each_solver(row: list[str]) -> None:
    name, stage, net, lr, momentum, iter_size, iterations, evaluated, mean = row
    r = recipe(name, stage)
    assert r.net == net
    assert (r.optim.name, r.optim.lr, r.optim.momentum) == ("sgd", float(lr), float(momentum))
    assert (r.optim.weight_decay, r.schedule.name) == (5e-4, "fixed")
    assert (r.batch, r.accumulate, r.iterations) == (1, int(iter_size), int(iterations))
    assert r.validate_every == int(evaluated)
    assert (r.seed, r.sampling) == (1337, "replacement_python2")
    assert r.loss.reduction == ("image" if net == "voc-fcn-alexnet" else "sum")
    assert (r.learned, r.freeze, r.crop, r.zoom) == ("none", "none", None, 1.0)
    still = dict.fromkeys(("jitter", "brightness", "contrast", "saturation", "hue"), 0)
    assert {name: getattr(r.augment, name) for name in still} == still
    assert (r.augment.mirror, r.augment.scale) == (False, (1.0, 1.0))
    shown = PUBLISHED[catalog.entry(net).preprocess]
    assert shown.mean == pytest.approx(MEANS[mean], abs=1e-5)
    assert (shown.scale, set(shown.std)) == (1.0, {1.0})
    if net != "voc-fcn-alexnet":
        assert (r.optim.bias_rate, r.optim.bias_decay, r.optim.rates) == (2, 0, {})


def test_all_released_nets_have_a_recipe() -> None:
    """All but FCN-GoogLeNet and the late FCN-16s, of which no solver was ever released."""
    released = {n for n in catalog.NETS if n.startswith(("voc-", "nyud-", "siftflow-", "pascal"))}
    assert released - {row[2] for row in ROWS} == {"voc-fcn-googlenet", "nyud-fcn16s-color-hha"}


def test_what_each_starts_from() -> None:
    starts = {row[2]: recipe(row[0], row[1]).weights for row in ROWS}
    assert starts == {
        "voc-fcn32s": "imagenet",
        "voc-fcn16s": "stage:fcn32s",
        "voc-fcn8s": "stage:fcn16s",
        "voc-fcn8s-atonce": "imagenet",
        "voc-fcn-alexnet": "imagenet",
        "nyud-fcn32s-color": "imagenet",
        "nyud-fcn32s-hha": "imagenet",
        "nyud-fcn32s-color-hha": "color=stage:color,hha=stage:hha",
        "nyud-fcn32s-color-d": "imagenet",
        "siftflow-fcn32s": "imagenet",
        "siftflow-fcn16s": "stage:fcn32s",
        "siftflow-fcn8s": "stage:fcn16s",
        "pascalcontext-fcn32s": "imagenet",
        "pascalcontext-fcn16s": "stage:fcn32s",
        "pascalcontext-fcn8s": "stage:fcn16s",
    }


def test_each_finer_stage_learns_at_a_hundredth_of_the_rate() -> None:
    rates = [recipe("voc-staged", stage).optim.lr for stage in ("fcn32s", "fcn16s", "fcn8s")]
    assert [a / b for a, b in pairwise(rates)] == pytest.approx([100, 100])


def test_splits_inputs_and_heads() -> None:
    assert {(r.train_split, r.val_split) for r in map(recipe, ("voc-staged", "voc-alexnet"))} == {
        ("train", "seg11valid")
    }
    for name in ("nyudv2", "nyudv2-color-d", "siftflow"):
        assert (recipe(name).train_split, recipe(name).val_split) == ("trainval", "test")
    stages = recipe("nyudv2").by_stage()
    assert {name: r.inputs for name, r in stages.items()} == {
        "color": ("color",),
        "hha": ("hha",),
        "color-hha": ("color", "hha"),
        "color-hha-16s": ("color", "hha"),
    }
    assert recipe("nyudv2-color-d").inputs == ("color", "depth")
    assert recipe("siftflow").heads == ("sem", "geo")


def test_alexnets_biases_learn_as_weights_do_but_for_the_scores() -> None:
    """train.prototxt: conv1 to fc7 without multipliers; score_fr 1/1 and 2/0 (trap 17)."""
    o = recipe("voc-alexnet").optim
    assert (o.bias_rate, o.bias_decay) == (1, 1)
    assert (o.rates, o.decays) == ({"score_fr.bias": 2}, {"score_fr.bias": 0})
