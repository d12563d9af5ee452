"""What a net sees, cell by cell."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_model import save_model

from pixelwise import load
from pixelwise.errors import UsageError
from pixelwise.export.export import export_model
from pixelwise.nets import catalog
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.sight import measured_field, stream_labels, streams

IMAGE = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(save_model(tmp_path_factory.mktemp("model") / "m.safetensors")).predictor


def test_streams_are_the_scores_and_their_sums_coarse_to_fine(predictor: Predictor) -> None:
    assert streams(predictor.net, next(iter(predictor.net.outputs))) == (
        *("score_fr", "score_pool4", "fuse_pool4", "score_pool3", "fuse_pool3"),
    )
    net = catalog.spec("fcn32s-vgg16", width=1 / 16)
    assert streams(net, next(iter(net.outputs))) == ("score_fr",)


def test_what_a_stream_would_say_alone_is_compared_with_the_sum(predictor: Predictor) -> None:
    """By the scores themselves: of the coarse stream those that are enlarged and cut to the other's
    place."""
    head = next(iter(predictor.net.outputs))
    made = stream_labels(predictor, IMAGE, head)
    assert [bool(s.differing) for s in made.values()] == [False, False, True, False, True]
    shares = made["fuse_pool4"].differing
    assert list(shares) == list(predictor.net.layers["fuse_pool4"].inputs)
    network, x = predictor.runner.network, torch.from_numpy(predictor.preprocess(IMAGE))[None]
    with torch.no_grad():
        parts = [network.eval().activations(x, [name])[name][0] for name in shares]
    best = [(sum(parts).argmax(0) != own.argmax(0)).float().mean() for own in parts]
    assert list(shares.values()) == pytest.approx([float(share) for share in best])
    assert 0 < max(shares.values()) < 1


def test_the_last_sum_enlarged_by_hand_is_the_prediction(predictor: Predictor) -> None:
    head = next(iter(predictor.net.outputs))
    labels = {name: s.labels for name, s in stream_labels(predictor, IMAGE, head).items()}
    assert [m.shape for m in labels.values()] == [(3, 3), (5, 6), (5, 6), (9, 12), (9, 12)]
    whole = predictor.labels(IMAGE)
    # At the centre of a cell, which lies at 8 i + 3.5, the four nearest pixels are near its class.
    agree = [
        labels["fuse_pool3"][i, j] in whole[8 * i + 3 : 8 * i + 5, 8 * j + 3 : 8 * j + 5]
        for i in range(8)
        for j in range(11)
    ]
    assert np.mean(agree) > 0.95


def test_a_measured_field_lies_inside_the_arithmetic_one(predictor: Predictor) -> None:
    for layer, (row, column) in (("conv1_1", (10, 20)), ("conv2_2", (33, 44)), ("pool3", (50, 8))):
        seen = measured_field(predictor, IMAGE, layer, (row, column))
        sight = predictor.net.sights[layer]
        scale, shift = float(sight.map.scale), float(sight.map.shift)
        rows, columns = np.nonzero(seen)
        for at, places, length in ((row, rows, 70), (column, columns, 90)):
            centre = scale * round((at - shift) / scale) + shift
            half = (sight.field - 1) / 2
            assert places.min() >= max(0, centre - half)
            assert places.max() <= min(length - 1, centre + half)
        assert seen.max() == 1


def test_it_is_the_slope_of_the_strongest_map(predictor: Predictor) -> None:
    seen = measured_field(predictor, IMAGE, "conv1_1", (10, 20))
    weight = predictor.runner.network.get_parameter("conv1_1.weight").detach()  # type: ignore[attr-defined]
    x = torch.from_numpy(predictor.preprocess(IMAGE))[:, 9:12, 19:22]
    strongest = int((weight * x).sum((1, 2, 3)).argmax())
    expected = weight[strongest].abs().sum(0)
    assert np.allclose(seen[9:12, 19:22], expected / expected.max(), atol=1e-6)
    assert np.count_nonzero(seen) == 9


@pytest.mark.parametrize(
    ("layer", "at", "code"), [("conv9", (0, 0), "U001"), ("conv1_1", (70, 0), "U002")]
)
def test_a_layer_or_a_pixel_that_is_not_there_is_refused(
    predictor: Predictor, layer: str, at: tuple[int, int], code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        measured_field(predictor, IMAGE, layer, at)
    assert caught.value.code == code


def test_exported_models_have_no_layers_to_look_at(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    export_model(save_model(tmp_path / "m.safetensors"), tmp_path / "m.onnx", size=(64, 64))
    with pytest.raises(UsageError, match="checkpoint"):
        measured_field(load(tmp_path / "m.onnx").predictor, IMAGE, "conv1_1", (0, 0))
