"""Which file is for which trunk."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.weights.streams import _placed, files_by_stream, refuse_other_streams


@pytest.mark.parametrize(
    ("weights", "files"),
    [
        ("", {"": ""}),
        ("runs/a", {"": "runs/a"}),
        ("color=runs/a", {"color": "runs/a"}),
        ("color=runs/a,hha=b=c,d", {"color": "runs/a", "hha": "b=c,d"}),
        ("color=a,runs/b", {"color": "a,runs/b"}),  # a comma in a name
        ("a,color=b", {"": "a,color=b"}),  # the first names nothing
        ("color=,hha=b", {"": "color=,hha=b"}),
        ("1x=a", {"": "1x=a"}),
        ("a-b_1=c\nd", {"a-b_1": "c\nd"}),
    ],
)
def test_files_are_named_by_their_inputs(weights: str, files: dict[str, str]) -> None:
    assert files_by_stream(weights) == files


def test_a_file_that_is_called_so_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "color=a").touch()
    assert files_by_stream("color=a") == {"": "color=a"}


@pytest.mark.parametrize("weights", ["color=a,color=b", "color=a,hha=b,color=c"])
def test_an_input_that_is_named_twice_is_refused(weights: str) -> None:
    with pytest.raises(UsageError, match="names an input twice") as caught:
        files_by_stream(weights)
    assert caught.value.code == "U002"


def test_every_stream_has_its_file_and_no_other_name_is_one() -> None:
    two, one = spec("nyud-fcn32s-color-hha"), spec("fcn32s-vgg16")
    refuse_other_streams(["hha", "color"], two)
    for streams, said, hint in (
        (["color"], "names no file for the input hha", "--weights color=FILE,hha=FILE"),
        (["color", "hha", "depth"], "depth", "--weights color=FILE,hha=FILE"),
        ([], "names no file for the input color", "--weights color=FILE,hha=FILE"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            refuse_other_streams(streams, two)
        assert hint in caught.value.hint
    with pytest.raises(UsageError, match="files for color, hha, and the net has one trunk"):
        refuse_other_streams(["color", "hha"], one)


def test_a_layers_name_gets_its_stream_before_its_head() -> None:
    net = spec("fcn32s-vgg16", heads={"sem": 2, "geo": 3})
    assert _placed("conv1_1.weight", "color", net) == "conv1_1color.weight"
    assert _placed("score_fr_geo.bias", "color", net) == "score_frcolor_geo.bias"
    assert _placed("conv1/bn.weight", "hha", net) == "conv1/bnhha.weight"
