"""What is planned, from facts given by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelwise.engine.build import build
from pixelwise.engine.memory import kept_for_gradients
from pixelwise.nets.catalog import entry, spec
from pixelwise.pictures.bands import InputKind
from pixelwise.predict.view import View
from pixelwise.training.draft import Plan
from pixelwise.training.planning import PRETRAINED, plan
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import with_settings
from pixelwise.training.sizing import BACKWARD, step_bytes
from pixelwise.training.survey import ClassFacts, Facts, Start, class_facts, look
from pixelwise.weights.published import OF_TRUNKS

KNOWN = "folder (folders images/ and labels/)"
PHOTOS = Facts(
    pictures=235,
    held_out=132,
    data=KNOWN,
    values="",
    size=(360, 480),
    largest=(360, 480),
    inputs={"image": InputKind(3, "uint8")},
    heads={"labels": 4},
    classes=(
        ClassFacts("sky", 0.4, 1.0, 90.0),
        ClassFacts("road", 0.37, 1.0, 120.0),
        ClassFacts("car", 0.22, 0.7, 30.0),
        ClassFacts("pole", 0.01, 0.9, 5.0),
    ),
    at_hand=frozenset({"efficientnetlite0"}),
    memory=16 << 30,
)
EVEN = (ClassFacts("a", 0.5, 1.0, 40.0), ClassFacts("b", 0.5, 1.0, 40.0))


def planned(facts: Facts = PHOTOS, *settings: str) -> Plan:
    asked = with_settings(Recipe(data="data"), settings)
    return plan(facts, asked, frozenset(s.partition("=")[0] for s in settings))


def reason(made: Plan, setting: str) -> str:
    return next(c.reason for c in made.choices if c.setting == setting)


def test_photos_get_the_first_net_whose_weights_are_at_hand() -> None:
    made = planned()
    assert (made.recipe.net, made.recipe.weights) == (PRETRAINED[0], "imagenet")
    assert made.recipe.frozen_bn
    assert made.recipe.optim.lr == 1e-3
    other = planned(replace(PHOTOS, at_hand=frozenset({"resnet18", "vgg16"})))
    assert (other.recipe.net, other.recipe.optim.lr) == ("fcn4s-resnet18", 3e-4)


def test_there_is_a_default_net_on_every_trunk_with_published_weights() -> None:
    trunks = [entry(net).trunk for net in PRETRAINED]
    assert sorted(trunks) == sorted({published.trunk for published in OF_TRUNKS})


def test_without_weights_the_net_learns_from_scratch_and_the_way_to_weights_is_told() -> None:
    made = planned(replace(PHOTOS, at_hand=frozenset()))
    assert (made.recipe.net, made.recipe.weights) == ("fcn8s-tiny", "")
    assert not made.recipe.frozen_bn
    assert made.recipe.optim.lr > planned().recipe.optim.lr
    assert "pip install 'pixelwise[pretrained]'" in reason(made, "weights")


def test_who_asks_for_random_weights_gets_the_net_that_learns_from_them() -> None:
    made = planned(PHOTOS, "weights=")
    assert (made.recipe.net, made.recipe.weights) == ("fcn8s-tiny", "")


@pytest.mark.parametrize(
    ("inputs", "pretrained"),
    [
        ({"image": InputKind(1, "uint16")}, False),
        ({"image": InputKind(5, "uint8")}, False),
        ({"colour": InputKind(3, "uint8"), "depth": InputKind(1, "uint16")}, True),
    ],
)
def test_other_bands_take_weights_only_where_the_first_layer_has_a_rule(
    inputs: dict[str, InputKind], pretrained: bool
) -> None:
    made = planned(replace(PHOTOS, inputs=inputs))
    assert bool(made.recipe.weights) == pretrained
    assert made.recipe.augment.hue == made.recipe.augment.saturation == 0
    if not pretrained:
        assert str(inputs["image"]) in reason(made, "weights")


def test_a_cube_gets_the_net_for_spectra_in_small_crops_of_its_own_grid() -> None:
    cube = replace(PHOTOS, pictures=1, inputs={"image": InputKind(10, "uint16")}, size=(128, 24))
    made = planned(cube)
    assert (made.recipe.net, made.recipe.weights) == ("fcn-spectral", "")
    assert "10 bands are a spectrum" in reason(made, "net")
    assert (made.recipe.zoom, made.recipe.crop) == (1, (32, 24))
    assert (made.recipe.augment.scale, made.recipe.augment.rare) == ((1, 1), 0.5)
    assert made.recipe.loss.jaccard == 3
    assert (made.recipe.iterations, made.recipe.minutes) == (600, 0)
    assert planned(cube, "minutes=3").recipe.iterations == 0
    assert planned(cube, "batch=2", "crop=16x16").recipe.crop == (16, 16)
    few = replace(PHOTOS, inputs={"image": InputKind(9, "uint16")})
    assert planned(few).recipe.net == "fcn8s-tiny"
    # Of a cube that is shown as three components a net on photos can make something.
    assert planned(cube, "pca=3").recipe.net == PRETRAINED[0]
    assert planned(cube, "bands=" + ",".join("0123456789")).recipe.net == "fcn-spectral"


def test_a_spectral_net_to_start_from_is_shown_small_crops_of_the_grid_too() -> None:
    cube = replace(PHOTOS, pictures=1, inputs={"image": InputKind(10, "uint16")}, size=(128, 24))
    for net, crop in (("spectral", (32, 24)), ("32s-tiny", (128, 24))):
        start = Start(net, f"fcn-{net}".replace("fcn-3", "fcn3"), zoom=1.0, view=View())
        made = planned(replace(cube, start=start), "weights=runs/old").recipe
        assert (made.net, made.crop) == (start.net, crop)


def test_a_thin_class_has_the_pictures_enlarged_until_it_covers_two_cells() -> None:
    """Scores every 4 px: 5 px wide things want 1.6 times the size, and 1.5 is the step below."""
    made = planned()
    assert made.recipe.zoom == 1.5
    assert "`pole`, is 5 px wide" in reason(made, "zoom")
    assert made.recipe.crop == (480, 480)  # of 540x720
    thinner = replace(PHOTOS.classes[3], width=3.0)
    assert planned(replace(PHOTOS, classes=(thinner,))).recipe.zoom == 2
    noise = replace(thinner, share=1e-5)
    assert planned(replace(PHOTOS, classes=(*EVEN, noise))).recipe.zoom == 1
    large = replace(PHOTOS, size=(1200, 1600), largest=(1200, 1600))
    assert planned(large).recipe.zoom == 1
    assert "too long" in reason(planned(large), "zoom")


def test_large_pictures_of_wide_things_are_shrunk() -> None:
    """2 cells of 4 px in 100 px: a quarter of the size would still show four times as much."""
    wide = tuple(replace(c, width=140.0) for c in EVEN)
    made = planned(replace(PHOTOS, classes=wide, size=(3000, 4000), largest=(3000, 4000)))
    assert made.recipe.zoom == 0.25
    assert made.recipe.crop == (480, 480)
    assert planned(replace(PHOTOS, classes=wide)).recipe.zoom == 1  # 480 px are little already


def test_small_pictures_are_taken_whole_and_many_at_a_time() -> None:
    made = planned(replace(PHOTOS, classes=EVEN, size=(96, 128), largest=(96, 128)))
    assert made.recipe.crop == (96, 128)
    assert made.recipe.batch == 16


def test_a_slow_machine_gets_smaller_steps_so_that_there_are_enough() -> None:
    """200 steps in 5 minutes at 100,000 px/s: 150,000 px a step, two crops of 256."""
    quick = planned(replace(PHOTOS, speed={"fp32": 1e7}), "minutes=5")
    assert (quick.recipe.crop, quick.recipe.batch) == ((480, 480), 4)
    slow = planned(replace(PHOTOS, speed={"fp32": 1e5}), "minutes=5")
    assert (slow.recipe.crop, slow.recipe.batch) == ((256, 256), 2)
    assert "about 229 steps" in reason(slow, "batch")  # 3e7 px in all, 131,072 a step
    slower = planned(replace(PHOTOS, speed={"fp32": 1e4}), "minutes=5")
    assert (slower.recipe.crop, slower.recipe.batch) == ((224, 224), 2)
    longer = planned(replace(PHOTOS, speed={"fp32": 1e5}), "minutes=60")
    assert longer.recipe.crop == (480, 480)


def test_bf16_is_taken_only_by_the_clock_and_where_it_is_measured_to_be_faster() -> None:
    fast = replace(PHOTOS, speed={"fp32": 1e6, "bf16": 1.8e6})
    assert planned(fast).recipe.precision == "bf16"
    assert "1.8 times as fast" in reason(planned(fast), "precision")
    assert planned(fast, "iterations=100").recipe.precision == "fp32"
    assert planned(fast, "precision=fp32").recipe.precision == "fp32"
    like = replace(PHOTOS, speed={"fp32": 1e6, "bf16": 1.1e6})
    assert planned(like).recipe.precision == "fp32"


def test_a_step_is_planned_into_the_memory_there_is() -> None:
    net = spec(PRETRAINED[0], classes=4)
    whole = step_bytes(net, (480, 480), 4, half=False)
    roomy = planned(replace(PHOTOS, memory=2 * whole))
    assert (roomy.recipe.crop, roomy.recipe.batch) == ((480, 480), 4)
    for part in (0.9, 0.5, 0.2):
        made = planned(replace(PHOTOS, memory=int(part * whole))).recipe
        ways = {"checkpointed": made.checkpoint, "in_backward": made.optim.in_backward}
        assert step_bytes(net, made.crop, made.batch, half=False, **ways) <= 0.7 * part * whole
    assert made.crop[0] < 480
    assert made.optim.in_backward
    tight = planned(replace(PHOTOS, memory=int(0.9 * whole)))
    assert (tight.recipe.checkpoint, tight.recipe.batch) == (True, 4)
    assert "GiB free" in reason(tight, "checkpoint")
    assert not roomy.recipe.checkpoint
    assert planned(replace(PHOTOS, memory=int(0.9 * whole)), "checkpoint=false").recipe.batch == 2
    clipped = planned(replace(PHOTOS, memory=int(0.2 * whole)), "optim.clip=1").recipe
    assert not clipped.optim.in_backward
    fixed = planned(replace(PHOTOS, memory=int(0.2 * whole)), "batch=4", "crop=480x480").recipe
    assert (fixed.crop, fixed.batch) == ((480, 480), 4)  # training refuses it, with a hint


def test_few_pictures_are_kept_where_memory_is_short() -> None:
    assert planned().recipe.cache == 2
    assert planned(replace(PHOTOS, memory=4 << 30)).recipe.cache == 0.8
    assert planned(replace(PHOTOS, memory=None)).recipe.cache == 2


def test_bytes_of_a_step_are_its_maps_and_four_of_each_weight() -> None:
    module = build("fcn8s-tiny", classes=4)
    net, numbers = module.net, sum(t.numel() for t in module.state_dict().values() if t.ndim)
    kept = kept_for_gradients(net, [*net.layers], 64, 64)
    assert step_bytes(net, (64, 64), 3, half=False) == int(BACKWARD * 12 * kept) + 16 * numbers
    assert step_bytes(net, (64, 64), 3, half=True) == int(BACKWARD * 6 * kept) + 16 * numbers


def test_pictures_too_large_to_be_labelled_whole_are_shrunk() -> None:
    huge = replace(PHOTOS, classes=EVEN, size=(6000, 8000), largest=(6000, 8000), memory=8 << 30)
    assert planned(huge).recipe.zoom < 1
    assert "6000x8000" in reason(planned(huge), "zoom")
    assert planned(huge, "zoom=1").recipe.zoom == 1


def test_uneven_classes_get_the_jaccard_loss_and_rare_ones_their_crops() -> None:
    """Of four classes an equal share is 25 %: below 12.5 % uneven, below 6.25 % rare."""
    made = planned()
    assert made.recipe.loss.jaccard == 3
    assert "`pole` 1 %" in reason(made, "loss.jaccard")
    assert (made.recipe.augment.rare, made.recipe.augment.paste) == (0.5, 0)
    sign = replace(PHOTOS.classes[3], name="sign", pictures=0.2)
    made = planned(replace(PHOTOS, classes=(*PHOTOS.classes[:3], sign)))
    assert (made.recipe.augment.rare, made.recipe.augment.paste) == (0.5, 0.5)
    uneven = (replace(EVEN[0], share=0.8), replace(EVEN[1], share=0.2))
    made = planned(replace(PHOTOS, classes=uneven))
    assert made.recipe.loss.jaccard == 3
    assert (made.recipe.augment.rare, made.recipe.augment.paste) == (0, 0)
    even = planned(replace(PHOTOS, classes=EVEN))
    assert even.recipe.loss.jaccard == 0
    absent = tuple(ClassFacts(f"c{i}", 0.0, 0.0, 0.0) for i in range(20))
    assert planned(replace(PHOTOS, classes=(*EVEN, *absent))).recipe.loss.jaccard == 0
    assert planned(replace(PHOTOS, classes=(*uneven, *absent))).recipe.loss.jaccard == 3


def test_what_is_given_stays_and_the_rest_follows_it() -> None:
    made = planned(PHOTOS, "optim.lr=0.01", "crop=none", "batch=1", "augment.mirror=false")
    assert made.recipe.optim.lr == 0.01
    assert made.recipe.crop is None
    assert made.recipe.augment.rare == made.recipe.augment.paste == 0  # they need a crop
    assert made.recipe.augment.scale == (1, 1)
    assert {"optim.lr", "crop", "batch"}.isdisjoint(c.setting for c in made.choices)


def test_a_length_is_chosen_only_where_none_is_given() -> None:
    assert planned().recipe.minutes == 20
    assert planned(PHOTOS, "epochs=3").recipe.minutes == 0
    assert planned(PHOTOS, "minutes=5").recipe.minutes == 5


def test_a_short_run_has_a_short_warmup_and_average() -> None:
    short, long = planned(PHOTOS, "iterations=100"), planned(PHOTOS, "iterations=4000")
    assert (short.recipe.schedule.warmup, short.recipe.ema) == (10, 0.9)
    assert (long.recipe.schedule.warmup, long.recipe.ema) == (20, 0.995)


def test_one_picture_alone_is_trained_on_without_a_score() -> None:
    made = planned(replace(PHOTOS, pictures=1, held_out=0))
    assert made.recipe.val_split == ""
    assert "no picture is held out" in reason(made, "val_split")
    told = f"{KNOWN}; 235 pictures to train on, 132 held out"
    assert reason(planned(), "data") == told
    assert reason(planned(replace(PHOTOS, pictures=2)), "data").endswith(
        "; so few teach little about others"
    )


def test_a_run_to_start_from_brings_its_net_and_view_and_a_gentle_rate() -> None:
    names = tuple(c.name for c in PHOTOS.classes)
    options = {"width": 0.5, "classes": 9}
    start = Start("googlenet", "fcn8s-googlenet", options, names, 1.5, View((1, 2), True))
    made = planned(replace(PHOTOS, start=start), "weights=runs/old")
    assert (made.recipe.net, made.recipe.width) == ("fcn8s-googlenet", 0.5)
    assert made.recipe.weights == "runs/old"
    assert (made.recipe.zoom, made.recipe.zooms, made.recipe.mirror) == (1.5, (1, 2), True)
    assert made.recipe.optim.lr < planned().recipe.optim.lr
    assert made.recipe.optim.rates == {}
    fewer = planned(replace(PHOTOS, start=replace(start, classes=names[:3])), "weights=runs/old")
    assert fewer.recipe.optim.rates == {"score*": 5}
    assert "pole" in reason(fewer, "optim.rates")
    trunk = planned(replace(PHOTOS, start=Start("vgg16")), "weights=vgg16.pth")
    assert trunk.recipe.net == "fcn8s-vgg16-tight"


def test_every_choice_has_a_reason_and_its_line_is_what_set_takes() -> None:
    made = planned(replace(PHOTOS, speed={"fp32": 2e5, "bf16": 5e5}))
    assert all(len(choice.reason) > 10 for choice in made.choices)
    settings = [word for line in made.lines for word in line.partition(": ")[0].split()]
    assert settings[0] == "data=data"
    assert "optim.rates.score*=5" in settings
    assert with_settings(Recipe(data="data"), settings) == made.recipe


def test_one_reason_for_several_settings_is_one_line() -> None:
    (line,) = [line for line in planned().lines if "brightness" in line]
    settings = ("augment.brightness=0.3", "augment.contrast=0.3", "augment.saturation=0.3")
    assert line == f"{' '.join(settings)}: light differs from picture to picture"


def test_a_class_is_as_wide_as_its_shorter_runs() -> None:
    """A pole of 2x8 and one of 4x8 px stand on a ground of 10x20 px."""
    labels = np.zeros((10, 20), np.uint8)
    labels[1:9, 3:5] = 1
    labels[1:9, 10:14] = 1
    labels[0] = 255
    shape, counts = look(labels)
    assert shape == (10, 20)
    ground, pole, nothing = class_facts(("ground", "pole", "nothing"), counts[None])
    assert pole.width == 3  # 48 px in 16 runs along rows
    assert pole.share == pytest.approx(48 / 180)
    # 132 px: 3 runs in each of 8 rows and one in the last; 14 columns of one run, 6 of its foot.
    assert ground.width == pytest.approx(132 / 25)
    assert (ground.pictures, pole.pictures, nothing.pictures) == (1, 1, 0)
    assert nothing.share == nothing.width == 0
