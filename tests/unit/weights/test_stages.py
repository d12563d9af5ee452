"""The release's surgery between stages (fact sheet 2.3), against its rules written out in numpy.

``transplant`` walks the parameters of the old net, looks for name + suffix in the new one, and
copies flat memory; ``interp`` fills the diagonal of every layer with "up" in its name; each solver
begins with both. Our nets keep fixed kernels out of their state, so those are compared as they are
carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pixelwise.data.preprocess import (
    CAFFE,
    IMAGENET,
    NYUD_COLOR,
    NYUD_HHA,
    SIFTFLOW,
    Preprocess,
)
from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import ModelError, PixelwiseError, UsageError
from pixelwise.settings import as_dict, read
from pixelwise.weights.checkpoint import Header, save_checkpoint
from pixelwise.weights.importing import preprocess_of, start_from
from pixelwise.weights.load import read_weights
from pixelwise.weights.streams import files_by_stream
from random_weights import random_net

Arrays = dict[str, np.ndarray]
NARROW = {"width": 1 / 32}


def arrays(net: Network) -> Arrays:
    return {name: t.detach().numpy().copy() for name, t in net.state_dict().items()}


def transplant(new: Arrays, old: Mapping[str, np.ndarray], suffix: str = "") -> None:
    """surgery.py: by layer name and suffix; flat memory; what has no counterpart is dropped."""
    for name, blob in old.items():
        layer, _, parameter = name.rpartition(".")
        target = f"{layer}{suffix}.{parameter}"
        if target in new:
            assert new[target].size == blob.size, target
            new[target].flat = blob.flat


def fresh(name: str, **options) -> Network:
    """Another trunk than any file's, and the zero scores of a new net."""
    net = random_net(name, seed=99, **{**NARROW, **options})
    for layer, record in net.net.layers.items():
        if record.zero_start:
            for parameter in net.get_submodule(layer).parameters():
                torch.nn.init.zeros_(parameter)
    return net


def checkpoint(path: Path, name: str, net: Network, preprocess: Preprocess) -> str:
    classes = net.net.channels[next(iter(net.net.outputs.values()))]
    options = {"classes": classes, **NARROW}
    header = Header(
        name,
        options,
        tuple(f"class {i}" for i in range(classes)),
        preprocess=as_dict(preprocess),
        step=3,
        data={"trained_on": [path.stem]},
    )
    return str(save_checkpoint(path, net.state_dict(), header))


def start(weights: str, net: Network) -> dict[str, str]:
    """What became of each of the net's tensors."""
    _, plan = start_from(weights, net)
    return {row.target: row.action for row in plan.rows if row.target}


def assert_equal(net: Network, expected: Arrays) -> None:
    found = arrays(net)
    assert found.keys() == expected.keys()
    different = [name for name in found if not np.array_equal(found[name], expected[name])]
    assert different == []


@pytest.mark.parametrize(
    ("trunk", "coarse"),
    [("vgg16", "voc-fcn32s"), ("alexnet", "voc-fcn-alexnet"), ("googlenet", "voc-fcn-googlenet")],
)
def test_a_classifier_becomes_the_coarsest_net(tmp_path: Path, trunk: str, coarse: str) -> None:
    """fc6 and fc7 as the fully connected layers that they were; the classifier's own is dropped."""
    old = random_net(trunk, seed=1, classes=10, **NARROW)
    flat = {
        name: t.flatten(1) if name.startswith("fc") and t.ndim == 4 else t
        for name, t in old.state_dict().items()
    }
    save_file({name: t.contiguous() for name, t in flat.items()}, tmp_path / "old.safetensors")
    net = fresh(coarse)
    expected = arrays(net)
    transplant(expected, {name: t.numpy() for name, t in flat.items()})
    actions = start(str(tmp_path / "old.safetensors"), net)
    assert_equal(net, expected)
    assert {n for n, action in actions.items() if action == "missing"} == {
        "score_fr.weight",
        "score_fr.bias",
    }
    assert not expected["score_fr.weight"].any()
    if trunk != "googlenet":
        assert actions["fc6.weight"] == "reshaped"


CHAIN = [
    ("voc-fcn32s", "voc-fcn16s", {"score_pool4"}),
    ("voc-fcn16s", "voc-fcn8s", {"score_pool3"}),
    ("fcn8s-vgg16-tight", "fcn4s-vgg16-tight", {"score_pool2"}),
    ("siftflow-fcn32s", "siftflow-fcn16s", {"score_pool4_sem", "score_pool4_geo"}),
    ("siftflow-fcn16s", "siftflow-fcn8s", {"score_pool3_sem", "score_pool3_geo"}),
    ("pascalcontext-fcn32s", "pascalcontext-fcn16s", {"score_pool4"}),
    ("nyud-fcn32s-color-hha", "nyud-fcn16s-color-hha", {"score_pool4color", "score_pool4hha"}),
]


@pytest.mark.parametrize(("coarse", "fine", "new"), CHAIN)
def test_a_finer_net_takes_all_and_adds_zero_scores(
    tmp_path: Path, coarse: str, fine: str, new: set[str]
) -> None:
    """Its coarse scores are those of the net before; the new skip adds nothing yet."""
    old = random_net(coarse, seed=1, **NARROW)
    path = tmp_path / "old.safetensors"
    save_checkpoint(path, old.state_dict(), Header(coarse, {**NARROW}))
    net = fresh(fine)
    expected = arrays(net)
    transplant(expected, arrays(old))
    actions = start(str(path), net)
    assert_equal(net, expected)
    missing = {n.partition(".")[0] for n, action in actions.items() if action == "missing"}
    assert missing == new
    bands = sum(old.net.inputs.values())
    picture = torch.randn(1, bands, 40, 56, generator=torch.Generator().manual_seed(0))
    tops = [n for n in old.net.layers if n.startswith("score_fr") and n in net.net.layers]
    with torch.no_grad():
        before, after = old.activations(picture, tops), net.eval().activations(picture, tops)
    assert tops
    assert all(torch.equal(before[n], after[n]) for n in tops)


def test_a_net_trained_at_once_has_its_factors(tmp_path: Path) -> None:
    """VGG16 to voc-fcn8s-atonce: 0.01 and 0.0001, which are no part of any classifier."""
    old = random_net("vgg16", seed=1, classes=10, **NARROW)
    save_file(old.state_dict(), tmp_path / "old.safetensors")
    net = build("voc-fcn8s-atonce", **NARROW)
    start(str(tmp_path / "old.safetensors"), net)
    for layer, factor in (("scale_pool4", 0.01), ("scale_pool3", 0.0001)):
        found = net.state_dict()[f"{layer}.weight"].unique()
        assert found.tolist() == [pytest.approx(factor, rel=1e-7)]
    assert np.array_equal(net.state_dict()["conv1_1.weight"], old.state_dict()["conv1_1.weight"])


def test_upsampling_is_refilled_with_bilinear_kernels(tmp_path: Path) -> None:
    """interp: W[i, i] is the kernel of upsample_filt, all else 0; sums 4, 64, 256, 1024."""

    def upsample_filt(size: int) -> np.ndarray:
        factor = (size + 1) // 2
        center = factor - 1 if size % 2 == 1 else factor - 0.5
        og = np.ogrid[:size, :size]
        return (1 - abs(og[0] - center) / factor) * (1 - abs(og[1] - center) / factor)

    for net_name, kernels in (
        ("voc-fcn32s", {"upscore": 64}),
        ("voc-fcn16s", {"upscore2": 4, "upscore16": 32}),
        ("voc-fcn8s", {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16}),
        ("voc-fcn-alexnet", {"upscore": 63}),
    ):
        built = build(net_name, learned="all", classes=3, **NARROW).state_dict()
        for layer, size in kernels.items():
            weight = built[f"{layer}.weight"].numpy()
            expected = np.zeros((3, 3, size, size))
            expected[range(3), range(3)] = upsample_filt(size)
            assert weight.shape == expected.shape
            assert np.abs(weight - expected).max() < 1e-7
            assert weight[0, 0].sum() == pytest.approx(((size + 1) // 2) ** 2)


# -- several inputs -------------------------------------------------------------------------------
def test_the_four_channel_first_layer(tmp_path: Path) -> None:
    """nyud-fcn32s-color-d/solve.py: [:, :3], [:, 3] the mean over axis 1, the bias as it is."""
    old = random_net("vgg16", seed=1, classes=10, **NARROW)
    save_file(old.state_dict(), tmp_path / "old.safetensors")
    net = fresh("nyud-fcn32s-color-d")
    expected = arrays(net)
    conv = arrays(old)
    transplant(expected, conv)
    expected["conv1_1_bgrd.weight"][:, :3] = conv["conv1_1.weight"]
    expected["conv1_1_bgrd.weight"][:, 3] = np.mean(conv["conv1_1.weight"], axis=1)
    expected["conv1_1_bgrd.bias"][...] = conv["conv1_1.bias"]
    actions = start(str(tmp_path / "old.safetensors"), net)
    assert actions["conv1_1_bgrd.weight"] == "widened"
    assert actions["conv1_1_bgrd.bias"] == "copied"
    found = arrays(net)
    for name, blob in expected.items():
        np.testing.assert_allclose(found[name], blob, rtol=0, atol=1e-7, err_msg=name)
    assert np.array_equal(found["conv1_1_bgrd.weight"][:, :3], conv["conv1_1.weight"])


def test_a_colour_depth_net_is_taken_as_it_is(tmp_path: Path) -> None:
    old = random_net("nyud-fcn32s-color-d", seed=1, **NARROW)
    save_checkpoint(tmp_path / "old", old.state_dict(), Header("nyud-fcn32s-color-d", {**NARROW}))
    net = fresh("nyud-fcn32s-color-d")
    assert set(start(str(tmp_path / "old"), net).values()) == {"copied"}
    assert_equal(net, arrays(old))


def test_colour_and_hha_in_one_first_layer_have_the_filters_twice(tmp_path: Path) -> None:
    """Each input of three bands as it would have them alone (fact sheet 2.3: hha unchanged)."""
    old = random_net("vgg16", seed=1, classes=10, **NARROW)
    save_file(old.state_dict(), tmp_path / "old.safetensors")
    net = fresh("fcn32s-vgg16", inputs={"color": 3, "hha": 3}, fusion="early")
    start(str(tmp_path / "old.safetensors"), net)
    (name,) = (n for n in net.state_dict() if n.startswith("conv1_1") and n.endswith("weight"))
    twice = np.concatenate([arrays(old)["conv1_1.weight"]] * 2, axis=1)
    assert np.array_equal(arrays(net)[name], twice)


def test_two_bands_beside_colours_have_the_rule_that_is_named(tmp_path: Path) -> None:
    old = random_net("vgg16", seed=1, classes=10, **NARROW)
    save_file(old.state_dict(), tmp_path / "old.safetensors")
    net = fresh("fcn32s-vgg16", inputs={"color": 3, "flow": 2})
    assert start(str(tmp_path / "old.safetensors"), net)["conv1_1_bgrflow.weight"] == "widened"
    mean = arrays(old)["conv1_1.weight"].mean(1)
    found = arrays(net)["conv1_1_bgrflow.weight"]
    np.testing.assert_allclose(found[:, 3], 1.5 * mean, rtol=1e-5)


@pytest.fixture
def streams(tmp_path: Path) -> dict[str, str]:
    """A colour net at one step and an HHA net at another, as the release took them."""
    return {
        stream: checkpoint(
            tmp_path / f"{stream}.safetensors",
            f"nyud-fcn32s-{stream}",
            random_net(f"nyud-fcn32s-{stream}", seed=seed, **NARROW),
            preprocess,
        )
        for stream, seed, preprocess in (("color", 1, NYUD_COLOR), ("hha", 2, NYUD_HHA))
    }


@pytest.mark.parametrize("fusion", ["average", "sum"])
def test_two_streams_are_taken_with_their_suffixes(streams: dict[str, str], fusion: str) -> None:
    """nyud-fcn32s-color-hha/solve.py: score_fr of one net is score_frcolor here, and so on."""
    net = fresh("nyud-fcn32s-color-hha", fusion=fusion)
    expected = arrays(net)
    for stream, seed in (("color", 1), ("hha", 2)):
        old = random_net(f"nyud-fcn32s-{stream}", seed=seed, **NARROW)
        transplant(expected, arrays(old), suffix=stream)
    foreign, plan = start_from(",".join(f"{s}={p}" for s, p in streams.items()), net)
    assert_equal(net, expected)
    assert not plan.of("missing", "mismatched")
    assert np.abs(arrays(net)["score_frhha.weight"]).max() > 0
    assert foreign.header is not None
    assert foreign.header.trained_on == {"color", "hha"}
    shown = foreign.header.preprocess
    assert list(shown["order"]) == [2, 1, 0, 3, 4, 5]
    assert list(shown["mean"]) == [*NYUD_COLOR.mean, *NYUD_HHA.mean]


def test_the_fused_scores_are_those_of_the_streams(streams: dict[str, str]) -> None:
    """Average: half of each; sum: twice as large (fact sheet, trap 26)."""
    picture = torch.randn(1, 6, 33, 47, generator=torch.Generator().manual_seed(3))
    singles = {}
    for stream, seed, bands in (("color", 1, picture[:, :3]), ("hha", 2, picture[:, 3:])):
        old = random_net(f"nyud-fcn32s-{stream}", seed=seed, **NARROW)
        with torch.no_grad():
            singles[stream] = old(bands)
    weights = ",".join(f"{s}={p}" for s, p in streams.items())
    for fusion, factor in (("average", 0.5), ("sum", 1.0)):
        net = fresh("nyud-fcn32s-color-hha", fusion=fusion).eval()
        start(weights, net)
        with torch.no_grad():
            fused = net(picture)
        expected = factor * (singles["color"] + singles["hha"])
        torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-4)


def test_one_classifier_may_be_both_streams(tmp_path: Path) -> None:
    old = random_net("vgg16", seed=1, classes=10, **NARROW)
    file = tmp_path / "vgg.safetensors"
    save_file(old.state_dict(), file)
    net = fresh("fcn16s-vgg16", inputs={"color": 3, "hha": 3}, fusion="sum", heads={"a": 2, "b": 3})
    start(f"color={file},hha={file}", net)
    for stream in ("color", "hha"):
        assert np.array_equal(arrays(net)[f"conv5_3{stream}.weight"], arrays(old)["conv5_3.weight"])


def test_heads_keep_their_names_behind_a_streams(tmp_path: Path) -> None:
    heads = {"sem": 4, "geo": 2}
    old = random_net("fcn16s-vgg16", seed=1, heads=heads, **NARROW)
    file = tmp_path / "old.safetensors"
    save_file(old.state_dict(), file)
    net = fresh("fcn16s-vgg16", inputs={"color": 3, "hha": 3}, fusion="sum", heads=heads)
    start(f"color={file},hha={file}", net)
    for head in heads:
        for layer in ("score_fr", "score_pool4"):
            mine, theirs = f"{layer}hha_{head}.weight", f"{layer}_{head}.weight"
            assert np.array_equal(arrays(net)[mine], arrays(old)[theirs])


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("", {"": ""}),
        ("run", {"": "run"}),
        ("a/b=c.pth", {"": "a/b=c.pth"}),
        ("color=runs/a,hha=runs/b", {"color": "runs/a", "hha": "runs/b"}),
        ("color=a,b.pth,hha=c=d.pth", {"color": "a,b.pth", "hha": "c=d.pth"}),
        ("color=a", {"color": "a"}),
    ],
)
def test_files_by_stream(text: str, files: dict[str, str]) -> None:
    assert files_by_stream(text) == files


def test_a_file_whose_name_looks_like_streams_is_a_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("width=2").touch()
    assert files_by_stream("width=2") == {"": "width=2"}


@pytest.mark.parametrize(
    ("net", "weights", "told"),
    [
        ("nyud-fcn32s-color-hha", "color={f}", "weights names no file for the input hha"),
        ("nyud-fcn32s-color-hha", "color={f},hha={f},depth={f}", "no stream of the net is called"),
        ("nyud-fcn32s-color-hha", "color={f},color={f}", "weights names an input twice"),
        ("nyud-fcn32s-color-hha", "{f}", "no tensor of this file .* fits the net"),
        ("voc-fcn32s", "color={f},hha={f}", "names files for color, hha, and the net has one"),
        ("nyud-fcn32s-color-d", "color={f},depth={f}", "and the net has one trunk"),
    ],
)
def test_files_for_other_streams_are_refused(
    tmp_path: Path, net: str, weights: str, told: str
) -> None:
    file = tmp_path / "vgg.safetensors"
    save_file(random_net("vgg16", seed=1, classes=10, **NARROW).state_dict(), file)
    with pytest.raises((UsageError, ModelError), match=told) as caught:
        start(weights.format(f=file), fresh(net))
    assert isinstance(caught.value, PixelwiseError)
    if "color-hha" in net and "twice" not in told:
        assert caught.value.hint == "--weights color=FILE,hha=FILE"


def test_what_both_streams_were_shown_is_put_side_by_side(tmp_path: Path) -> None:
    """Files that say nothing leave it to the net."""
    file = tmp_path / "vgg.safetensors"
    save_file(random_net("vgg16", seed=1, classes=10, **NARROW).state_dict(), file)
    color = checkpoint(
        tmp_path / "c.safetensors", "vgg16", random_net("vgg16", classes=10, **NARROW), CAFFE
    )
    net = fresh("nyud-fcn32s-color-hha")
    foreign, _ = start_from(f"color={color},hha={file}", net)
    assert foreign.header is not None
    assert foreign.header.preprocess == {}


@pytest.mark.parametrize(
    ("net", "trained", "expected"),
    [
        ("nyud-fcn32s-color", CAFFE, NYUD_COLOR),
        ("nyud-fcn32s-hha", CAFFE, NYUD_HHA),
        ("siftflow-fcn32s", CAFFE, SIFTFLOW),
        ("voc-fcn32s", CAFFE, CAFFE),
        ("nyud-fcn32s-color", IMAGENET, IMAGENET),  # torchvision's VGG16: other numbers, trap 9
        ("fcn32s-vgg16", CAFFE, CAFFE),
    ],
)
def test_a_released_net_on_caffes_classifier_has_its_data_sets_mean(
    tmp_path: Path, net: str, trained: Preprocess, expected: Preprocess
) -> None:
    path = tmp_path / "vgg.safetensors"
    classifier = random_net("vgg16", seed=1, classes=10, **NARROW)
    header = Header("vgg16", {"classes": 10, **NARROW}, preprocess=as_dict(trained))
    save_checkpoint(path, classifier.state_dict(), header)
    assert read(Preprocess, preprocess_of(read_weights(path), net)) == expected
