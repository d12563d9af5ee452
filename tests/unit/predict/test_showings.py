"""Labels of several showings, some classes at a time, are those of the whole mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine import runner as runners
from pixelwise.engine.build import build
from pixelwise.engine.runner import TorchRunner
from pixelwise.pictures import images
from pixelwise.predict import showings
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.view import View
from small_model import pixels

PLAIN = Preprocess("rgb", 1.0, (128.0,) * 3, (64.0,) * 3)
VIEWS = [
    View(),
    View(mirror=True),
    View((1.7,)),
    View((1.0, 1.25, 0.6)),
    View((0.5, 1.0, 2.0, 2.0), mirror=True),
]


def random_net(classes: int, *, name: str = "fcn8s-tiny") -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(name, classes=classes, width=0.25)
        for layer, p in net.named_parameters():
            if layer.startswith("score") and layer.endswith("weight"):  # they begin at zero
                torch.nn.init.normal_(p)
        with torch.no_grad():  # no class is ahead everywhere
            mean = net.eval()(torch.from_numpy(PLAIN(pixels()))[None]).mean((0, 2, 3))
            net.get_parameter("score_fr.bias").sub_(mean)
    return net


@torch.inference_mode()
def whole_mean(net: torch.nn.Module, image: np.ndarray, view: View) -> Tensor:
    """(K, H, W): every showing's whole map, brought back by torch, summed and divided."""
    total = torch.zeros(())
    for size in view.sizes(image.shape):
        shown = image if size == image.shape[:2] else images.resize(image, size)
        x = torch.from_numpy(PLAIN(shown))[None].contiguous(memory_format=torch.channels_last)
        scores = net(x)
        if view.mirror:
            scores = (scores + net(x.flip(3)).flip(3)) / 2
        if shown is not image:
            scores = F.interpolate(scores, image.shape[:2], mode="bilinear", align_corners=False)
        total = total + scores[0]
    return total / len(view.zooms)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(40, 57), (1, 1), (3, 64)])
@pytest.mark.parametrize("strip", [1, 5000, 2**20])
def test_labels_and_scores_equal_the_whole_mean_to_the_bit(
    view: View, size: tuple[int, int], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showings, "STRIP", strip)
    monkeypatch.setattr(runners, "STRIP", strip)
    net, image = random_net(7), pixels(size)
    expected = whole_mean(net, image, view)
    predictor = Predictor(TorchRunner(net), PLAIN, view=view)
    assert torch.equal(predictor.scores(image), expected)
    assert np.array_equal(predictor.labels(image), expected.argmax(0).numpy())
    if size == (40, 57):
        assert len(np.unique(predictor.labels(image))) > 2  # or the test could not tell


@pytest.mark.parametrize("name", ["fcn32s-alexnet", "fcn16s-vgg16"])
def test_so_they_do_with_other_heads(name: str) -> None:
    net, image, view = random_net(5, name=name), pixels((30, 41)), View((1.5, 1.0), mirror=True)
    found = Predictor(TorchRunner(net), PLAIN, view=view).labels(image)
    assert np.array_equal(found, whole_mean(net, image, view).argmax(0).numpy())


def largest_made(work: Callable[[], object]) -> int:
    """Numbers of the largest tensor that any operation gives while ``work`` runs."""
    sizes = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            made = out if isinstance(out, tuple | list) else (out,)
            sizes.extend(t.numel() for t in made if isinstance(t, Tensor))
            return out

    with Watch():
        work()
    return max(sizes)


@pytest.mark.parametrize("view", [View(), View((1.0, 1.5), mirror=True)])
def test_labels_never_hold_the_scores_of_the_whole_picture(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showings, "STRIP", 1)
    monkeypatch.setattr(runners, "STRIP", 1)
    classes, height, width = 100, 40, 32
    image = pixels((height, width))
    predictor = Predictor(TorchRunner(random_net(classes)), PLAIN, view=view)
    largest_map = round(height * max(view.zooms)) * round(width * max(view.zooms))
    assert largest_made(lambda: predictor.scores(image)) >= classes * height * width
    # Strips of 8 rows with what they need of the next; and the trunk's widest map has 4 channels.
    assert largest_made(lambda: predictor.labels(image)) <= max(100 * 32 * 16, 8 * largest_map)
