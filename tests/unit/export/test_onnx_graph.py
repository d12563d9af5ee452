"""Every net as an ONNX graph, carried out by ONNX Runtime, gives what our own modules give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelwise.engine.modules import MODULES
from pixelwise.engine.network import Network
from pixelwise.engine.plan import CutUpsampling
from pixelwise.errors import ModelError, UsageError
from pixelwise.export import onnx_graph
from pixelwise.nets import catalog, joining, layers, pooling
from pixelwise.nets.net import Net
from random_weights import randomised

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

SIZES = [(1, 1), (37, 51), (75, 101), (96, 128)]
EVERY_DAY = {
    "fcn8s-alexnet",
    "fcn4s-googlenet-tight",
    "fcn32s-resnet18",
    "fcn4s-mobilenetv2",
    "fcn8s-efficientnetlite0",
    "fcn16s-tiny",
    "voc-fcn8s-atonce",
    "nyud-fcn32s-color-hha",
    "siftflow-fcn16s",
    "segnet-tiny",
    "unet",
    "unet-tiny",
    "pspnet-tiny",
    "deeplabv3-efficientnetlite0",
    "vgg16",
    "googlenet",
}
"""Of each trunk, each way to fuse, and both geometries one; the others are slow together."""


def carried_out(model: object, x: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    data = model.SerializeToString()  # type: ignore[attr-defined]
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def assert_same(net: Net, sizes: list[tuple[int, int]], batch: int = 1) -> None:
    module = randomised(Network(net))
    tensors = {name: t.numpy() for name, t in module.state_dict().items()}
    model = onnx_graph.model(net, tensors)
    onnx.checker.check_model(model, full_check=True)
    compared = 0
    for height, width in sizes:
        try:
            net.sizes(height), net.sizes(width)
        except UsageError:
            continue
        x = torch.randn(batch, sum(net.inputs.values()), height, width)
        with torch.inference_mode():
            wanted = module.activations(x, net.outputs.values())
        given = carried_out(model, x.numpy())
        for layer, scores in zip(net.outputs.values(), given, strict=True):
            ours = wanted[layer].numpy()
            assert scores.shape == ours.shape
            # Sums in another order: 1.3e-5 is the farthest that any net went (efficientnetlite1).
            # Rounding may move a maximum, and with it what is unpooled.
            near = np.abs(scores - ours) <= 5e-5 * np.abs(ours).max()
            moves = any(isinstance(record, pooling.Unpool) for record in net.layers.values())
            assert near.mean() > 0.98 if moves else near.all()
            compared += 1
    assert compared


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in EVERY_DAY else pytest.mark.slow) for n in catalog.NETS],
)
def test_every_net_gives_its_scores_at_any_size(name: str) -> None:
    large = catalog.entry(name).task == "classification" or name in ("unet", "deconvnet-vgg16")
    sizes = [*SIZES, (227, 240)] if large else SIZES
    assert_same(catalog.spec(name, width=1 / 16), sizes)


def test_every_kind_of_layer_has_an_operator() -> None:
    assert set(onnx_graph._EMIT) == set(MODULES) - {CutUpsampling}


def every_kind() -> Net:
    """A net of what no net of the catalogue has: SegNet's way back, uneven pads, held edges."""
    net = Net()
    x = net.data(4)
    x = net.add(layers.Conv("c", (x,), 6, kernel=3, pad=(0, 2), dilation=1, groups=2))
    inner = net.add(layers.Lrn("norm", (x,), window=3))
    pooled = net.max_pool("pool", inner, indices=True)
    deep = net.add(layers.Conv("dilated", (pooled,), 6, kernel=3, pad=2, dilation=2))
    back = net.unpool("unpool", deep, "pool")
    mean = net.add(pooling.AvgPool("mean", (back,), kernel=2, dilation=2))
    up = net.add(layers.Deconv("deconv", (mean,), 6, kernel=3, stride=1, pad=(0, 1), groups=2))
    half = net.add(layers.Scale("halved", (up,), 0.5))
    relu6 = net.add(layers.Relu("relu6", (half,), 6.0))
    net.add(layers.Softmax("soft", (net.add(layers.Dropout("drop", (relu6,))),)))
    return net


def test_layers_that_no_catalogued_net_has() -> None:
    assert_same(every_kind(), [(8, 8), (9, 15), (30, 21)])


@pytest.mark.parametrize("edge", ["fade", "hold"])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("kernel", [3, 4])
def test_upsampling_with_both_edges_and_parities(edge: str, learned: bool, kernel: int) -> None:
    net = Net()
    x = net.data(3)
    net.add(layers.Upsample("up", (x,), kernel, 2, learned, edge))  # type: ignore[arg-type]
    assert_same(net, [(1, 1), (5, 3)], batch=2)


def test_maps_are_joined_with_their_coefficients() -> None:
    net = Net()
    x = net.data(2)
    y = net.conv("c", x, 2, kernel=3, pad=1)
    mixed = net.sum("mixed", x, y, coefficients=(0.5, 0.25))
    wide = net.add(joining.Concat("wide", (mixed, x, y)))
    net.add(pooling.GlobalAvgPool("all", (wide,)))
    assert_same(net, [(5, 7)], batch=3)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_means_over_parts_come_back_at_a_maps_size(bins: int) -> None:
    net = Net()
    x = net.data(3)
    means = net.add(pooling.GlobalAvgPool("means", (x,), bins))
    net.add(pooling.Resize("back", (means, x)))
    assert_same(net, [(1, 1), (5, 7), (6, 12), (13, 4)], batch=2)


def test_labels_are_the_first_of_the_best() -> None:
    net = catalog.spec("fcn8s-tiny", classes=7, width=1 / 4)
    module = randomised(Network(net))
    tensors = {name: t.numpy() for name, t in module.state_dict().items()}
    model = onnx_graph.model(net, tensors, labels=True)
    onnx.checker.check_model(model, full_check=True)
    x = torch.randn(2, 3, 40, 31)
    (labels,) = carried_out(model, x.numpy())
    scores = module(x).detach()
    assert labels.dtype == np.uint8
    assert labels.shape == (2, 40, 31)
    top = scores.topk(2, dim=1).values
    clear = (top[:, 0] - top[:, 1] > 1e-5).numpy()
    assert clear.mean() > 0.99
    assert (labels == scores.argmax(1).numpy())[clear].all()


def test_a_norm_over_an_even_window_is_refused_by_name() -> None:
    net = Net()
    net.add(layers.Lrn("norm1", (net.data(8),), window=4))
    with pytest.raises(ModelError, match="norm1: ONNX has no response norm over 4") as caught:
        onnx_graph.model(net, {})
    assert caught.value.code == "M040"
