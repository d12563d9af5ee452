"""A model as another runtime's file: compared before it is kept, and predicted from afterwards."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pixelwise as pw
from pixelwise.cli.app import app
from pixelwise.errors import ModelError, ResourceError, UsageError
from pixelwise.export import export as exporting
from pixelwise.export import formats
from pixelwise.export.export import export_model
from random_weights import save_random
from small_model import CLASSES, pixels, save_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "net.safetensors")


@pytest.fixture
def exported(model: Path) -> Path:
    return export_model(model, model.with_suffix(".onnx")).files[0]


def test_a_file_is_compared_where_the_net_takes_the_size(model: Path, tmp_path: Path) -> None:
    done = export_model(model, tmp_path / "a.onnx")
    assert [one.size for one in done.checked] == [(1, 1), (37, 501), (375, 500), (500, 500)]
    assert max(one.error for one in done.checked) < 1e-5
    assert done.outputs == ("score",)
    save_random(tmp_path / "vgg.safetensors", "vgg16", width=1 / 32)
    done = export_model(tmp_path / "vgg.safetensors", tmp_path / "vgg.onnx")
    assert [one.size for one in done.checked] == [(375, 500), (500, 500)]


def test_what_a_user_must_know_stands_in_the_file(exported: Path) -> None:
    loaded = onnx.load(exported)
    notes = {entry.key: entry.value for entry in loaded.metadata_props}
    assert json.loads(notes["classes"]) == list(CLASSES)
    assert json.loads(notes["palette"])[0] == [128, 0, 0]
    assert json.loads(notes["preprocess"])["mean"] == [128.0] * 3
    assert loaded.opset_import[0].version == 19
    (given,) = loaded.graph.output
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == [
        "batch",
        3,
        "score_height",
        "score_width",
    ]


def test_predictions_from_the_file_are_those_of_the_model(model: Path, exported: Path) -> None:
    ours, theirs = pw.load(model), pw.load(exported)
    assert theirs.classes == CLASSES
    for size in ((1, 1), (40, 56), (61, 33)):
        image = pixels(size)
        a = ours.predict(image, probabilities=True)
        b = theirs.predict(image, probabilities=True)
        assert np.abs(a.probabilities - b.probabilities).max() < 1e-5
        assert (a.labels == b.labels).all()
    zoomed = theirs.shown(zoom="1,1.5", mirror=True).predict(image)
    assert (zoomed.labels == ours.shown(zoom="1,1.5", mirror=True).predict(image).labels).all()


def test_several_heads_and_inputs_keep_their_order(tmp_path: Path) -> None:
    place = tmp_path / "two.safetensors"
    inputs, heads = {"color": 3, "hha": 3}, {"sem": 4, "geo": 3}
    save_random(place, "fcn16s-tiny", inputs=inputs, heads=heads, fusion="sum", width=0.25)
    done = export_model(place, tmp_path / "two.onnx")
    assert done.outputs == ("sem", "geo")
    image = pixels((45, 50)).repeat(2, axis=2)
    ours, theirs = (pw.load(p).predict(image).heads for p in (place, tmp_path / "two.onnx"))
    assert {h: p.labels.max() for h, p in theirs.items()} == {
        h: p.labels.max() for h, p in ours.items()
    }
    for head, prediction in ours.items():
        assert (prediction.labels == theirs[head].labels).all()


def test_labels_alone_are_for_other_programs(model: Path, tmp_path: Path) -> None:
    done = export_model(model, tmp_path / "l.onnx", labels=True)
    assert done.outputs == ("labels",)
    assert min(one.labels for one in done.checked) > 0.999
    with pytest.raises(ModelError, match="gives labels alone") as caught:
        pw.load(tmp_path / "l.onnx")
    assert "--labels" in caught.value.hint


def test_a_pt2_has_one_size_and_the_same_bits(model: Path, tmp_path: Path) -> None:
    done = export_model(model, tmp_path / "a.pt2", size=(33, 47))
    assert [(one.size, one.error, one.labels) for one in done.checked] == [((33, 47), 0.0, 1.0)]
    program = torch.export.load(tmp_path / "a.pt2")  # our own file; the product never loads one
    assert program.module()(torch.zeros(1, 3, 33, 47))[0].shape == (1, 3, 33, 47)
    with pytest.raises(ModelError, match="whose reader can run code, is refused"):
        pw.load(tmp_path / "a.pt2")


def test_scores_that_differ_leave_no_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = formats.MAKE["onnx"]

    def wrong(work: formats.Work, scratch: Path) -> formats.Made:
        made = right(work, scratch)
        return formats.Made(made.contents, lambda x: [s * 1.001 for s in made.carry(x)])

    monkeypatch.setitem(formats.MAKE, "onnx", wrong)
    with pytest.raises(ModelError, match=r"at 1x1 scores differ by 1.0e-03 of the largest"):
        export_model(model, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_places_are_checked_before_work_begins(model: Path, exported: Path) -> None:
    for out, code in (("a.bin", "U001"), ("a.onnx", "U003")):
        if code == "U003":
            exported.rename(exported.with_name("a.onnx"))
        with pytest.raises(UsageError) as caught:
            export_model(model, model.with_name(out))
        assert caught.value.code == code
    with pytest.raises(UsageError, match=r"expected a name that ends in .xml"):
        export_model(model, model.with_name("b.onnx"), format="openvino")
    export_model(model, model.with_name("a.onnx"), force=True)


def test_a_full_disk_leaves_what_stood_there(
    model: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exported.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResourceError) as caught:
        export_model(model, exported, force=True)
    assert caught.value.code == "R001"
    assert exported.read_bytes() == before


def test_a_missing_package_is_named_with_its_extra(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ResourceError, match="onnxruntime is not installed") as caught:
        export_model(model, tmp_path / "a.onnx")
    assert (caught.value.code, caught.value.hint) == ("R008", "pip install 'pixelwise[export]'")


def changed(path: Path, how: str) -> Path:
    """The file as a stranger might make it."""
    loaded = onnx.load(path)
    first = loaded.graph.initializer[0]
    if how == "weights elsewhere":
        onnx.external_data_helper.set_external_data(first, "../../etc/passwd")
        first.ClearField("raw_data")
        first.data_location = onnx.TensorProto.EXTERNAL
    elif how == "an operator of its own":
        loaded.graph.node[0].domain = "com.other"
    elif how == "a graph within":
        inner = onnx.helper.make_graph([], "inner", [], [])
        loaded.graph.node[0].attribute.append(onnx.helper.make_attribute("body", inner))
    elif how == "no header":
        del loaded.metadata_props[:]
    path.write_bytes(loaded.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("weights elsewhere", "M010"),
        ("an operator of its own", "M010"),
        ("a graph within", "M010"),
        ("no header", "M040"),
    ],
)
def test_strange_files_are_refused_before_they_run(exported: Path, how: str, code: str) -> None:
    with pytest.raises(ModelError) as caught:
        pw.load(changed(exported, how))
    assert caught.value.code == code
    assert str(exported) in str(caught.value)


def test_damaged_files_are_refused(exported: Path) -> None:
    whole = exported.read_bytes()
    for content in (b"", b"\x08\x09", whole[: len(whole) // 2], b"\x00" * 100):
        exported.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            pw.load(exported)
        assert caught.value.code in {"M002", "M040"}


def test_bf16_is_no_choice_of_an_onnx_file(exported: Path) -> None:
    with pytest.raises(UsageError, match="ONNX Runtime computes it in fp32"):
        pw.load(exported, precision="bf16")


def test_openvino_gives_the_same(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    done = export_model(model, tmp_path / "a.xml")
    assert [path.suffix for path in done.files] == [".xml", ".bin"]
    assert max(one.error for one in done.checked) < 1e-5
    image = pixels((45, 50))
    ours, theirs = (pw.load(p).predict(image) for p in (model, tmp_path / "a.xml"))
    assert (ours.labels == theirs.labels).mean() > 0.999
    assert pw.load(tmp_path / "a.xml", precision="bf16").predict(image).labels.shape == (45, 50)


def test_the_command_says_how_the_file_compares(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    shown = CliRunner().invoke(app, ["export", str(model), "-o", str(out), "--json"])
    said = json.loads(shown.stdout)
    assert said["files"] == [str(out)]
    assert said["checked"][1]["size"] == [37, 501]
    assert said["checked"][1]["labels"] == 1.0
    assert exporting.SUFFIXES[said["format"]] == ".onnx"
