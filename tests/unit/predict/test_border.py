"""A net whose output leaves a margin labels every pixel, and none of them shifted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.network import Network
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import DataError, UsageError
from pixelwise.nets.net import Net
from pixelwise.predict.border import Border, border, mirrored
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.view import View

PLAIN = Preprocess("rgb", 1 / 255, (0.0,), (1.0,))


def valid(*kernels: int, level_below: bool = False) -> Net:
    """Convolutions without padding, and a level below as U-Net has them, whose pool rounds down."""
    net = Net()
    x = net.data(1)
    for i, kernel in enumerate(kernels):
        x = net.conv(f"conv{i}", x, 1, kernel=kernel)
    if level_below:
        low = net.conv("low", net.max_pool("pool", x, ceil=False), 1, kernel=3)
        up = net.upsample("up", low, 2, like=x)
        x = net.sum("fuse", up, net.crop("skip", x, like=up))
    net.top = net.score("score", x, 2)
    return net


def brightness(net: Net) -> Network:
    """The net whose scores are (1/2, the middle pixel's brightness): labels are image > 127."""
    network = Network(net)
    with torch.no_grad():
        for name, conv in network.named_modules():
            if isinstance(conv, torch.nn.Conv2d):
                conv.weight.zero_()
                if name != "low":
                    middle = conv.kernel_size[0] // 2
                    conv.weight[-1, 0, middle, middle] = 1
        network.get_parameter("score.bias")[0] = 0.5
    return network


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 1), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (7, 5), (30, 41)])
@pytest.mark.parametrize("level_below", [False, True])
@pytest.mark.parametrize("kernels", [(3,), (5, 3), (7, 7, 3)])
def test_every_pixel_gets_its_own_label(
    kernels: tuple[int, ...], size: tuple[int, int], level_below: bool
) -> None:
    net = valid(*kernels, level_below=level_below)
    predictor = Predictor(TorchRunner(brightness(net)), PLAIN)
    image = noise(*size)
    assert np.array_equal(predictor.labels(image), image[..., 0] > 127)
    scores = predictor.scores(image)
    assert torch.equal(scores[1], torch.from_numpy(PLAIN(image)[0]))


def test_also_of_the_mirror_image_and_of_several_sizes() -> None:
    image, net = noise(21, 34), valid(5, 3, level_below=True)  # its border is wider behind
    assert border(net, 21).before < border(net, 21).after
    both = Predictor(TorchRunner(brightness(net)), PLAIN, view=View(mirror=True))
    assert np.array_equal(both.labels(image), image[..., 0] > 127)
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (40, 64))[..., None]
    zoomed = Predictor(TorchRunner(brightness(valid(5, 3))), PLAIN, view=View((2.0, 1.0)))
    assert np.array_equal(zoomed.labels(ramp), ramp[..., 0] > 127)


def test_the_border_is_the_mirror_image() -> None:
    image = np.array([[1, 2, 3]], np.uint8)[..., None]
    wider = mirrored(image, Border(0, 0, {}), Border(2, 3, {}))  # back and forth where it is short
    assert wider[..., 0].tolist() == [[3, 2, 1, 2, 3, 2, 1, 2]]
    assert mirrored(image, Border(1, 1, {}), Border(0, 0, {}))[..., 0].tolist() == [[1, 2, 3]] * 3


def test_the_border_by_hand() -> None:
    plain = border(valid(5, 3), 10)  # two pixels and one on each side
    assert (plain.before, plain.after, plain.around(10)) == (3, 3, 16)
    assert dict(plain.corners) == {"score": 0}
    net = valid(3, level_below=True)
    # 1 pixel for conv0, 2 x 1 for the level below, less 1 for the rim of the upsampling: 2 before.
    # Pooling rounds down, and 2 (n // 2 - 3) + 4 rows come of n + 2: 10 of 14, or of 15.
    assert [(border(net, n).before, border(net, n).after) for n in (10, 11)] == [(2, 2), (2, 3)]


def test_two_heads_of_different_margins_share_one_border() -> None:
    net = Net()
    x = net.data(1)
    net.heads = {"near": net.score("near", x, 2), "far": net.conv("far", x, 2, kernel=5)}
    network = Network(net)
    with torch.no_grad():
        network.get_parameter("near.weight")[1, 0] = 1
        network.get_parameter("far.weight").zero_()[1, 0, 2, 2] = 1
        for head in net.heads:
            network.get_parameter(f"{head}.bias")[0] = 0.5
    found = border(net, 7)
    assert (found.before, found.after, dict(found.corners)) == (2, 2, {"near": 2, "far": 0})
    image = noise(7, 9)
    for view in (View(), View(mirror=True)):
        predictor = Predictor(TorchRunner(network), PLAIN, view=view)
        labels, made = predictor.by_head(image), predictor.by_head(image, scores=True)
        for head in net.heads:
            assert np.array_equal(labels[head].labels, image[..., 0] > 127)
            assert np.array_equal(made[head].labels, image[..., 0] > 127)
            assert made[head].scores is not None
            assert torch.equal(made[head].scores[1], torch.from_numpy(PLAIN(image)[0]))
    with pytest.raises(UsageError, match="several heads: near, far"):
        predictor.labels(image)


def test_a_net_in_its_own_frame_gets_no_border_and_refuses_what_is_too_small() -> None:
    net = Net()
    x = net.conv("a", net.data(1), 1, kernel=3, pad=1)
    up = net.upsample("up", net.conv("b", net.max_pool("p", x, 8, 8, ceil=False), 2), 8, like=x)
    net.top = net.crop("cut", up, like=x)
    assert border(net, 64).around(64) == 64
    with pytest.raises(DataError, match="too small for the net") as caught:
        Predictor(TorchRunner(Network(net)), PLAIN).labels(noise(5, 64))
    assert caught.value.code == "D023"
