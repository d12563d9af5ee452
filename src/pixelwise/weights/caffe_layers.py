"""A net as Caffe's layers: what each record is called there, with which settings and blobs.

Written as the releases are: ReLU, dropout and normalisation in place, every deconvolution dense
(group 1, no bias) with its kernel on the diagonal, crops with axis and offset. Records that Caffe
cannot carry out have no layer here, and the net is refused by their names (``misfits``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from pixelwise.engine.upsampling import bilinear_kernel
from pixelwise.geometry import sides
from pixelwise.nets import joining, layers, pooling
from pixelwise.nets.net import Net
from pixelwise.nets.record import Layer
from pixelwise.weights.caffe import Array, CaffeLayer

Settings = dict[str, Any]
Arrays = Mapping[str, Array]
AsCaffe = tuple[str, Settings, tuple[Array, ...]]
"""Type, settings and blobs of a layer."""

FROZEN = {"param": {"lr_mult": 0}}
"""Of blobs that are never trained (fact sheet 1.3): fixed deconvolutions and factors."""
_DEFAULTS = {"pad": 0, "stride": 1, "group": 1, "dilation": 1, "bias_term": True}
"""caffe.proto's; left out, as in the released files."""
_IN_PLACE = (layers.Relu, layers.Dropout, layers.BatchNorm)


def caffe_layers(
    net: Net, tensors: Mapping[str, Tensor], height: int, width: int
) -> Iterator[CaffeLayer]:
    """The layers of a net that ``misfits`` has nothing against, in order, one by one.

    ``tensors`` are its state dict; fixed upsampling kernels are computed. The inputs declare
    pictures of ``height`` x ``width``, which Caffe can reshape.
    """
    tops = blob_names(net)
    for name, record in net.layers.items():
        bottoms = tuple(tops[source] for source in record.inputs)
        if isinstance(record, layers.Input):
            shape = {"dim": (1, record.width, height, width)}
            settings = {"input_param": {"shape": shape}}
            yield CaffeLayer(name, "Input", (), (), (name,), settings)
            continue
        arrays = {
            k: np.asarray(tensors[f"{name}.{k}"].detach().float().cpu())
            for rule in (record.parameters, record.stored)
            for k in rule(net.given_channels(record))
        }
        kind, settings, blobs = LAYERS[type(record)](record, net.channels[name], arrays)
        yield CaffeLayer(name, kind, blobs, bottoms, (tops[name],), settings)
        if isinstance(record, layers.BatchNorm):  # Caffe's has no scale and shift of its own
            blobs, top = (arrays["weight"], arrays["bias"]), (tops[name],)
            bias = {"scale_param": {"bias_term": True}}
            yield CaffeLayer(f"{name}/scale", "Scale", blobs, top, top, bias)


def blob_names(net: Net) -> dict[str, str]:
    """Layer to the blob that its map is in: that of its input, where it works in place."""
    readers = Counter(source for layer in net.layers.values() for source in layer.inputs)
    readers.update(net.outputs.values())
    names: dict[str, str] = {}
    for name, record in net.layers.items():
        source = record.inputs[0] if record.inputs else ""
        alone = readers[source] == 1 and net.layers[source].inputs
        names[name] = names[source] if isinstance(record, _IN_PLACE) and alone else name
    return names


def misfits(net: Net) -> Iterator[str]:
    """What Caffe cannot do of a net, by layer; nothing of those of the paper."""
    for name, record in net.layers.items():
        match record:
            case pooling.Unpool() | pooling.MaxPool(indices=True):
                yield f"{name}: Caffe has no unpooling"
            case layers.Upsample(edge="hold"):
                yield f"{name}: Caffe's deconvolution fades at the rim, this one holds its edge"
            case layers.Relu(ceiling=ceiling) if not math.isinf(ceiling):
                yield f"{name}: Caffe has no ReLU that is cut at {ceiling:g}"
            case _ if len(set(sides(getattr(record, "pad", 0)))) > 1:
                yield f"{name}: Caffe pads alike before and after, not {getattr(record, 'pad', 0)}"
            case _ if getattr(record, "dilation", 1) > 1 and not isinstance(record, layers.Conv):
                yield f"{name}: Caffe has no dilated pooling"
            case layers.Input():
                pass
            case _ if type(record) not in LAYERS:
                yield f"{name}: Caffe has no {record.kind}"


# -- one function a kind: (record, channels of its map, its arrays) -> type, settings, blobs ------
def _given(values: Settings) -> Settings:
    return {k: v for k, v in values.items() if _DEFAULTS.get(k) != v}


def _convolution(record: layers.Conv | layers.Deconv, channels: int, arrays: Arrays) -> AsCaffe:
    window = {"pad": sides(record.pad)[0], "kernel_size": record.kernel, "stride": record.stride}
    values = {"num_output": channels, "bias_term": record.bias} | window
    values |= {"group": record.groups, "dilation": getattr(record, "dilation", 1)}
    kind = "Convolution" if isinstance(record, layers.Conv) else "Deconvolution"
    return kind, {"convolution_param": _given(values)}, tuple(arrays.values())


def _upsampling(record: layers.Upsample, channels: int, arrays: Arrays) -> AsCaffe:
    window = {"kernel_size": record.kernel, "stride": record.stride}
    settings = {"convolution_param": {"num_output": channels, "bias_term": False} | window}
    if record.learned:
        return "Deconvolution", settings, (arrays["weight"],)
    kernel = np.asarray(bilinear_kernel(record.kernel, channels))
    return "Deconvolution", FROZEN | settings, (kernel,)


def _pool(record: pooling.MaxPool | pooling.AvgPool | pooling.GlobalAvgPool, *_: Any) -> AsCaffe:
    if isinstance(record, pooling.GlobalAvgPool):
        return "Pooling", {"pooling_param": {"pool": "AVE", "global_pooling": True}}, ()
    window = {"kernel_size": record.kernel, "stride": record.stride}
    if isinstance(record, pooling.AvgPool):
        return "Pooling", {"pooling_param": {"pool": "AVE"} | _given(window)}, ()
    window["pad"] = sides(record.pad)[0]
    rounding = {} if record.ceil else {"round_mode": "FLOOR"}
    return "Pooling", {"pooling_param": {"pool": "MAX"} | _given(window) | rounding}, ()


def _batch_norm(record: layers.BatchNorm, _: int, arrays: Arrays) -> AsCaffe:
    # The third blob is how many batches the first two are sums of (batch_norm_layer.cpp).
    blobs = (arrays["running_mean"], arrays["running_var"], np.ones(1, np.float32))
    return "BatchNorm", {"batch_norm_param": {"use_global_stats": True, "eps": record.eps}}, blobs


def _lrn(record: layers.Lrn, *_: Any) -> AsCaffe:
    values = {"local_size": record.window, "alpha": record.alpha, "beta": record.beta}
    return "LRN", {"lrn_param": values | ({} if record.k == 1 else {"k": record.k})}, ()


def _sum(record: joining.Sum, *_: Any) -> AsCaffe:
    settings = {"operation": "SUM", "coeff": tuple(record.coefficients)}
    return "Eltwise", {"eltwise_param": settings}, ()


LAYERS: dict[type[Layer], Callable[[Any, int, Arrays], AsCaffe]] = {
    layers.Conv: _convolution,
    layers.Deconv: _convolution,
    layers.Upsample: _upsampling,
    layers.Relu: lambda *_: ("ReLU", {}, ()),
    layers.Lrn: _lrn,
    layers.BatchNorm: _batch_norm,
    layers.Dropout: lambda r, *_: ("Dropout", {"dropout_param": {"dropout_ratio": r.p}}, ()),
    layers.Scale: lambda *given: ("Scale", FROZEN, (given[2]["weight"],)),
    layers.Softmax: lambda *_: ("Softmax", {}, ()),
    pooling.MaxPool: _pool,
    pooling.AvgPool: _pool,
    pooling.GlobalAvgPool: _pool,
    joining.Crop: lambda r, *_: ("Crop", {"crop_param": {"axis": 2, "offset": r.offset}}, ()),
    joining.Sum: _sum,
    joining.Concat: lambda *_: ("Concat", {}, ()),
}
"""Kind of record to what Caffe has for it."""
