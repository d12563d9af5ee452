"""The catalogue: its names, what it refuses, and that it needs no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from pixelwise.engine.build import build
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import NETS, entry, spec
from pixelwise.nets.kinds import CLASSES
from pixelwise.nets.released import RELEASED

LITE = tuple(f"efficientnetlite{i}" for i in range(3))
TRUNKS = ("alexnet", "vgg16", "googlenet", "resnet18", "resnet50", "mobilenetv2", *LITE, "tiny")


def test_every_stride_on_every_trunk() -> None:
    expected = {f"fcn{s}s-{t}" for s in (32, 16, 8, 4) for t in TRUNKS}
    expected |= {f"fcn{s}s-{t}-tight" for s in (32, 16, 8, 4) for t in TRUNKS[:3]}
    expected |= {
        "fcn8s-vgg16-atonce",
        "fcn32s-vgg16-pool5",
        "fcn-spectral",
        *TRUNKS[:-1],
        *RELEASED,
    }
    assert {name for name in NETS if not NETS[name].relative} == expected


def test_the_relatives_stand_on_the_trunks_that_their_idea_allows() -> None:
    light = [trunk for trunk in TRUNKS if trunk not in ("alexnet", "vgg16", "googlenet")]
    expected = {f"{kind}-{t}" for kind in ("unet", "deeplabv3", "pspnet") for t in light}
    expected |= {"segnet-vgg16", "segnet-tiny", "deconvnet-vgg16", "unet", "unet-padded"}
    expected |= {"deeplab-largefov-vgg16", "deeplabv2-vgg16", "deeplabv2-resnet50"}
    assert {name for name in NETS if NETS[name].relative} == expected


def test_every_entry_says_what_it_is_and_no_two_say_the_same() -> None:
    abouts = [e.about for e in NETS.values()]
    assert all(abouts)
    assert len(set(abouts)) == len(abouts)
    nyud = {"nyud-color", "nyud-color-d", "nyud-hha", "nyud-color-hha"}
    known = {"caffe", "imagenet", "efficientnet-lite", "plain", "siftflow"} | nyud
    assert {e.preprocess for e in NETS.values()} == known


def test_unknown_net_lists_similar_names() -> None:
    with pytest.raises(UsageError, match="`fcn8s-vgg`; did you mean `fcn8s-vgg16`") as caught:
        entry("fcn8s-vgg")
    assert caught.value.code == "U001"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"classes": 0}, "classes is 0"),
        ({"classes": 2.5}, "classes is 2.5"),
        ({"channels": -1}, "channels is -1"),
        ({"width": 0}, "width is 0"),
        ({"width": -1}, "width is -1"),
        ({"depth": 3}, "depth"),
        ({"stride": 4}, "stride"),
        ({"geometry": "published"}, "geometry"),
        ({"learned": "some"}, "learned is 'some'"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        spec("fcn8s-vgg16", **options)


@pytest.mark.parametrize("option", ["heads", "inputs"])
def test_an_example_is_of_the_option_that_is_wrong(option: str) -> None:
    with pytest.raises(UsageError) as told:
        spec("fcn8s-tiny", **{option: {"a": 0}})
    assert str(told.value.hint).startswith(f"{option}: {{'")


def test_a_trunk_is_at_most_eight_times_as_wide() -> None:
    """A mistyped width would take all memory before anything is said of it."""
    assert spec("fcn32s-tiny", width=8).channels["fc6"] == 8 * 128
    with pytest.raises(UsageError, match=r"width is 8\.01, expected a factor in \(0, 8\]"):
        spec("fcn32s-tiny", width=8.01)


def test_counts_are_whole_numbers_of_any_kind_from_one_on() -> None:
    assert spec("fcn32s-tiny", classes=np.int64(1), channels=np.uint8(2)).inputs == {"data": 2}
    for count in (True, 0, -2, 1.0, "3", None):
        for option in ("classes", "channels"):
            with pytest.raises(
                UsageError, match=rf"{option} is {count!r}, expected a whole number"
            ):
                spec("fcn32s-tiny", **{option: count})
        with pytest.raises(UsageError, match=r"heads is .* each name with a whole number"):
            spec("fcn32s-tiny", heads={"a": 2, "b": count})


def test_heads_and_inputs_have_names_that_a_module_may_have() -> None:
    for name in ("a", "Z9_-x"):
        assert list(spec("fcn32s-tiny", heads={name: 2}).outputs) == [name]
    for name in ("", "9a", "a.b", "a b", "-a", 3):
        for parts in ("heads", "inputs"):
            with pytest.raises(UsageError, match=f"{parts} is .*, expected each name"):
                spec("fcn32s-tiny", **{parts: {name: 2}})


def test_one_number_stands_for_one_head_and_for_all_bands_together() -> None:
    two: dict[str, Any] = {"heads": {"a": 2, "b": 3}}
    for classes in (2, 3, 5):  # of two heads no number says how many each has
        with pytest.raises(UsageError, match=rf"classes {classes}, which contradicts its heads a"):
            spec("fcn32s-tiny", classes=classes, **two)
    assert spec("fcn32s-tiny", classes=2, heads={"a": 2}) == spec("fcn32s-tiny", heads={"a": 2})
    bands = {"inputs": {"x": 3, "y": 1}}
    assert spec("fcn32s-tiny", channels=4, **bands) == spec("fcn32s-tiny", **bands)
    with pytest.raises(UsageError, match="channels 3, which contradicts its inputs") as caught:
        spec("fcn32s-tiny", channels=3, **bands)
    assert caught.value.hint == "inputs={'x': 3, 'y': 1} alone, or other inputs"


def test_kinds_are_read_for_each_head() -> None:
    net = spec("fcn32s-tiny", classes=1, kinds={"far": {"kind": "numbers", "log": True}})
    assert net.kind("far").log
    assert net.kind("other") == CLASSES
    with pytest.raises(UsageError, match="kinds is 3, expected one for each name"):
        spec("fcn32s-tiny", kinds=3)


def test_classifiers_have_no_learned_upsampling() -> None:
    with pytest.raises(UsageError, match="learned"):
        spec("googlenet", learned="all")


def test_any_number_of_classes_and_channels() -> None:
    net = spec("fcn8s-googlenet", classes=3, channels=7)
    assert net.channels["score"] == 3
    assert net.parameter_shapes()["conv1/7x7_s2.weight"] == (64, 7, 7, 7)


def test_width_narrows_the_trunk_and_not_the_scores() -> None:
    narrow = spec("fcn8s-vgg16", width=1 / 16)
    assert narrow.channels["conv1_1"] == 4
    assert narrow.channels["fc7"] == 256
    assert narrow.channels["score"] == 21
    assert narrow.crops() == spec("fcn8s-vgg16").crops()


def test_a_net_for_spectra_mixes_bands_and_sees_nine_pixels() -> None:
    net = spec("fcn-spectral", channels=100, classes=3)
    kernels = [layer.kernel for layer in net.layers.values() if layer.kind == "Conv"]
    assert kernels == [1, 3, 3, 3, 3, 1]  # the last scores
    assert net.receptive_field == 9
    assert net.parameters() == 100 * 64 + 4 * 9 * 64 * 64 + 5 * 2 * 64 + 64 * 3 + 3


def test_four_parts_of_two_channels_have_one_each() -> None:
    narrow = spec("pspnet-tiny", width=1 / 512).channels
    assert (narrow["pool5"], [narrow[f"psp{n}"] for n in (1, 2, 3, 6)]) == (2, [1, 1, 1, 1])


def test_a_built_net_has_the_parameters_of_its_spec() -> None:
    for name in ("fcn8s-alexnet", "fcn8s-mobilenetv2", "fcn16s-resnet50", "googlenet"):
        network = build(name, width=1 / 16, classes=5)
        shapes = {n: tuple(p.shape) for n, p in network.named_parameters()}
        assert shapes == network.net.parameter_shapes()


def test_specs_and_the_command_need_no_torch() -> None:
    code = (
        "import sys; from pixelwise.cli.nets import nets; nets('fcn8s-vgg16', size='9x9');"
        "nets(); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
