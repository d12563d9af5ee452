"""Recipes: typed settings, YAML there and back, contradictions all at once."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise.errors import UsageError
from pixelwise.nets.catalog import WIDEST
from pixelwise.predict.view import View
from pixelwise.settings import as_dict, read
from pixelwise.training.recipe import Augmentation, Loss, Optim, Recipe, Schedule
from pixelwise.training.recipe_text import read_recipe, with_settings, write_recipe
from pixelwise.training.step import seeded


def test_yaml_there_and_back(tmp_path: Path) -> None:
    recipe = Recipe(
        data="d",
        crop=(320, 400),
        augment=Augmentation(scale=(0.5, 2.0)),
        optim=Optim("sgd", rates={"score*": 10.0, "conv1": 0.0}),
    )
    write_recipe(tmp_path / "r.yaml", recipe)
    assert read_recipe(tmp_path / "r.yaml") == recipe


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("seed=7", ("seed",), 7),
        ("crop=320x400", ("crop",), [320, 400]),
        ("crop=none", ("crop",), None),
        ("optim.lr=1e-10", ("optim", "lr"), 1e-10),
        ("augment.scale=0.5x2", ("augment", "scale"), [0.5, 2.0]),
        ("augment.scale=0.5,2", ("augment", "scale"), [0.5, 2.0]),
        ("augment.mirror=false", ("augment", "mirror"), False),
        ("optim.rates.score*=10", ("optim", "rates"), {"score*": 10.0}),
        ("optim.decays.score_fr.bias=0", ("optim", "decays"), {"score_fr.bias": 0.0}),
        ("schedule.steps=0.3,0.6,0.9", ("schedule", "steps"), [0.3, 0.6, 0.9]),
        ("net=fcn8s-vgg16", ("net",), "fcn8s-vgg16"),
    ],
)
def test_settings_take_the_type_of_their_field(setting, path, value) -> None:
    found = as_dict(with_settings(Recipe(), [setting, "batch=1"]))
    for key in path:
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("optm.lr=1", "no recipe setting is called `optm`.*`optim.lr`"),
        ("optim.lrr=1", "no recipe setting is called `optim.lrr`.*`optim.lr`"),
        ("optim.lr.x=1", "optim.lr is {'x': '1'}, expected a number"),
        ("batch=two", "batch is 'two', expected a whole number"),
        ("batch=1.5", "batch is 1.5, expected a whole number"),
        ("precision=fp16", "precision is 'fp16', expected one of fp32, bf16"),
        ("augment.mirror=maybe", "augment.mirror is 'maybe', expected true or false"),
        ("crop=320", r"crop is 320, expected 2 numbers, as 320x400"),
        ("optim.rates={score: 5}", "optim.rates is .*, expected a value for each name"),
        ("batch", "expected key=value"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        with_settings(Recipe(), [setting])


def test_every_contradiction_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        Recipe(iterations=5, epochs=2, batch=0, ema=1.0, freeze="trunk")
    text = str(caught.value)
    for part in (
        "iterations and epochs",
        "batch is 0",
        "ema is 1.0",
        "freeze: trunk needs weights",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("seed=inf", "seed is inf, expected a whole number"),
        ("crop=infx3", r"crop\[0\] is inf, expected a whole number"),
        ("seed=-1", "seed is -1, expected at least 0"),
        ("seed=99999999999", "seed is 99999999999, expected less than 4294967296"),
        ("workers=-2", "workers is -2, expected at least 0"),
        ("threads=-1", "threads is -1"),
        ("width=0", "width is 0, expected more than 0"),
        ("width=nan", "width is nan, expected a finite number"),
        ("cache=-1", "cache is -1"),
        ("ema=nan", "ema is nan"),
        ("epochs=inf", "epochs is inf, expected a finite number"),
        ("optim.lr=nan", "optim.lr is nan"),
        ("optim.clip=-1", "optim.clip is -1, expected at least 0"),
        ("optim.rates.score*=-1", r"optim.rates.score\* is -1, expected at least 0"),
        ("optim.rates.score*=nan", r"optim.rates.score\* is nan"),
        ("schedule.warmup=-5", "schedule.warmup is -5"),
        ("schedule.steps=0.8,0.2", "schedule.steps is .*rising"),
        ("schedule.steps=0.8,1.2", r"schedule.steps\[1\] is 1.2, expected less than 1"),
        ("augment.hue=0.7", "augment.hue is 0.7, expected at most 0.5"),
        ("augment.brightness=-0.1", "augment.brightness is -0.1"),
        ("augment.jitter=-3", "augment.jitter is -3"),
        ("augment.scale=0.5,inf", r"augment.scale\[1\] is inf"),
    ],
)
def test_settings_out_of_range_are_named(setting: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        with_settings(Recipe(batch=1), [setting])
    assert caught.value.code == "U002"


ENDS: list[tuple[str, tuple, tuple]] = [
    ("iterations", (0, 10**9), (-1, 10**9 + 1)),
    ("epochs", (0, 10**9), (-0.1, 10**9 + 1)),
    ("minutes", (0, 10**9), (-0.1, 10**9 + 1)),
    ("seed", (0, 2**32 - 1), (-1, 2**32)),
    ("batch", (1, 65536), (0, 65537)),
    ("accumulate", (1, 65536), (0, 65537)),
    ("crop", ("1x1",), ("0x1", "1x0")),
    ("zoom", (0.01, 8), (0, 8.01)),
    ("zooms", (0.01, 8, ",".join(["1"] * 16)), (0, 8.01, ",".join(["1"] * 17))),
    ("share", (0.001, 1), (0, 1.001)),
    ("bands", ("0,5", ""), ("-1", "0,-1")),
    ("pca", (0, 1000), (-1,)),
    ("ema", (0, 0.999), (-0.1, 1)),
    ("width", (0.01, WIDEST), (0, WIDEST + 0.01)),
    ("devices", (1, 1024), (0, 1025)),
    ("threads", (0, 1024), (-1, 1025)),
    ("workers", (0, 1024), (-1, 1025)),
    ("cache", (0, 2**20), (-0.1, 2**20 + 1)),
    ("validate_every", (0, 10**9), (-1, 10**9 + 1)),
    ("save_every", (0, 10**9), (-1, 10**9 + 1)),
    ("patience", (0, 10**9), (-1, 10**9 + 1)),
    ("augment.jitter", (0, 65536), (-1, 65537)),
    ("augment.scale", ("0.01,16", "2,2"), ("0,1", "1,16.01", "2,1")),
    ("augment.brightness", (0, 1), (-0.1, 1.01)),
    ("augment.contrast", (0, 1), (-0.1, 1.01)),
    ("augment.saturation", (0, 1), (-0.1, 1.01)),
    ("augment.hue", (0, 0.5), (-0.1, 0.51)),
    ("augment.rare", (0, 1), (-0.1, 1.01)),
    ("augment.paste", (0, 1), (-0.1, 1.01)),
    ("loss.jaccard", (0, 1e9), (-0.1,)),
    ("loss.keep", (0.001, 0.3333, 1), (0, 0.0009, 1.01)),
    ("optim.lr", (1e-14, 1e9), (0,)),
    ("optim.momentum", (0, 0.999), (-0.1, 1)),
    ("optim.weight_decay", (0, 1e9), (-0.1,)),
    ("optim.bias_rate", (0, 1e9), (-0.1,)),
    ("optim.bias_decay", (0, 1e9), (-0.1,)),
    ("optim.rates.score", (0, 1e9), (-0.1,)),
    ("optim.decays.score.bias", (0, 1e9), (-0.1,)),
    ("optim.clip", (0, 1e9), (-0.1,)),
    ("schedule.power", (0, 1e9), (-0.1,)),
    ("schedule.factor", (0, 1), (-0.1, 1.01)),
    ("schedule.steps", ("0.01,0.99", "0.5,0.5"), ("0,0.5", "0.5,1", "0.6,0.5")),
    ("schedule.warmup", (0, 10**9), (-1, 10**9 + 1)),
]
"""Each setting with values that are taken and refused."""


def test_each_range_has_its_ends() -> None:
    start, wrong = Recipe(crop=(64, 64)), []
    for name, accepted, refused in ENDS:
        for value in (*accepted, *refused):
            try:
                with_settings(start, [f"{name}={value}"])
                taken = True
            except UsageError as error:
                taken = not re.search(rf"{name}.* is .*, expected", str(error))
            if taken != (value in accepted):
                wrong.append(f"{name}={value}")
    assert wrong == []


def test_the_largest_seed_can_be_drawn_from() -> None:
    with seeded(2**32 - 1, 10**9, 1023, torch.device("cpu")):
        torch.rand(1)


def test_the_view_is_composed_of_zoom_zooms_and_mirror() -> None:
    assert Recipe().view == View((1.0,))
    assert Recipe(zoom=1.5).view == View((1.5,))
    assert Recipe(zoom=1.5, zooms=(1, 2), mirror=True).view == View((1.0, 2.0), mirror=True)


def test_scaled_batches_need_a_crop() -> None:
    with pytest.raises(UsageError, match="needs crop=HxW"):
        Recipe(batch=2, augment=Augmentation(scale=(0.5, 2.0)))
    assert Recipe(batch=1, augment=Augmentation(scale=(0.5, 2.0))).batch == 1


@pytest.mark.parametrize("name", ["rare", "paste"])
def test_what_looks_for_rare_classes_needs_a_crop(name: str) -> None:
    with pytest.raises(UsageError, match=rf"augment\.{name} needs crop=HxW"):
        Recipe(augment=Augmentation(**{name: 0.5}))
    with pytest.raises(UsageError, match=rf"augment\.{name} is 1\.5, expected at most 1"):
        Recipe(crop=(32, 32), augment=Augmentation(**{name: 1.5}))
    assert Recipe(crop=(32, 32), augment=Augmentation(**{name: 0.5})).crop == (32, 32)


def test_variables_in_paths_are_put_in_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_DATA", "/data")
    monkeypatch.delenv("MY_WEIGHTS", raising=False)
    path = tmp_path / "r.yaml"
    path.write_text("data: $MY_DATA/camvid\nweights: ${MY_WEIGHTS}/net.caffemodel\n")
    with pytest.raises(UsageError, match="names the variable MY_WEIGHTS, which is not set"):
        read_recipe(path)
    monkeypatch.setenv("MY_WEIGHTS", "w")
    recipe = read_recipe(path)
    assert (recipe.data, recipe.weights) == ("/data/camvid", "w/net.caffemodel")
    (tmp_path / "$odd").mkdir()
    path.write_text("data: $odd\n")
    assert read_recipe(path).data == "$odd"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["jaccard=1", "reduction=sum"], r"loss\.jaccard is added to a mean"),
        (["lovasz=1", "reduction=image"], r"loss\.lovasz is added to a mean"),
        (["jaccard=-1"], r"loss\.jaccard is -1"),
        (["cross_entropy=0"], "nothing would be learned"),
        (["cross_entropy=0", "dice=1", "focal=2"], "are of cross-entropy"),
        (["hard_below=0.7"], r"expected loss\.hard below 1"),
        (["hard=0"], r"loss\.hard is 0, expected more than 0"),
    ],
)
def test_losses_that_would_do_nothing_are_refused(settings: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        with_settings(Recipe(batch=1), [f"loss.{setting}" for setting in settings])


def test_a_step_has_as_many_more_passes_as_terms_are_left_out() -> None:
    for keep, accumulate, passes in ((1, 3, 3), (0.5, 1, 2), (0.25, 20, 80), (0.3333, 1, 3)):
        recipe = Recipe(loss=Loss(keep=keep), accumulate=accumulate)
        assert recipe.passes == passes
    told = r"loss\.keep 0\.4 with accumulate 1 asks for 2\.5 forward .* accumulate=2 gives 5"
    with pytest.raises(UsageError, match=told):
        Recipe(loss=Loss(keep=0.4))
    assert Recipe(loss=Loss(keep=0.4), accumulate=2).passes == 5


def test_unknown_nested_names_in_yaml_are_refused() -> None:
    with pytest.raises(UsageError, match=r"`augment\.mirrors`"):
        read(Recipe, {"augment": {"mirrors": True}})


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just words"])
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"r\.yaml is not a"):
        read_recipe(path)


def yaml_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(f"data: d\n{text}\n")
    return path


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("crop: 32x48", "crop", (32, 48)),
        ("crop: '32,48'", "crop", (32, 48)),
        ("crop: none", "crop", None),
        ("crop: null", "crop", None),
        ("zooms: '1.25,1.75'", "zooms", (1.25, 1.75)),
        ("weights: null", "weights", ""),
        ("train_split: 2024", "train_split", "2024"),
        ("ema: 9e-1", "ema", 0.9),
    ],
)
def test_yaml_takes_what_set_takes(tmp_path: Path, text: str, name: str, value: object) -> None:
    assert getattr(read_recipe(yaml_of(tmp_path, text)), name) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("crop: '64'", "crop is 64, expected 2 numbers, as 320x400 or 0.5,2"),
        ("augment: {scale: '12'}", "augment.scale is 12, expected 2 numbers, as 320x400 or 0.5,2"),
        ("batch: true", "batch is True, expected a whole number"),
        ("ema: true", "ema is True, expected a number"),
        ("weights: [a]", "weights is ['a'], expected text"),
        ("batch: 2\nbatch: 4", "`batch` stands twice"),
        ("optim: {lr: 1, lr: 2}", "`lr` stands twice"),
        ("train_split: 2024-13-45", "month must be in 1..12"),
        ("seed: !!int foo", "not a readable recipe"),
        ("seed: " + "9" * 5000, "not a readable recipe"),
        ("seed: " + "[" * 3000, "not a readable recipe"),
        ('net: "a\\0b"', "expected text"),
        ("iterations: 1e308", "iterations is 1e+308, expected a smaller number"),
        ("? [a, b]\n: 1", "not a readable recipe"),
    ],
)
def test_what_yaml_can_get_wrong_is_told_with_the_file(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_recipe(yaml_of(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "r.yaml"))
    assert told in str(caught.value)


def test_real_merges_are_read(tmp_path: Path) -> None:
    text = "optim: {<<: {lr: 1, momentum: 0.5}, lr: 2}"
    recipe = read_recipe(yaml_of(tmp_path, text))
    assert (recipe.optim.lr, recipe.optim.momentum) == (2, 0.5)
    with pytest.raises(UsageError, match="`lr` stands twice"):
        read_recipe(yaml_of(tmp_path, "optim: {<<: {momentum: 0.5}, lr: 2, lr: 3}"))


def test_paths_of_any_length_and_variables_with_dollars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"data: {'d' * 5000}\n")
    assert read_recipe(path).data == "d" * 5000
    monkeypatch.setenv("DD", "/x/a$b")
    path.write_text("data: $DD/y\n")
    assert read_recipe(path).data == "/x/a$b/y"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Optim(name="SGD"), "optim.name is 'SGD', expected one of sgd, adamw"),
        (lambda: Schedule(name="Poly"), "schedule.name is 'Poly'"),
        (lambda: Loss(reduction="Mean"), "loss.reduction is 'Mean'"),
        (lambda: Recipe(precision="BF16"), "precision is 'BF16'"),
        (lambda: Recipe(frozen_bn="maybe"), "frozen_bn is 'maybe', expected true or false"),
        (lambda: Recipe(seed=1.5), "seed is 1.5, expected a whole number"),
        (lambda: Recipe(crop=48), "crop is 48, expected 2 numbers, as 320x400 or 0.5,2"),
        (lambda: Recipe(optim={"lr": -1}), "optim.lr is -1, expected more than 0"),
        (lambda: Recipe(optim="sgd"), "optim is 'sgd', expected named entries"),
        (lambda: Recipe(net=b"x"), "net is b'x', expected text"),
        (lambda: Recipe(val_split=False), "val_split is False, expected text"),
        (lambda: Augmentation(scale=(1, "x")), "augment.scale"),
    ],
)
def test_recipes_made_in_python_are_checked_too(make, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert told in str(caught.value)


def test_recipes_made_in_python_take_what_has_one_meaning(tmp_path: Path) -> None:
    recipe = Recipe(
        data=tmp_path, seed=np.int64(3), width=np.float32(0.25), iterations="20", batch=2.0
    )
    assert (recipe.data, recipe.seed, recipe.iterations) == (str(tmp_path), 3, 20)
    assert [type(v) for v in (recipe.seed, recipe.width, recipe.batch)] == [int, float, int]
    write_recipe(tmp_path / "r.yaml", recipe)
    assert read_recipe(tmp_path / "r.yaml") == recipe
