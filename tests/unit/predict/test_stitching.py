"""Shift-and-stitch against windows, against rarefied nets, and through predictor and commands."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

import pixelwise as pw
from make_data import canonical_set
from make_data import picture as made
from pixelwise.cli.app import app
from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import DataError, UsageError
from pixelwise.geometry import CoordMap
from pixelwise.nets import rarefy
from pixelwise.nets.net import Net
from pixelwise.predict import predictor as predictors
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.stitching import stitched, stitched_grid
from pixelwise.predict.view import View
from small_model import CLASSES, photo, pixels, save_classifier, save_model

PLAIN = Preprocess("rgb", 1.0, (128.0,) * 3, (64.0,) * 3)


def toy(*, upsampled: bool = False, pad: int = 0, kernel: int = 2) -> Net:
    """Stride 4; with ``pad`` large enough its scores are upsampled over the whole picture."""
    net = Net()
    x = net.conv("conv1", net.data(3), 4, kernel=3, pad=pad, relu="relu1")
    x = net.max_pool("pool1", x, 2, 2, ceil=False)
    x = net.conv("conv2", x, 4, kernel=3, relu="relu2")
    x = net.max_pool("pool2", x, 2, 2, ceil=False)
    net.top = net.conv("score_fr", x, 3, kernel=kernel)
    if upsampled:
        net.crop("score", net.upsample("upscore", net.top, 4, like="data"), like="data")
    return net


def runner(net: Net) -> TorchRunner:
    """Whole numbers as weights, in float64: sums of products are exact in any order."""
    network = Network(net).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randint(-4, 5, p.shape, generator=generator).double())
    return TorchRunner(network)


def whole(*size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(-9, 10, (1, 3, *size), generator=generator).double()


# -- the theory, to the bit -----------------------------------------------------------------------
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_each_stitched_cell_is_the_net_on_the_window_around_its_place(factor: int) -> None:
    run, x = runner(toy()), whole(26, 23)
    field = int(run.net.receptive_field)
    (cells,) = (m.cells for m in stitched(run, x, factor).values())
    grid = stitched_grid(run.net, run.net.output, factor)
    assert grid.scale == Fraction(4, factor)
    checked = 0
    for row in range(cells.shape[2]):
        for column in range(cells.shape[3]):
            top, left = (
                int(grid.scale * i + grid.shift - Fraction(field - 1, 2)) for i in (row, column)
            )
            if min(top, left) >= 0 and top + field <= 26 and left + field <= 23:
                window = x[:, :, top : top + field, left : left + field]
                with torch.no_grad():
                    assert torch.equal(run.network(window)[..., 0, 0], cells[..., row, column])
                checked += 1
    # all windows that start on a multiple of the new stride
    by = 4 // factor
    assert checked == ((26 - field) // by + 1) * ((23 - field) // by + 1)


@pytest.mark.parametrize(("factor", "layers"), [(2, ["pool2"]), (4, ["pool1", "pool2"])])
def test_stitched_equals_rarefied_without_any_difference(factor: int, layers: list[str]) -> None:
    run, x = runner(toy()), whole(37, 30)
    finer = runner(rarefy(run.net, *layers))
    (dense,), (cells,) = (
        [m.cells for m in maps.values()] for maps in (finer.maps(x), stitched(run, x, factor))
    )
    rows, columns = dense.shape[-2:]
    first = factor - 1  # cells further left and up see beyond the picture
    inside = cells[..., first : first + rows, first : first + columns]
    assert torch.equal(inside, dense)
    assert dense.std() > 0


@pytest.mark.parametrize("kernel", [2, 3])  # the grid's shift, and so the upsampling's parity
@pytest.mark.parametrize(("factor", "layers"), [(2, ["pool2"]), (4, ["pool1", "pool2"])])
def test_stitched_scores_are_enlarged_by_what_is_left(
    kernel: int, factor: int, layers: list[str]
) -> None:
    pad = 20
    run = runner(toy(upsampled=True, pad=pad, kernel=kernel))
    finer, x = runner(rarefy(run.net, *layers)), whole(61, 64)
    (a,), (b,) = (
        [m.rows(0, 61) for m in maps.values()] for maps in (stitched(run, x, factor), finer.maps(x))
    )
    assert a.shape == b.shape == (1, 3, 61, 64)
    reach = 20  # half of the field, and what upsampling reaches over: 22/2 and 4
    assert torch.equal(a[..., reach:-reach, reach:-reach], b[..., reach:-reach, reach:-reach])
    assert torch.equal(
        a.max(1).indices[0], next(iter(stitched(run, x, factor).values())).labels()[0]
    )


def test_a_padded_net_differs_at_the_rim_alone() -> None:
    """Narrow FCN-AlexNet: ceil pools, padding of 100 and inside; the interior agrees."""
    torch.manual_seed(0)
    run = TorchRunner(build("fcn32s-alexnet", classes=3, width=1 / 16).double().eval())
    with torch.no_grad():
        for p in run.network.parameters():
            torch.nn.init.normal_(p, std=(2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1)
    finer = TorchRunner(Network(rarefy(run.net, "pool5")).double().eval())
    finer.network.load_state_dict(run.network.state_dict())
    x = torch.randn(1, 3, 460, 440, dtype=torch.float64)
    (a,), (b,) = (
        [m.whole() for m in maps.values()] for maps in (stitched(run, x, 2), finer.maps(x))
    )
    reach = int(run.net.receptive_field) // 2 + 16
    inside = (..., slice(reach, -reach), slice(reach, -reach))
    size = b.abs().max()
    assert (a[inside] - b[inside]).abs().max() <= 1e-6 * size  # rows are given in float32
    assert (a - b).abs().max() > 1e-3 * size


# -- in the predictor -----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> pw.predict.model.Model:
    return pw.load(save_model(tmp_path_factory.mktemp("model") / "m.safetensors"), device="cpu")


def test_a_mirror_image_and_a_zoom_are_stitched_as_the_picture_is(model) -> None:
    image, run = pixels(), model.predictor.runner
    x = torch.from_numpy(model.predictor.preprocess(image))[None]
    (plain,), (mirrored,) = (
        [m.whole()[0] for m in stitched(run, side, 4).values()] for side in (x, x.flip(3))
    )
    shown = model.shown(mirror=True, stitch=4).predictor
    torch.testing.assert_close(shown.scores(image), (plain + mirrored.flip(2)) / 2)
    assert (shown.labels(image) == shown.scores(image).argmax(0).numpy()).all()
    assert not torch.equal(shown.scores(image), model.shown(mirror=True).predictor.scores(image))
    zoomed = model.shown(zoom=2, stitch=2).predictor
    assert zoomed.scores(image).shape == (3, *image.shape[:2])


def test_coarse_maps_are_drawn_where_their_cells_lie(tmp_path: Path) -> None:
    classifier = pw.load(save_classifier(tmp_path / "c.safetensors"), device="cpu")
    fine = classifier.shown(stitch=2).predictor
    head = fine.net.output
    old = classifier.predictor.grid(head)
    assert fine.grid(head) == CoordMap(old.scale / 2, old.shift - 16)
    image = pixels((240, 300))
    x = torch.from_numpy(fine.preprocess(image))[None]
    cells = fine.scores(image)
    for down in (0, 1):
        for right in (0, 1):  # the picture moved by hand; moved less, cells lie further on
            part = F.pad(x, (16 * right, 16 - 16 * right, 16 * down, 16 - 16 * down))
            (expected,) = (m.cells[0] for m in classifier.predictor.runner.maps(part).values())
            assert torch.equal(cells[:, 1 - down :: 2, 1 - right :: 2], expected)
    assert fine.labels(image).shape == (240, 300)


@pytest.mark.parametrize(("factor", "says"), [(3, "does not divide the stride 8"), (0, "stitch")])
def test_factors_that_do_not_fit_are_refused(model, factor: int, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        model.shown(stitch=factor)
    if factor == 3:
        assert caught.value.hint == "--stitch 2, 4, 8"


def test_scores_on_every_pixel_cannot_be_stitched() -> None:
    learned = build("fcn8s-tiny", classes=3, width=0.25, learned="all")
    with pytest.raises(UsageError, match="stitch 2: the net gives scores on every pixel already"):
        Predictor(TorchRunner(learned), PLAIN, view=View(stitch=2))


def test_heads_of_several_strides_cannot_be_stitched() -> None:
    net = toy(upsampled=True, pad=20)
    net.heads |= {"fine": "score", "coarse": net.conv("extra", "relu1", 2)}
    with pytest.raises(UsageError, match="stitch 2: the net gives scores of several strides"):
        Predictor(runner(net), PLAIN, view=View(stitch=2))


def test_two_heads_are_stitched_each() -> None:
    net = build("siftflow-fcn8s", width=1 / 16, heads={"sem": 4, "geo": 3})
    for name, p in net.named_parameters():
        if name.startswith("score"):
            torch.nn.init.normal_(p)
    image = pixels((30, 41))
    made = Predictor(TorchRunner(net), PLAIN, view=View(stitch=2)).by_head(image, scores=True)
    plain = Predictor(TorchRunner(net), PLAIN).by_head(image, scores=True)
    for head, classes in (("sem", 4), ("geo", 3)):
        assert made[head].scores.shape == plain[head].scores.shape == (classes, 30, 41)
        assert not torch.equal(made[head].scores, plain[head].scores)


def test_memory_is_asked_for_the_moved_picture_and_the_stitched_maps(
    model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        predictors, "check_picture", lambda _, size, **more: asked.append((size, more["beside"]))
    )
    model.predictor.labels(pixels((40, 56)))
    model.shown(stitch=4).predictor.labels(pixels((40, 56)))
    net, size = model.predictor.net, (40 + 3 * 2, 56 + 3 * 2)
    rows, columns = (net.sizes(n)["fuse_pool3"] for n in size)
    assert asked == [((40, 56), 0), (size, 16 * 3 * rows * columns)]


# -- in files and commands ------------------------------------------------------------------------
def test_predict_and_evaluate_take_it_and_checkpoints_keep_it(tmp_path: Path, model) -> None:
    picture = photo(tmp_path / "in" / "a.png")
    words = [str(model.path), str(picture), "-o", str(tmp_path / "out"), "--stitch", "4"]
    done = CliRunner().invoke(app, ["predict", *words, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    shown = model.shown(stitch=4)
    expected = shown.predict(picture).labels
    assert (np.asarray(Image.open(tmp_path / "out" / "a.png")) == expected).all()
    kept = pw.load(shown.save(tmp_path / "kept.safetensors"), device="cpu")
    assert kept.predictor.view.stitch == 4
    assert (kept.predict(picture).labels == expected).all()
    data = canonical_set(
        tmp_path / "data",
        {"train": [made(i) for i in range(4)]},
        {name: (i, 0, 0) for i, name in enumerate(CLASSES)},
    )
    scoring = [
        "evaluate",
        str(model.path),
        str(data),
        "--split",
        "train",
        "--stitch",
        "2",
        "--json",
    ]
    done = CliRunner().invoke(app, [*scoring, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    evaluated = model.shown(stitch=2).evaluate(data, "train")
    assert json.loads(done.stdout)["mean_iu"] == evaluated.as_dict()["mean_iu"]
    assert evaluated.as_dict()["mean_iu"] != model.evaluate(data, "train").as_dict()["mean_iu"]
    # another factor makes other outputs, which do not go into the same folder
    words[-1] = "2"
    with pytest.raises(UsageError, match=r"'stitch': 4.*'stitch': 2"):
        CliRunner().invoke(app, ["predict", *words, "--device", "cpu"], catch_exceptions=False)


def test_a_picture_too_small_is_refused_as_without(tmp_path: Path) -> None:
    run = runner(toy())
    with pytest.raises(DataError, match="too small"):
        Predictor(run, PLAIN, view=View(stitch=2)).labels(pixels((3, 3)))
