"""How large pictures, crops and batches are planned, at the ends of each rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_planning import EVEN, PHOTOS, planned, reason

from pixelwise.nets.catalog import spec
from pixelwise.training.draft import Choice, Draft
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import with_settings
from pixelwise.training.sizing import finest_stride, step_bytes, steps_of
from pixelwise.training.survey import ClassFacts, Facts


def sized(height: int, width: int, **changes: object) -> Facts:
    """Pictures of one size, of wide things."""
    size = (height, width)
    return replace(PHOTOS, **{"classes": EVEN, "size": size, "largest": size} | changes)


def of_width(pixels: float, share: float = 0.5) -> tuple[ClassFacts, ...]:
    return (ClassFacts("thing", share, 1.0, pixels), replace(EVEN[1], width=150.0))


@pytest.mark.parametrize(
    ("size", "batch"),
    [
        ((214, 319), 14),  # 921,600 px a step are 13.5001 pictures
        ((229, 322), 12),  # 12.498
        ((200, 200), 16),  # 23 would be too many
        ((480, 960), 4),  # crops of 480x480
        ((1, 1), 16),
    ],
)
def test_a_step_has_as_many_pixels_as_four_crops_of_480(size: tuple[int, int], batch: int) -> None:
    made = planned(sized(*size))
    assert made.recipe.batch == batch
    crop = made.recipe.crop
    assert crop == (min(480, size[0]), min(480, size[1]))
    pixels = batch * crop[0] * crop[1] / 1e6
    assert reason(made, "batch") == f"{pixels:.2g} million pixels a step"


@pytest.mark.parametrize(
    ("speed", "batch", "steps"),
    [
        (283_400, 9, 189),  # 17,004,000 px in a minute: 200 steps of 8.502 pictures
        (283_300, 8, 212),  # 8.499
        (1_000, 2, 3),
    ],
)
def test_by_the_clock_there_are_200_steps(speed: float, batch: int, steps: int) -> None:
    made = planned(sized(100, 100, speed={"fp32": speed}), "minutes=1")
    assert (made.recipe.crop, made.recipe.batch) == ((100, 100), batch)
    assert reason(made, "batch").endswith(f"million pixels a step, about {steps} steps in the time")


@pytest.mark.parametrize(
    ("budget", "side"),
    [
        *((2 * 224**2 - 1, 224), (2 * 256**2 - 1, 224), (2 * 256**2, 256)),
        *((2 * 448**2, 448), (2 * 480**2, 480), (2 * 600**2, 480)),
    ],
)
def test_a_crop_is_the_largest_of_which_two_fit_into_the_time(budget: int, side: int) -> None:
    """In steps of 32 from 224 to 480."""
    made = planned(sized(600, 600, speed={"fp32": 200 * budget / 60}), "minutes=1")
    assert (made.recipe.crop, made.recipe.batch) == ((side, side), max(2, round(budget / side**2)))
    few = ", and small for 200 steps in the time" if side < 480 else ""
    assert reason(made, "crop") == f"cut from pictures of 600x600{few}"
    whole = planned(sized(200, 100, speed={"fp32": 200 * budget / 60}), "minutes=1")
    assert reason(whole, "crop") == "the usual picture"


@pytest.mark.parametrize(
    ("width", "longer", "zoom", "said"),
    [
        (4.0, 480, 2.0, "`thing`, is 4 px wide, and scores are 4 px apart: enlarged"),
        (4.01, 480, 1.5, "enlarged, it is seen"),
        (5.33, 480, 1.5, "enlarged, it is seen"),
        (5.34, 480, 1.0, "wide enough for scores 4 px apart"),
        (4.0, 800, 2.0, "enlarged"),
        (4.0, 801, 1.5, "enlarged"),
        (4.0, 1066, 1.5, "enlarged"),
        (4.0, 1067, 1.0, "too long, or too much memory"),
        (5.33, 1067, 1.0, "too long, or too much memory"),
        (5.34, 1067, 1.0, "wide enough"),
        (128.0, 1920, 0.25, "a smaller picture shows as much"),
        (127.0, 1920, 0.5, "a smaller picture shows as much"),
        (128.0, 1919, 0.5, "a smaller picture shows as much"),
        (64.0, 960, 0.5, "a smaller picture shows as much"),
        (63.0, 960, 1.0, "wide enough"),
        (64.0, 959, 1.0, "wide enough"),
    ],
)
def test_the_zoom_is_the_step_at_which_the_thinnest_class_covers_two_cells(
    width: float, longer: int, zoom: float, said: str
) -> None:
    """Eight pixels where scores are 4 px apart; of a longer side of at most 1,600 when enlarged,
    and of 480 at least when it still has four times as many after it was shrunk."""
    made = planned(sized(300, longer, classes=of_width(width), memory=None))
    assert made.recipe.zoom == zoom
    assert said in reason(made, "zoom")


@pytest.mark.parametrize(("share", "zoom"), [(5e-4, 2.0), (4.9e-4, 1.0)])
def test_a_class_of_a_two_thousandth_of_the_pixels_decides_about_the_zoom(
    share: float, zoom: float
) -> None:
    assert planned(sized(300, 400, classes=of_width(4.0, share))).recipe.zoom == zoom
    nothing = planned(sized(300, 400, classes=()))
    assert nothing.recipe.zoom == 1
    assert reason(nothing, "zoom") == "the labels say nothing of sizes"


@pytest.mark.parametrize(("half", "precision"), [(1.2e6, "bf16"), (1.19e6, "fp32"), (0, "fp32")])
def test_bf16_is_worth_its_rounding_from_a_fifth_faster_on(half: float, precision: str) -> None:
    speed = {"fp32": 1e6, "bf16": half}
    assert planned(sized(300, 400, speed=speed), "minutes=5").recipe.precision == precision
    assert planned(sized(300, 400, speed={"bf16": half}), "minutes=5").recipe.precision == "fp32"


def test_a_picture_that_does_not_fit_is_named_with_the_memory_there_is() -> None:
    made = planned(sized(4000, 4000, memory=5 << 29))
    assert made.recipe.zoom < 1
    assert reason(made, "zoom") == (
        "the largest picture, 4000x4000, does not fit into memory as it is (2.5 GiB free)"
    )
    assert planned(sized(9000, 9000, memory=1 << 20)).recipe.zoom == 0.25  # the least of all
    assert planned(sized(4000, 4000, memory=None)).recipe.zoom == 1
    cached = planned(sized(300, 400, memory=5 << 29))
    assert cached.recipe.cache == 0.5
    assert reason(cached, "cache") == "GiB of pictures kept, of 2.5 GiB free"


def test_memory_is_made_by_checkpoints_then_early_moves_then_batch_then_crop() -> None:
    """A step may take 0.7 of the memory; each way is taken where the ones before do not do."""
    net = spec("fcn4s-efficientnetlite0", classes=4)
    size, least = (480, 480), (128, 128)

    def needs(size: tuple[int, int], batch: int, **ways: bool) -> int:
        return step_bytes(net, size, batch, half=False, **ways)

    both = {"checkpointed": True, "in_backward": True}
    steps = [
        (needs(size, 4), (False, False, 4, size)),
        (needs(size, 4) - 1, (True, False, 4, size)),
        (needs(size, 4, checkpointed=True), (True, False, 4, size)),
        (needs(size, 4, checkpointed=True) - 1, (True, True, 4, size)),
        (needs(size, 4, **both), (True, True, 4, size)),
        (needs(size, 4, **both) - 1, (True, True, 3, size)),
        (needs(size, 2, **both), (True, True, 2, size)),
        (needs(size, 2, **both) - 1, (True, True, 2, (448, 448))),
        (needs((160, 160), 2, **both), (True, True, 2, (160, 160))),
        (needs((160, 160), 2, **both) - 1, (True, True, 2, least)),
        (needs(least, 2, **both) // 2, (True, True, 2, least)),
    ]
    for limit, wanted in steps:
        facts = replace(PHOTOS, memory=int(limit / 0.7) + 1)
        made = planned(facts, "zoom=2").recipe
        assert (made.checkpoint, made.optim.in_backward, made.batch, made.crop) == wanted, limit
    facts = replace(PHOTOS, memory=int((needs(size, 4) - 1) / 0.7))
    gigabytes = f"{needs(size, 4) / 2**30:.1f} GiB of {facts.memory / 2**30:.1f} GiB free"
    told = f"else a step would take about {gigabytes}"
    assert reason(planned(facts, "zoom=2"), "checkpoint") == told


@pytest.mark.parametrize("setting", ["accumulate=2", "loss.keep=0.5", "optim.clip=1", "devices=2"])
def test_weights_move_early_only_where_one_pass_knows_the_whole_gradient(setting: str) -> None:
    facts = replace(PHOTOS, memory=1 << 29)
    assert planned(facts).recipe.optim.in_backward
    assert not planned(facts, setting).recipe.optim.in_backward


def test_steps_of_a_run_by_hand() -> None:
    """235 pictures, 4 a step: 2.5 epochs are 146.9 steps."""
    for settings, steps in (
        (("iterations=7", "minutes=1"), 7),
        (("epochs=2.5",), 147),
        (("epochs=0.001",), 1),
        (("minutes=2",), 107),  # 98,304,000 px at 4 x 480 x 480
        (("minutes=0.001",), 1),
    ):
        draft = Draft(with_settings(Recipe(crop=(480, 480)), settings), frozenset())
        assert steps_of(draft, replace(PHOTOS, speed={"fp32": 819_200})) == steps
    unknown = Draft(Recipe(minutes=2), frozenset())
    assert steps_of(unknown, PHOTOS) == 1000
    draft = Draft(Recipe(minutes=2, zoom=2), frozenset())  # without a crop: 720x960 each
    assert steps_of(draft, replace(PHOTOS, speed={"fp32": 819_200})) == 36


@pytest.mark.parametrize(("net", "stride"), [("fcn32s-tiny", 32), ("fcn8s-tiny", 8)])
def test_the_finest_scores_decide_how_far_they_are_apart(net: str, stride: float) -> None:
    assert finest_stride(spec(net)) == stride


@pytest.mark.parametrize(
    ("setting", "value", "shown"),
    [
        ("crop", [480, 320], "crop=480x320"),
        ("augment.scale", [0.7, 1.4], "augment.scale=0.7,1.4"),
        ("zooms", [1, 1.5], "zooms=1,1.5"),
        ("optim.lr", 3e-4, "optim.lr=0.0003"),
        ("optim.rates", {"score*": 5.0, "fc6": 0.5}, "optim.rates.score*=5 optim.rates.fc6=0.5"),
        ("mirror", True, "mirror=true"),
        ("net", "fcn8s-tiny", "net=fcn8s-tiny"),
        ("batch", 16, "batch=16"),
    ],
)
def test_a_choice_is_shown_as_set_takes_it(setting: str, value: object, shown: str) -> None:
    assert str(Choice(setting, value, "")) == shown


def test_what_is_given_of_a_mapping_keeps_the_whole_of_it() -> None:
    draft = Draft(with_settings(Recipe(), ["optim.rates.fc6=2"]), frozenset({"optim.rates.fc6"}))
    draft.choose("optim.rates", {"score*": 5.0}, "reason")
    draft.choose("optim.rate", 1, "another, whose name begins alike")
    assert draft["optim.rates"] == {"fc6": 2.0}
    assert [*draft.choices] == ["optim.rate"]
