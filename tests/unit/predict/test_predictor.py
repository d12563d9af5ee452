from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.build import build
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import DataError, NumericalError, ResourceError, UsageError
from pixelwise.machine import memory
from pixelwise.pictures import images
from pixelwise.predict import showings
from pixelwise.predict.memory import check_picture
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.view import View
from small_model import pixels

PLAIN = Preprocess("rgb", 1.0, (128.0,) * 3, (64.0,) * 3)


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    net = build("fcn8s-tiny", classes=3, width=0.25)
    for name, p in net.named_parameters():
        if name.startswith("score"):
            torch.nn.init.normal_(p)
    return net.eval()


def plain(net: torch.nn.Module, image: np.ndarray) -> torch.Tensor:
    """Scores without the predictor, (1, K, H, W)."""
    x = (torch.from_numpy(image.copy()).permute(2, 0, 1).float() - 128) / 64
    with torch.inference_mode():
        return net(x[None])


def predictor(net: torch.nn.Module, *, bf16: bool = False, view: View | None = None) -> Predictor:
    return Predictor(TorchRunner(net, bf16=bf16), PLAIN, view=view)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-4, atol=1e-4))


def test_zoom_one_is_the_plain_net(net: torch.nn.Module) -> None:
    image = pixels()
    assert close(predictor(net).scores(image), plain(net, image)[0])
    assert torch.equal(
        predictor(net, view=View((1.0,))).scores(image), predictor(net).scores(image)
    )


def test_mirror_is_the_mean_with_the_mirror_image(net: torch.nn.Module) -> None:
    image = pixels()
    other = plain(net, image[:, ::-1]).flip(3)
    expected = (plain(net, image) + other) / 2
    found = predictor(net, view=View(mirror=True)).scores(image)
    assert close(found, expected[0])
    assert not close(found, plain(net, image)[0])  # or the test could not tell


def test_mirrored_scores_of_a_symmetric_picture_are_symmetric(net: torch.nn.Module) -> None:
    half = pixels((40, 28))
    image = np.concatenate([half, half[:, ::-1]], axis=1)
    found = predictor(net, view=View(mirror=True)).scores(image)
    assert close(found, found.flip(2))
    alone = predictor(net).scores(image)
    assert not close(alone, alone.flip(2))


@pytest.mark.parametrize("zoom", [2.0, 1.3, 0.5])
def test_zoom_enlarges_the_picture_and_brings_the_scores_back(
    net: torch.nn.Module, zoom: float
) -> None:
    image = pixels()
    size = (round(40 * zoom), round(56 * zoom))
    large = plain(net, images.resize(image, size))
    expected = F.interpolate(large, (40, 56), mode="bilinear", align_corners=False)[0]
    assert close(predictor(net, view=View((zoom,))).scores(image), expected)


def test_training_mode_comes_back_and_running_means_stay(net: torch.nn.Module) -> None:
    net.train()
    bn = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    before = bn.running_mean.clone()
    scores = predictor(net).scores(pixels())
    assert net.training
    assert torch.equal(bn.running_mean, before)
    net.eval()
    assert close(scores, plain(net, pixels())[0])
    assert not scores.requires_grad


def test_bf16_is_near_and_not_the_same(net: torch.nn.Module) -> None:
    full = predictor(net).scores(pixels())
    half = predictor(net, bf16=True).scores(pixels())
    assert half.dtype == torch.float32
    assert 0 < (full - half).abs().max() < 0.1 * full.abs().max()


def test_other_channels_are_refused(net: torch.nn.Module) -> None:
    with pytest.raises(DataError, match=r"\(4, 4, 1\), the net takes \(H, W, 3\)"):
        predictor(net).scores(np.zeros((4, 4, 1), np.uint8))


def test_scores_that_are_not_finite_are_an_error_and_no_background() -> None:
    net = build("fcn8s-tiny", classes=3, width=0.25)
    with torch.no_grad():
        net.get_parameter("score_fr.bias")[1] = torch.nan
    with pytest.raises(NumericalError) as caught:
        predictor(net).scores(pixels())
    assert caught.value.code == "N003"


@pytest.mark.parametrize("view", [View(), View((2.0,), mirror=True)])
@pytest.mark.parametrize("strip", [1, 2**20])
def test_the_first_of_equal_scores_wins_and_many_classes_take_sixteen_bits(
    view: View, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showings, "STRIP", strip)
    for classes, dtype in ((255, np.uint8), (300, np.uint16)):
        net = build("fcn32s-tiny", classes=classes, width=0.25)  # all scores are zero
        found = predictor(net, view=view).labels(pixels((9, 8)))
        assert (found.dtype, found.shape, found.max()) == (dtype, (9, 8), 0)
        with torch.no_grad():
            net.get_parameter("score_fr.bias")[classes - 2 :] = 1
        found = predictor(net, view=view).labels(pixels((9, 8)))
        assert (found == classes - 2).all()


def test_an_allocation_that_fails_is_told_as_memory(
    net: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")  # fmt: skip  # noqa: E501

    failing = predictor(net)
    monkeypatch.setattr(failing.runner, "maps", fails)
    with pytest.raises(ResourceError, match="you tried to allocate 9 bytes") as caught:
        failing.scores(pixels())
    assert caught.value.code == "R003"
    with pytest.raises(RuntimeError, match="another"), memory.failed_allocations(""):
        raise RuntimeError("another")


def test_the_estimate_is_compared_with_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, needed = TorchRunner(build("fcn8s-tiny")), list[str]()
    for there in (1, 10**12, None):
        monkeypatch.setattr(memory, "available", lambda device, there=there: there)
        try:
            check_picture(runner, (1000, 1000))
        except ResourceError as error:
            needed.append(str(error))
    assert len(needed) == 1
    # input 3 + conv1_1 16 + its norm 16, at 4 bytes, 25 % beside: 175 MB
    assert "a picture of 1000x1000 (HxW) needs about 175,000,000 bytes more" in needed[0]


def test_labels_of_many_classes_fit_where_their_scores_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = predictor(build("fcn8s-tiny", classes=400, width=0.25))
    image = pixels((96, 96))
    # The scores alone are 400 x 96 x 96 x 4 = 14.7 MB; the trunk's widest maps 4 x 96 x 96 x 4.
    monkeypatch.setattr(memory, "available", lambda device: 4_000_000)
    assert many.labels(image).shape == (96, 96)
    with pytest.raises(ResourceError, match="a picture of 96x96") as caught:
        many.scores(image)
    assert caught.value.code == "R003"


def test_zoom_out_of_range_is_refused() -> None:
    for zoom in (0, -1, 8.1, float("nan"), float("inf")):
        with pytest.raises(
            UsageError, match=r"zooms\[0\] is .*, expected (more than 0|at most 8|a finite number)"
        ):
            View((zoom,))


def test_several_zooms_are_the_mean_over_sizes(net: torch.nn.Module) -> None:
    image, zooms = pixels((40, 48)), (1.2, 1.5, 2.25)
    parts = [predictor(net, view=View((z,))).scores(image) for z in zooms]
    found = predictor(net, view=View(zooms)).scores(image)
    assert close(found, sum(parts) / 3)


def test_coarse_maps_of_several_sizes_are_not_averaged() -> None:
    net = build("googlenet", classes=3, width=1 / 16)
    with pytest.raises(UsageError, match="coarse map"):
        predictor(net, view=View((1, 2)))
    with pytest.raises(UsageError, match=r"mirror: .* coarse map"):
        predictor(net, view=View(mirror=True))
    assert predictor(net, view=View((2,))).view.zooms == (2,)


@pytest.mark.parametrize("zooms", [(), (0.5, 0), (1, 9), (1.0,) * 17, (float("nan"),)])
def test_zooms_out_of_range_are_refused(zooms: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="zoom"):
        View(zooms)
