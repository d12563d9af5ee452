"""The released files are known by their layers; made here byte by byte from their prototxts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from released_layers import (
    AT_ONCE,
    HEADS,
    NARROW,
    TOPS,
    VGG,
    caffemodel,
    head,
    numbers,
    released,
    trunk,
)
from typer.testing import CliRunner

from pixelwise.cli.weights import app
from pixelwise.errors import ModelError, UsageError
from pixelwise.nets.catalog import spec
from pixelwise.weights import recognition
from pixelwise.weights.checkpoint import load_checkpoint
from pixelwise.weights.exporting import export_weights
from pixelwise.weights.importing import import_weights
from pixelwise.weights.load import Foreign, read_weights
from pixelwise.weights.recognition import recognise_net
from random_weights import save_random

RELEASED = released()
ORDINARY = (104.00699, 116.66877, 122.67892)  # BGR, fact sheet 3.1
MEANS = {
    "nyud-fcn32s-color": (116.190, 97.203, 92.318),
    "nyud-fcn32s-color-d": (116.190, 97.203, 92.318, 7.844),
    "nyud-fcn32s-hha": (132.431, 94.076, 118.477),
    "nyud-fcn32s-color-hha": (116.190, 97.203, 92.318, 132.431, 94.076, 118.477),
} | {f"siftflow-fcn{s}s": (114.578, 115.294, 108.353) for s in (32, 16, 8)}
HEAD_COUNTS = {"siftflow": {"heads": {"sem": 33, "geo": 3}}, "pascalcontext": {"classes": 60}}
HEAD_COUNTS |= {"nyud": {"classes": 40}, "voc": {"classes": 21}}


def written(path: Path, name: str, *, v1: bool = False) -> Path:
    path.write_bytes(caffemodel(RELEASED[name], TOPS.get(name, ""), v1=v1))
    return path


def check(name: str, path: Path, out: Path, **options: str) -> None:
    """Import a file and compare every number of it with what was written."""
    done = import_weights(path, out, **options)
    assert done.transplant is not None
    assert done.header.net == name
    assert done.header.options == HEAD_COUNTS[name.partition("-")[0]] | {"width": 1 / NARROW}
    assert done.header.preprocess["mean"] == list(MEANS.get(name, ORDINARY))
    _, tensors = load_checkpoint(done.out)
    for layer_name, shapes in RELEASED[name].items():
        if layer_name.startswith("up"):
            continue
        for array, shape in zip(("weight", "bias"), shapes, strict=False):
            want = torch.from_numpy(numbers(shape, layer_name))
            assert torch.equal(tensors[f"{layer_name}.{array}"], want), layer_name
    stored = sum(len(s) for n, s in RELEASED[name].items() if not n.startswith("up"))
    assert len(tensors) == stored
    # The deconvolutions are computed here, and were compared.
    assert {r.reason for r in done.transplant.of("dropped")} == {
        "checked: it is the fixed bilinear kernel that the net computes"
    }
    assert not done.transplant.of("missing", "mismatched")


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_file_names_its_net(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.caffemodel", name)
    check(name, path, tmp_path / "a.safetensors")


# The old layout had no Scale layer.
@pytest.mark.parametrize("name", [n for n in RELEASED if n != "voc-fcn8s-atonce"])
def test_the_old_layout_says_the_same(tmp_path: Path, name: str) -> None:
    new = read_weights(written(tmp_path / "new.caffemodel", name)).tensors
    old = read_weights(written(tmp_path / "old.caffemodel", name, v1=True)).tensors
    assert new.keys() == old.keys()
    assert all(torch.equal(new[k], old[k]) for k in new)


def test_a_file_in_the_old_layout_names_its_net(tmp_path: Path) -> None:
    path = written(tmp_path / "a.caffemodel", "siftflow-fcn8s", v1=True)
    check("siftflow-fcn8s", path, tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", RELEASED)
def test_layers_and_shapes_of_the_whole_net_are_the_catalogues(name: str) -> None:
    ours = spec(name).parameter_shapes(stored=True)
    theirs = {
        f"{n}.{array}": shape
        for n, shapes in released(narrow=1)[name].items()
        for array, shape in zip(("weight", "bias"), shapes, strict=False)
        if not n.startswith("up")
    }
    assert ours == theirs


@pytest.mark.parametrize(
    ("name", "first", "last", "colour"),
    [
        ("voc-fcn16s", "background", "tvmonitor", (0, 64, 128)),  # fact sheet 3.2
        ("pascalcontext-fcn16s", "background", "wood", None),  # 3.5
        ("nyud-fcn32s-color", "wall", "otherprop", None),  # 3.3
        ("siftflow-fcn16s", "awning", "window", None),  # 3.4
    ],
)
def test_a_released_net_brings_the_names_of_its_classes(
    tmp_path: Path, name: str, first: str, last: str, colour: tuple[int, int, int] | None
) -> None:
    path = written(tmp_path / "a.caffemodel", name)
    header = import_weights(path, tmp_path / "a.safetensors").header
    assert (header.classes[0], header.classes[-1]) == (first, last)
    assert colour is None or header.palette[-1] == colour
    if name.startswith("siftflow"):
        assert [*header.heads] == ["sem", "geo"]
        assert header.heads["geo"].classes == ("sky", "horizontal", "vertical")
    own = tuple(f"thing {i}" for i in range(len(header.classes)))
    again = import_weights(path, tmp_path / "b.safetensors", class_names=own)
    assert again.header.classes == own


def test_colour_and_hha_of_nyud_are_told_by_the_data_layer_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(caffemodel(RELEASED["nyud-fcn32s-hha"]))
    with pytest.raises(UsageError, match="nyud-fcn32s-color and of nyud-fcn32s-hha") as caught:
        import_weights(path, tmp_path / "a.safetensors")
    assert (caught.value.code, caught.value.hint) == ("U002", "--net nyud-fcn32s-color")
    assert not (tmp_path / "a.safetensors").exists()
    check("nyud-fcn32s-hha", path, tmp_path / "a.safetensors", net="nyud-fcn32s-hha")


@pytest.mark.parametrize(
    ("name", "net", "said", "way"),
    [
        ("voc-fcn8s", "voc-fcn8s-atonce", "staged net's weights", "voc-fcn8s"),
        ("voc-fcn8s", "fcn8s-vgg16-atonce", "staged net's weights", "fcn8s-vgg16"),
        ("voc-fcn8s-atonce", "voc-fcn8s", "at-once weights", "voc-fcn8s-atonce"),
        ("voc-fcn8s-atonce", "fcn8s-vgg16", "at-once weights", "fcn8s-vgg16-atonce"),
    ],
)
def test_staged_and_at_once_files_are_not_mixed(
    tmp_path: Path, name: str, net: str, said: str, way: str
) -> None:
    path = written(tmp_path / "a.caffemodel", name)
    with pytest.raises(ModelError, match=said) as caught:
        import_weights(path, tmp_path / "a.safetensors", net=net)
    assert caught.value.code == "M040"
    done = import_weights(path, tmp_path / "a.safetensors", net=way)
    assert done.header.net == way


def test_factors_of_another_number_of_channels_are_refused(tmp_path: Path) -> None:
    layers = RELEASED["voc-fcn8s-atonce"] | {"scale_pool4": ((256 // NARROW,),)}
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(layers))
    with pytest.raises(ModelError, match=r"`scale_pool4.weight` is \[16\], expected \[32\]"):
        import_weights(tmp_path / "a.caffemodel", tmp_path / "o.safetensors")


@pytest.mark.parametrize(
    ("head_of", "counts", "name"),
    [
        (head(HEADS[8], 5), {"classes": 5}, "fcn8s-vgg16"),
        (head(AT_ONCE, 5), {"classes": 5}, "fcn8s-vgg16-atonce"),
        (
            head(HEADS[16], 5, "_labels") | head(HEADS[16], 4, "_geometry"),
            {"heads": {"labels": 5, "geometry": 4}},
            "fcn16s-vgg16",
        ),
    ],
)
def test_nets_of_other_classes_and_heads_are_known_too(
    tmp_path: Path, head_of: dict, counts: dict, name: str
) -> None:
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(trunk(VGG) | head_of))
    done = import_weights(tmp_path / "a.caffemodel", tmp_path / "a.safetensors")
    assert (done.header.net, done.header.options) == (name, counts | {"width": 1 / NARROW})


LIGHT = {  # layers of the nets of 2014, those that name the layer or the map (fact sheet 10.4)
    "score_fr": ("score", "score59", "score-fr"),
    "upscore2": ("score2", "upscore2", "score2"),
    "score_pool4": ("score-pool4",) * 3,
    "upscore_pool4": ("score4", "upsample-fused-16", "score4"),
    "score_pool3": ("score-pool3",) * 3,
    "upscore8": ("bigscore", "upsample", "upsample"),
}


@pytest.mark.parametrize("spelling", range(3))
def test_the_light_nets_of_2014_are_known_by_their_names(tmp_path: Path, spelling: int) -> None:
    today = RELEASED["pascalcontext-fcn8s"]
    light = {LIGHT.get(n, (n,) * 3)[spelling]: shapes for n, shapes in today.items()}
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(light, v1=True))
    done = import_weights(tmp_path / "a.caffemodel", tmp_path / "a.safetensors")
    assert done.header.net == "pascalcontext-fcn8s"
    assert done.transplant is not None
    assert "names of the light 2014 nets were translated" in done.transplant.notes
    _, tensors = load_checkpoint(done.out)
    score = LIGHT["score_fr"][spelling]
    assert torch.equal(
        tensors["score_fr.weight"], torch.from_numpy(numbers(today["score_fr"][0], score))
    )


def foreign(shapes: dict[str, tuple[int, ...]], name: str = "") -> Foreign:
    return Foreign("caffe", {k: torch.empty(s, device="meta") for k, s in shapes.items()}, name)


def test_a_file_that_names_a_net_of_its_layers_is_that_net(tmp_path: Path) -> None:
    shapes = spec("fcn32s-vgg16").parameter_shapes(stored=True)
    assert recognise_net(foreign(shapes), tmp_path) == "voc-fcn32s"
    assert recognise_net(foreign(shapes, "fcn32s-vgg16"), tmp_path) == "fcn32s-vgg16"
    assert recognise_net(foreign(shapes, "fcn8s-vgg16"), tmp_path) == "voc-fcn32s"


def test_a_file_with_a_layer_more_or_less_is_no_known_net(tmp_path: Path) -> None:
    shapes = spec("fcn32s-vgg16").parameter_shapes()
    more = shapes | {"conv6.weight": (1, 1, 1, 1)}
    less = {k: v for k, v in shapes.items() if not k.startswith("conv3_2")}
    grey = shapes | {"conv1_1.weight": (64, 1, 3, 3)}
    assert [recognise_net(foreign(s), tmp_path) for s in (more, less, grey)] == ["", "", ""]


@pytest.mark.parametrize("shape", [(), (0, 4096, 1, 1), (21,), (21, 4096)])
@pytest.mark.parametrize("layer", ["score_fr", "score_fr_sem", "score_fr_\u00fc", "conv1_1"])
def test_odd_shapes_and_names_are_no_net_and_no_crash(
    tmp_path: Path, layer: str, shape: tuple[int, ...]
) -> None:
    shapes = spec("fcn32s-vgg16").parameter_shapes()
    shapes = {k: v for k, v in shapes.items() if k != "score_fr.weight"}
    found = recognise_net(foreign(shapes | {f"{layer}.weight": shape}), tmp_path)
    # With numbers it is the score layer of 21 classes, of a head that has no name or one.
    scored = {"score_fr": "voc-fcn32s", "score_fr_sem": "fcn32s-vgg16"}
    assert found == (scored.get(layer, "") if shape in [(21,), (21, 4096)] else "")


@pytest.mark.parametrize(
    ("width", "found"), [(0.5, 0.5), (1.0, None), (2.0, 2.0), (8.0, 8.0), (16.0, None)]
)
def test_the_width_of_a_copy_is_told_by_its_first_layer(width: float, found: float | None) -> None:
    """Up to eight times the channels; of a wider one the file does not fit, and is told so."""
    shapes = {
        layer: (round(shape[0] * width), *(round(n * width) for n in shape[1:2]), *shape[2:])
        for layer, shape in recognition._weights(spec("fcn8s-tiny", classes=3)).items()
    }
    first = next(iter(shapes))
    shapes[first] = (shapes[first][0], 3, 3, 3)
    narrow = recognition._narrow("fcn8s-tiny", {"classes": 3}, shapes)
    assert narrow == ({} if found is None else {"width": found})
    last = [*shapes][-1]
    odd = shapes | {last: (shapes[last][0] + 1, *shapes[last][1:])}
    assert recognition._narrow("fcn8s-tiny", {"classes": 3}, odd) == {}
    fewer = {layer: shape for layer, shape in shapes.items() if layer != last}
    assert recognition._narrow("fcn8s-tiny", {"classes": 3}, fewer) == narrow
    assert recognition._narrow("fcn8s-tiny", {"classes": 3, "width": 1.0}, shapes) == {}
    assert recognition._narrow("fcn8s-tiny", {"classes": 3}, {}) == {}


def test_classifiers_are_known_with_what_helped_to_train_them(tmp_path: Path) -> None:
    shapes = spec("googlenet").parameter_shapes() | {"loss1/conv.weight": (128, 512, 1, 1)}
    assert recognise_net(foreign(shapes), tmp_path) == "googlenet"


def test_an_own_checkpoint_is_of_the_net_it_names(tmp_path: Path) -> None:
    save_random(tmp_path / "a.safetensors", "fcn8s-vgg16-tight", classes=3, width=1 / NARROW)
    done = import_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert done.header.net == "fcn8s-vgg16-tight"
    assert done.header.options == {"classes": 3, "width": 1 / NARROW}


def test_the_way_out_of_a_tight_net_is_the_net_of_caffes_geometry(tmp_path: Path) -> None:
    net = save_random(tmp_path / "a.safetensors", "fcn8s-vgg16-tight", classes=3, width=1 / NARROW)
    out = tmp_path / "b.safetensors"
    done = import_weights(tmp_path / "a.safetensors", out, net="fcn8s-vgg16")
    assert done.header.options == {"classes": 3, "width": 1 / NARROW}
    assert done.header.classes == ("class 0", "class 1", "class 2")
    tensors, wanted = load_checkpoint(out)[1], net.state_dict()
    assert all(torch.equal(tensors[k], wanted[k]) for k in wanted)
    assert export_weights(out, tmp_path / "b.caffemodel").net == "fcn8s-vgg16"


def test_the_command_says_which_net_it_took(tmp_path: Path) -> None:
    path = written(tmp_path / "a.caffemodel", "voc-fcn-alexnet")
    call = ["import", str(path), "-o", str(tmp_path / "a.safetensors"), "--json"]
    done = CliRunner().invoke(app, call)
    assert json.loads(done.stdout)["net"] == "voc-fcn-alexnet"
    assert "these are the layers of voc-fcn-alexnet" in json.loads(done.stdout)["notes"][-1]
