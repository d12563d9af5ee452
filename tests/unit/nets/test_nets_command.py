"""``pixelwise nets``: one JSON document, or a table that reads well in a pipe."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from pixelwise.cli.arguments import parse_size
from pixelwise.cli.nets import nets
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import NETS

app = typer.Typer()
app.command()(nets)


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_json_of_a_net_is_the_documented_one() -> None:
    found = json.loads(run("fcn8s-vgg16", "--size", "500x500", "--json"))
    assert set(found) == {
        "inputs",
        "heads",
        "preprocess",
        "published_weights",
        "parameters",
        "parameters_with_upsampling",
        "receptive_field",
        "stride",
        "conv_layers",
        "macs",
        "output_size",
        "crops",
        "layers",
    }
    assert found["crops"] == {"score_pool4c": 5, "score_pool3c": 9, "score": 31}
    assert found["output_size"] == [500, 500]
    assert (found["receptive_field"], found["stride"]) == (404, 32)


def test_json_writes_an_infinite_field_as_null() -> None:
    assert json.loads(run("resnet18", "--size", "224x224", "--json"))["receptive_field"] is None


def test_options_reach_the_net() -> None:
    words = ("--size", "64x96", "--classes", "4", "--channels", "2", "--width", "0.25", "--json")
    found = json.loads(run("fcn8s-tiny", *words))
    rows = {row["name"]: row for row in found["layers"]}
    assert found["output_size"] == [64, 96]
    assert (rows["data"]["channels"], rows["conv1_1"]["channels"], rows["score"]["channels"]) == (
        2,
        4,
        4,
    )


def test_several_inputs_and_heads_are_told_by_name() -> None:
    found = json.loads(run("nyud-fcn32s-color-hha", "--size", "425x560", "--json"))
    assert found["inputs"] == {"color": 3, "hha": 3}
    assert (found["heads"], found["output_size"]) == ({"score": 40}, [425, 560])
    assert found["preprocess"] == "nyud-color-hha"
    assert found["published_weights"] == "nyud-fcn32s-color-hha-heavy.caffemodel"
    fused = next(row for row in found["layers"] if row["name"] == "score_fused")
    assert fused["coefficients"] == [0.5, 0.5]
    words = ("--heads", "a=3, b=2", "--inputs", "color=3,depth=1", "--fusion", "sum", "--json")
    found = json.loads(run("fcn8s-tiny", "--size", "64x96", *words))
    assert (found["inputs"], found["heads"]) == ({"color": 3, "depth": 1}, {"a": 3, "b": 2})
    assert found["output_size"] == {"a": [64, 96], "b": [64, 96]}
    text = run("siftflow-fcn8s", "--size", "256x256")
    assert "sem 33x256x256; geo 3x256x256" in text
    text = run("nyud-fcn32s-color-hha")
    assert "color 3, hha 3" in text
    assert "0.5 + 0.5" in text


@pytest.mark.parametrize("heads", ["sem", "sem=a", "sem=3,sem=3", "=3", "a=1,,b=2"])
def test_parts_of_another_form_are_refused(heads: str) -> None:
    with pytest.raises(UsageError, match="expected each name once, with its number"):
        run("fcn8s-tiny", "--heads", heads)


def test_the_listing_keeps_heads_and_inputs_that_are_a_nets_own() -> None:
    listed = {row["name"]: row for row in json.loads(run("--classes", "5", "--json"))}
    assert listed["siftflow-fcn32s"]["parameters"] == 134_408_036
    assert listed["voc-fcn32s"]["parameters"] == listed["fcn32s-vgg16"]["parameters"] < 134_300_000
    with pytest.raises(UsageError, match="--heads is of one net, and none is named"):
        run("--heads", "a=3")


def test_listing_names_every_net() -> None:
    listed = json.loads(run("--json"))
    assert [row["name"] for row in listed] == list(NETS)
    keys = {"name", "about", "parameters", "stride", "receptive_field", "published_weights"}
    keys.add("relative")
    assert set(listed[0]) == keys
    text = run()
    assert all(name in text for name in NETS)
    assert "134,346,581" in text


def test_text_in_a_pipe_is_plain_and_says_what_matters() -> None:
    text = run("fcn8s-vgg16", "--size", "375x500")
    assert "\x1b" not in text
    assert "fcn8s-vgg16 at 375x500" in text
    assert "score_pool4c 5, score_pool3c 9, score 31" in text
    assert "134,362,751" in text
    assert "offset 31" in text
    assert "3x3 p100" in text
    assert "relu1_1" not in text.split("memory")[0]
    line = next(row for row in text.splitlines() if "fc6" in row)
    assert "4096x12x16" in line
    assert "102,764,544" in line


def test_a_classifier_has_no_offsets_to_explain() -> None:
    text = run("resnet18", "--size", "224x224")
    assert "the whole picture" in text
    assert "offset" not in text


@pytest.mark.parametrize("size", ["500", "0x4", "4x-1", "axb", "5x5x5", ""])
def test_sizes_of_another_form_are_refused(size: str) -> None:
    with pytest.raises(UsageError, match="expected height x width"):
        parse_size(size)


def test_sizes_are_height_by_width() -> None:
    assert parse_size("375x500") == (375, 500)
    assert parse_size(" 375X500 ") == (375, 500)


def test_unknown_net_is_refused_with_similar_names() -> None:
    with pytest.raises(UsageError, match="did you mean `fcn8s-vgg16`"):
        run("fcn8s-vgg")
