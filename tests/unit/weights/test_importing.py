from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import torch
from caffe_writer import layer, packed, shape, v1_layer
from test_names import mobilenetv2
from typer.testing import CliRunner

from pixelwise.cli.weights import app
from pixelwise.engine.build import build
from pixelwise.errors import ModelError, UsageError
from pixelwise.pictures.bands import InputKind
from pixelwise.weights import importing
from pixelwise.weights.checkpoint import HeadClasses, Header, load_checkpoint, save_checkpoint
from pixelwise.weights.importing import import_weights, read_class_names
from pixelwise.weights.load import read_weights
from pixelwise.weights.names import recognise, renamed
from values import changeable


def filled(*dims: int, value: float = 0.0) -> bytes:
    """A blob with its shape."""
    return shape(*dims) + packed(5, [value] * torch.Size(dims).numel())


@pytest.fixture
def caffe(tmp_path: Path) -> Path:
    """The first layers of VGG16, a fully connected one, norms: a Caffe file of both layouts."""
    path = tmp_path / "odd.caffemodel"
    path.write_bytes(
        layer("conv1_1", "Convolution", filled(64, 3, 3, 3, value=0.5), filled(64))
        + v1_layer("ip", 14, filled(1, 1, 2, 3), filled(1, 1, 1, 2))
        + layer("bn", "BatchNorm", filled(2, value=6.0), filled(2, value=3.0), filled(1, value=3.0))
        + layer("bn0", "BatchNorm", filled(1, value=6.0), filled(1, value=3.0), filled(1))
        + layer("scale", "Scale", filled(2, value=2.0), filled(2, value=1.0))
        + layer("prelu", "PReLU", filled(2, value=0.25))
        + layer("three", "Python", filled(1), filled(2), filled(3), filled(4))
        + layer("relu", "ReLU")
    )
    return path


def test_blobs_are_stored_under_the_files_own_names(caffe: Path, tmp_path: Path) -> None:
    done = import_weights(caffe, tmp_path / "out.safetensors")
    header, tensors = load_checkpoint(done.out)
    assert done.transplant is None
    assert (header.net, header.preprocess["order"]) == ("", "bgr")
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "conv1_1.weight": (64, 3, 3, 3),
        "conv1_1.bias": (64,),
        "ip.weight": (2, 3),
        "ip.bias": (2,),
        "bn.running_mean": (2,),
        "bn.running_var": (2,),
        "bn0.running_mean": (1,),
        "bn0.running_var": (1,),
        "scale.weight": (2,),
        "scale.bias": (2,),
        "prelu.weight": (2,),
        "three.weight": (1,),
        "three.bias": (2,),
        "three.blob2": (3,),
        "three.blob3": (4,),
    }
    # Caffe stores sums and the number of summands; none at all counts as zero.
    assert tensors["bn.running_mean"].tolist() == [2, 2]
    assert tensors["bn.running_var"].tolist() == [1, 1]
    assert tensors["bn0.running_mean"].tolist() == [0]


def test_what_was_read_and_planned_cannot_be_changed(caffe: Path, tmp_path: Path) -> None:
    done = import_weights(caffe, tmp_path / "out.safetensors")
    with pytest.raises(FrozenInstanceError):
        done.foreign.name = "another"  # type: ignore[misc]
    assert changeable("weights") == []


def test_of_two_layers_with_one_name_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "twice.caffemodel"
    path.write_bytes(layer("a", "X", filled(2), filled(1)) + layer("a", "X", filled(3)))
    foreign = read_weights(path)
    assert {k: v.numel() for k, v in foreign.tensors.items()} == {"a.weight": 3}
    assert foreign.notes == ("layer a stands twice in the file; the later one counts",)


def test_caffe_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.caffemodel"
    path.write_bytes(layer("a", "X", filled(2, value=float("nan"))))
    with pytest.raises(ModelError, match=r"`a.weight` holds 2") as caught:
        read_weights(path)
    assert caught.value.code == "M020"


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A torchvision state dict with torchvision's names and shapes, and a head of 7 classes."""
    torch.manual_seed(0)
    net = build("mobilenetv2", classes=7)
    keys = list(mobilenetv2())
    known = recognise(keys)
    assert known is not None
    ours = renamed(keys, known.layers)
    state = net.state_dict()
    path = tmp_path_factory.mktemp("torchvision") / "mobilenet_v2.pth"
    torch.save({k: state[ours[k]] for k in keys}, path)
    return path


def test_torchvisions_weights_become_a_classifier(mobilenet: Path, tmp_path: Path) -> None:
    done = import_weights(mobilenet, tmp_path / "out.safetensors", net="mobilenetv2")
    header, tensors = load_checkpoint(done.out, net=build("mobilenetv2", classes=7))
    assert header.options == {"classes": 7}  # as many as the file has
    assert header.classes == tuple(f"class {i}" for i in range(7))
    assert header.preprocess["mean"] == [0.485, 0.456, 0.406]
    theirs = torch.load(mobilenet, weights_only=True)
    assert torch.equal(tensors["block3_dwise.weight"], theirs["features.3.conv.1.0.weight"])
    assert torch.equal(tensors["fc1000.weight"].flatten(), theirs["classifier.1.weight"].flatten())


def test_they_become_the_trunk_of_an_fcn(mobilenet: Path, tmp_path: Path) -> None:
    done = import_weights(
        mobilenet, tmp_path / "a.safetensors", net="fcn16s-mobilenetv2", class_names=("sky", "sea")
    )
    assert done.transplant is not None
    assert {r.source for r in done.transplant.of("dropped")} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }
    header, tensors = load_checkpoint(done.out)
    assert (header.classes, header.options["classes"]) == (("sky", "sea"), 2)
    assert not tensors["score_fr.weight"].any()
    again = import_weights(
        mobilenet, tmp_path / "b.safetensors", net="fcn16s-mobilenetv2", class_names=("sky", "sea")
    )
    assert again.out.read_bytes() == done.out.read_bytes()


def test_an_own_checkpoint_keeps_classes_colours_and_preprocessing(tmp_path: Path) -> None:
    net = build("fcn8s-tiny", classes=2, width=0.5)
    header = Header(
        "fcn8s-tiny",
        {"classes": 2, "width": 0.5},
        ("road", "rest"),
        ((1, 2, 3), (4, 5, 6)),
        {"order": "rgb", "scale": 1.0, "mean": [9.0] * 3, "std": [1.0] * 3},
    )
    path = save_checkpoint(tmp_path / "run.safetensors", net.state_dict(), header)
    done = import_weights(path, tmp_path / "same.safetensors", net="fcn8s-tiny")
    again = load_checkpoint(done.out, net=net)[0]
    assert (again.classes, again.palette, again.options) == (
        header.classes,
        header.palette,
        header.options,
    )
    assert again.preprocess == header.preprocess


def test_an_own_checkpoint_keeps_the_names_of_its_heads_and_inputs(tmp_path: Path) -> None:
    two, kinds = {"labels": 3, "geometry": 2}, {"color": InputKind(3, "uint8")}
    heads = {head: HeadClasses(tuple(f"{head} {i}" for i in range(n))) for head, n in two.items()}
    for own in (heads, {"labels": heads["labels"]}):
        options = {"heads": two} if len(own) > 1 else {"classes": 3}
        net = build("fcn8s-tiny", width=0.5, **options)
        header = Header("fcn8s-tiny", {"width": 0.5, **options}, heads["labels"].classes)
        header = replace(header, heads=own, inputs=kinds)
        path = save_checkpoint(tmp_path / f"{len(own)}.safetensors", net.state_dict(), header)
        again = import_weights(path, tmp_path / f"{len(own)}-again.safetensors").header
        assert (again.net, again.options) == ("fcn8s-tiny", header.options)
        assert (again.heads, again.inputs, again.classes) == (own, kinds, header.classes)


def test_files_that_do_not_fit_are_refused_and_nothing_is_written(
    caffe: Path, mobilenet: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(ModelError, match=r"torchvision's mobilenetv2.* fits") as caught:
        import_weights(mobilenet, out, net="fcn8s-vgg16")
    assert caught.value.code == "M040"
    wrong = tmp_path / "wrong.caffemodel"
    wrong.write_bytes(layer("conv1_1", "Convolution", filled(64, 4, 3, 3), filled(64)))
    with pytest.raises(ModelError, match=r"`conv1_1.weight` is \[64, 4, 3, 3\], expected"):
        import_weights(wrong, out, net="fcn8s-vgg16")
    with pytest.raises(UsageError, match="no net is called `fcn9s`"):
        import_weights(caffe, out, net="fcn9s")
    with pytest.raises(UsageError, match="1 class names for 2 classes"):
        import_weights(mobilenet, out, net="fcn8s-mobilenetv2", classes=2, class_names=("a",))
    assert not out.exists()


def test_a_trunk_that_is_not_all_there_is_refused(tmp_path: Path) -> None:
    """Random layers in a checkpoint would look like trained ones."""
    tensors = build("fcn8s-tiny", classes=3).state_dict()
    kept = {k: v for k, v in tensors.items() if not k.startswith(("conv2_1", "bn2_1"))}
    path = save_checkpoint(tmp_path / "part.safetensors", kept, Header("", classes=tuple("abc")))
    with pytest.raises(ModelError, match=r"tensors of the net are not in the file: .*conv2_1") as e:
        import_weights(path, tmp_path / "out.safetensors", net="fcn8s-tiny")
    assert e.value.code == "M040"
    assert not (tmp_path / "out.safetensors").exists()
    assert "train --weights" in e.value.hint


def test_names_for_another_number_of_classes_are_refused(mobilenet: Path, tmp_path: Path) -> None:
    """A list with a line too many must not throw the classifier away."""
    names = tuple(f"c{i}" for i in range(1001))
    with pytest.raises(UsageError, match="1001 class names for 7 classes") as caught:
        import_weights(mobilenet, tmp_path / "o.safetensors", net="mobilenetv2", class_names=names)
    assert caught.value.hint.startswith("--classes 1001")


def test_nothing_is_overwritten_unasked(caffe: Path, tmp_path: Path) -> None:
    before, out = caffe.read_bytes(), tmp_path / "out.safetensors"
    link = tmp_path / "link.caffemodel"
    link.symlink_to(caffe)
    for same in (caffe, link):
        with pytest.raises(UsageError, match="is the file to be read") as caught:
            import_weights(caffe, same, force=True)
        assert caught.value.code == "U003"
    run = tmp_path / "run"
    best = save_checkpoint(run / "weights/best.safetensors", {"w": torch.ones(1)}, Header(""))
    with pytest.raises(UsageError, match="is the file to be read"):
        import_weights(run, best, force=True)
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists already") as caught:
        import_weights(caffe, out)
    assert caught.value.hint.endswith("--force")
    assert out.read_text() == "mine"
    import_weights(caffe, out, force=True)
    assert load_checkpoint(out)
    assert caffe.read_bytes() == before


def test_classes_without_a_net_are_refused(caffe: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none is named"):
        import_weights(caffe, tmp_path / "out.safetensors", classes=5)


def test_class_names_lose_quotes_and_wordnet_ids(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("'n02123045 tabby, tabby cat'\n\n  road \nn1 way\n", encoding="utf-8")
    assert read_class_names(path) == ("tabby, tabby cat", "road", "n1 way")
    path.write_bytes(b"\xef\xbb\xbfroad\r\nsky\r\n")  # as Windows writes UTF-8
    assert read_class_names(path) == ("road", "sky")
    for content in (b"", b"\xff\xfe\xfa"):
        path.write_bytes(content)
        with pytest.raises(UsageError):
            read_class_names(path)
    with pytest.raises(UsageError, match="expected a text file"):
        read_class_names(tmp_path / "none.txt")


def test_a_list_of_names_is_read_up_to_its_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert importing.MAX_NAMES_FILE == 4_194_304
    monkeypatch.setattr(importing, "MAX_NAMES_FILE", 8)
    path = tmp_path / "names.txt"
    path.write_bytes(b"road\nsky")
    assert read_class_names(path) == ("road", "sky")
    for content in (b"road\nsky\n", b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="expected a text file"):
            read_class_names(path)
    with pytest.raises(UsageError, match="expected a text file"):
        read_class_names(tmp_path)


def heads_of(**heads: tuple[str, ...]) -> Header:
    kept = {name: HeadClasses(classes) for name, classes in heads.items()}
    return Header("", classes=next(iter(heads.values())), heads=kept)


@pytest.mark.parametrize(
    ("header", "ours", "others"),
    [
        (None, {"a": ("x", "y")}, {}),
        (Header("", classes=("x", "y")), {"a": ("x", "y")}, {}),
        (Header("", classes=("x", "y")), {"a": ("y", "x")}, {"a": ("x", "y")}),
        (Header("", classes=("x", "y")), {"a": ("x",), "b": ("y",)}, {}),  # of which of the two?
        (heads_of(other=("x", "y")), {"a": ("x", "z")}, {"a": ("x", "y")}),  # one head is one head
        (heads_of(a=("x",), b=("y",)), {"a": ("x",), "b": ("z",)}, {"b": ("y",)}),
        (heads_of(a=("x",), b=("y",)), {"a": ("z",)}, {"a": ("x",)}),
        (heads_of(a=("x",), b=("y",)), {"c": ("z",)}, {}),
        # Mere numbers name nothing, on either side.
        (Header("", classes=("class 0", "class 1")), {"a": ("x", "y")}, {}),
        (Header("", classes=("x", "y")), {"a": ("class 0", "class 1", "class 2")}, {}),
    ],
)
def test_classes_are_others_where_both_name_them_and_differ(
    header: Header | None, ours: dict, others: dict
) -> None:
    assert dict(importing._others(header, ours)) == others


def test_a_heads_layers_are_those_that_end_in_its_name() -> None:
    net = build("fcn8s-tiny", heads={"a": 2, "b_a": 3}, width=1 / 16).net
    scores = ("score_fr", "score_pool4", "score_pool3")
    for head in ("a", "b_a"):
        layers = importing._layers_of(head, ["a", "b_a"], net)
        assert {n for n in layers if n.startswith("score")} == {f"{s}_{head}" for s in scores}
    one = build("fcn8s-tiny", classes=2, width=1 / 16).net
    assert {*scores} <= {*importing._layers_of("labels", ["labels"], one)}


def test_what_becomes_of_classes_is_told_in_a_sentence() -> None:
    for theirs, ours, said in (
        ("abc", "ab", "classes by name: a, b keep their scores; no longer there: c"),
        ("ab", "bcd", "classes by name: b keep their scores; new: c, d; no longer there: a"),
        ("ab", "ba", "classes by name: b, a keep their scores"),
    ):
        assert list(importing._classes_told(theirs, ours)) == [said]


# -- the command ------------------------------------------------------------------------------
def test_import_prints_one_json_document(mobilenet: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    out = tmp_path / "out.safetensors"
    arguments = ["import", str(mobilenet), "-o", str(out), "--net", "fcn8s-mobilenetv2"]
    ran = CliRunner().invoke(app, [*arguments, "--class-names", str(names), "--json"])
    assert ran.exit_code == 0, ran.output
    printed = json.loads(ran.stdout)
    assert printed["options"] == {"classes": 3}
    counts = printed["transplant"]["counts"]
    assert (counts["dropped"], counts["missing"], counts["mismatched"]) == (2, 6, 0)
    assert counts["copied"] == len(load_checkpoint(out)[1]) - 6
    assert "wrote" in ran.stderr


def test_import_prints_what_was_copied_dropped_and_missing(mobilenet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    ran = CliRunner().invoke(
        app, ["import", str(mobilenet), "-o", str(out), "--net", "fcn8s-mobilenetv2"]
    )
    lines = [line for line in ran.stdout.splitlines() if "score_fr.weight" in line]
    assert "missing" in lines[0]
    assert "score layer, starts anew" in lines[0]
    dropped = next(x for x in ran.stdout.splitlines() if "classifier.1.weight" in x)
    assert "dropped" in dropped
    assert "no layer of this name" in dropped


def test_show_accounts_for_every_byte(caffe: Path) -> None:
    ran = CliRunner().invoke(app, ["show", str(caffe), "--json"])
    printed = json.loads(ran.stdout)
    assert sum(printed["accounting"].values()) == printed["bytes"] == caffe.stat().st_size
    assert printed["layers"][0]["type"] == "Convolution"
    prelu = next(t for t in printed["tensors"] if t["name"] == "prelu.weight")
    assert (prelu["type"], prelu["min"], prelu["shape"]) == ("PReLU", 0.25, [2])
    plain = CliRunner().invoke(app, ["show", str(caffe)])
    assert printed["sha256"] in plain.stdout
    assert "bn.running_var" in plain.stdout


def test_show_verifies_a_checksum(caffe: Path) -> None:
    ran = CliRunner().invoke(app, ["show", str(caffe), "--expect-sha256", "0" * 64])
    assert isinstance(ran.exception, ModelError)
    assert "expected 000" in str(ran.exception)


def test_brackets_in_names_are_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(layer("[bold]x[/none]", "X", filled(1)))
    ran = CliRunner().invoke(app, ["show", str(path)])
    assert ran.exit_code == 0, ran.exception
    assert "[bold]x[/none].weight" in ran.stdout


def test_help_does_not_need_torch() -> None:
    code = "import sys, pixelwise.cli.weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
