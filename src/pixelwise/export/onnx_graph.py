"""A net with its weights as an ONNX graph, written from the records: no tracing, any size.

Heights and widths are free. Each kind of record becomes one or two standard operators of opset 19,
tensors are called as the layers are, and a map that is cropped is cut to the size that the other
map has at run time. Fixed upsampling is done one axis after the other, as our own engine does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.engine.upsampling import bilinear_ramp
from pixelwise.errors import ModelError
from pixelwise.geometry import Pad, sides
from pixelwise.nets import joining, layers, pooling
from pixelwise.nets.net import Net
from pixelwise.nets.record import Layer

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPSET = 19
"""The first in which average pooling can be dilated; ONNX Runtime 1.15, OpenVINO 2024 read it."""
IR_VERSION = 9
"""What came with that opset."""
LABELS = "labels"
"""What the map of the best classes is called, after its head where there are several."""


@dataclass
class Graph:
    """The nodes and constants that are written so far."""

    net: Net
    tensors: Mapping[str, NDArray[Any]]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Layer to the tensor that has its map, where that is another layer's (dropout)."""

    def add(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """One operator; returns the name of its first output."""
        from onnx import helper

        known = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(operator, list(inputs), list(outputs), name=outputs[0], **known)
        self.nodes.append(node)
        return outputs[0]

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """An array that stands in the file."""
        self.constants[name] = np.array(value, order="C")
        return name

    def integers(self, *values: int) -> str:
        """A constant list of int64, written once."""
        name = "int64:" + ",".join(map(str, values))
        return self.constant(name, np.array(values, np.int64))

    def weights(self, layer: Layer) -> list[str]:
        """The layer's arrays in the order of its record."""
        own = [*layer.parameters(given := self.net.given_channels(layer)), *layer.stored(given)]
        keys = [f"{layer.name}.{array}" for array in own]
        return [self.constant(key, self.tensors[key]) for key in keys]

    def given(self, layer: Layer) -> list[str]:
        """The tensors that a layer reads."""
        return [self.names.get(name, name) for name in layer.inputs]

    def size_of(self, tensor: str) -> str:
        """Height and width of a map, at run time."""
        name = f"{tensor}:size"
        if not any(name in node.output for node in self.nodes):
            self.add("Shape", [tensor], name, start=2, end=4)
        return name


def model(
    net: Net, tensors: Mapping[str, NDArray[Any]], *, labels: bool = False, doc: str = ""
) -> ModelProto:
    """The ONNX model of ``net``: preprocessed pictures (N, B, H, W) float32 to a map of each head.

    Args:
        net: the records.
        tensors: "<layer>.<array>" to its numbers, as a checkpoint has them.
        labels: the best class of each pixel (N, H, W) as uint8 (int32 of more than 255 classes), in
            place of the scores (N, K, H, W).
        doc: for whoever opens the file in a viewer.

    Raises:
        ModelError: M040 a layer that ONNX has not.
    """
    from onnx import helper, numpy_helper

    graph = Graph(net, tensors)
    inputs = _inputs(graph)
    for layer in net.layers.values():
        if layer.inputs:
            _EMIT[type(layer)](graph, layer)
    outputs = [_output(graph, head, labels=labels) for head in net.outputs]
    body = helper.make_graph(
        graph.nodes,
        "pixelwise",
        inputs,
        outputs,
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        doc_string=doc,
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        body, ir_version=IR_VERSION, opset_imports=opset, producer_name="pixelwise"
    )


def _inputs(graph: Graph) -> list[Any]:
    """One tensor of all bands; several inputs are consecutive runs of it (ADR 0015)."""
    from onnx import TensorProto, helper

    bands = graph.net.inputs
    picture = next(iter(bands)) if len(bands) == 1 else "pictures"
    if len(bands) > 1:
        runs = graph.integers(*bands.values())
        graph.add("Split", [picture, runs], *bands, axis=1)
    shape = ["batch", sum(bands.values()), "height", "width"]
    return [helper.make_tensor_value_info(picture, TensorProto.FLOAT, shape)]


def _output(graph: Graph, head: str, *, labels: bool) -> Any:
    """The head's map under the head's name, or ``labels`` (``<head>.labels`` of several)."""
    from onnx import TensorProto, helper

    net, several = graph.net, len(graph.net.outputs) > 1
    layer = net.outputs[head]
    scores, classes = graph.names.get(layer, layer), net.channels[layer]
    rows = ["batch", f"{head}_height", f"{head}_width"]
    if not labels:
        name = head if head not in net.layers or layer == head else f"{head}.scores"
        if name != scores:
            graph.add("Identity", [scores], name)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows[0], classes, *rows[1:]])
    name = f"{head}.{LABELS}" if several else LABELS
    kind = TensorProto.UINT8 if classes <= 255 else TensorProto.INT32
    best = graph.add("ArgMax", [scores], f"{name}:int64", axis=1, keepdims=0)
    graph.add("Cast", [best], name, to=kind)
    return helper.make_tensor_value_info(name, kind, rows)


# -- one function a kind ---------------------------------------------------------------------
def _pads(pad: Pad) -> list[int]:
    before, after = sides(pad)
    return [before, before, after, after]


def _pair(value: int) -> list[int]:
    return [value, value]


def _conv(graph: Graph, layer: layers.Conv) -> None:
    graph.add(
        "Conv",
        graph.given(layer) + graph.weights(layer),
        layer.name,
        kernel_shape=_pair(layer.kernel),
        strides=_pair(layer.stride),
        pads=_pads(layer.pad),
        dilations=_pair(layer.dilation),
        group=layer.groups,
    )


def _deconv(graph: Graph, layer: layers.Deconv) -> None:
    graph.add(
        "ConvTranspose",
        graph.given(layer) + graph.weights(layer),
        layer.name,
        kernel_shape=_pair(layer.kernel),
        strides=_pair(layer.stride),
        pads=_pads(layer.pad),
        group=layer.groups,
    )


def _upsample(graph: Graph, layer: layers.Upsample) -> None:
    """A held edge is one cell more all round, whose own outputs are cut off again."""
    (source,), s, k = graph.given(layer), layer.stride, layer.kernel
    cut = s if layer.edge == "hold" else 0
    if cut:
        margin = graph.integers(0, 0, 1, 1, 0, 0, 1, 1)
        source = graph.add("Pad", [source, margin], f"{layer.name}:held", mode="edge")
    if layer.learned:
        pads, (weight,) = 4 * [cut], graph.weights(layer)
        strides = _pair(s)
        graph.add("ConvTranspose", [source, weight], layer.name, strides=strides, pads=pads)
        return
    channels, ramp = graph.net.channels[layer.name], bilinear_ramp(k).numpy().astype(np.float32)
    for axis, name in enumerate((f"{layer.name}:rows", layer.name)):
        shape = (k, 1) if axis == 0 else (1, k)
        kernels = np.broadcast_to(ramp.reshape(1, 1, *shape), (channels, 1, *shape))
        source = graph.add(
            "ConvTranspose",
            [source, graph.constant(f"{name}.weight", kernels)],
            name,
            kernel_shape=list(shape),
            strides=[s, 1] if axis == 0 else [1, s],
            pads=[cut, 0, cut, 0] if axis == 0 else [0, cut, 0, cut],
            group=channels,
        )


def _relu(graph: Graph, layer: layers.Relu) -> None:
    source = graph.given(layer)
    if math.isinf(layer.ceiling):
        graph.add("Relu", source, layer.name)
        return
    limits = {"float32:0": 0.0, f"float32:{layer.ceiling:g}": layer.ceiling}
    bounds = [graph.constant(name, np.asarray(value, np.float32)) for name, value in limits.items()]
    graph.add("Clip", source + bounds, layer.name)


def _lrn(graph: Graph, layer: layers.Lrn) -> None:
    if layer.window % 2 == 0:  # ONNX puts the odd channel behind, Caffe before
        raise ModelError("M040", f"{layer.name}: ONNX has no response norm over {layer.window}")
    settings = {"size": layer.window, "alpha": layer.alpha, "beta": layer.beta, "bias": layer.k}
    graph.add("LRN", graph.given(layer), layer.name, **settings)


def _batch_norm(graph: Graph, layer: layers.BatchNorm) -> None:
    source = graph.given(layer) + graph.weights(layer)
    graph.add("BatchNormalization", source, layer.name, epsilon=layer.eps)


def _dropout(graph: Graph, layer: layers.Dropout) -> None:
    (graph.names[layer.name],) = graph.given(layer)


def _scale(graph: Graph, layer: layers.Scale) -> None:
    key = f"{layer.name}.weight"
    factors = graph.constant(key, graph.tensors[key][:, None, None])
    graph.add("Mul", [*graph.given(layer), factors], layer.name)


def _max_pool(graph: Graph, layer: pooling.MaxPool) -> None:
    """ONNX Runtime takes no padding as long as the kernel, which dilated windows have.

    OpenVINO takes no map that is shorter than the kernel: it is led past the end instead.
    """
    source, (before, after), pad = graph.given(layer), sides(layer.pad), layer.pad
    past_end = layer.ceil and not (before or after) and layer.stride <= layer.kernel
    if max(before, after) >= layer.kernel:
        margin = graph.integers(0, 0, before, before, 0, 0, after, after)
        least = graph.constant("float32:-inf", np.asarray(-np.inf, np.float32))
        source, pad = [graph.add("Pad", [*source, margin, least], f"{layer.name}:padded")], 0
    graph.add(
        "MaxPool",
        source,
        *layer.outputs,
        kernel_shape=_pair(layer.kernel),
        strides=_pair(layer.stride),
        pads=_pads((0, layer.stride - 1) if past_end else pad),
        dilations=_pair(layer.dilation),
        ceil_mode=int(layer.ceil and not past_end),
    )


def _unpool(graph: Graph, layer: pooling.Unpool) -> None:
    """A scatter: MaxUnpool refuses a size that rounding up has lengthened (ONNX Runtime 1.32)."""
    values, places, like = graph.given(layer)  # places count over the whole map, pictures too
    name, all_in_a_row = layer.name, graph.integers(-1)
    shape = graph.add("Shape", [like], f"{name}:shape")
    count = graph.add(
        "Reshape", [graph.add("Size", [like], f"{name}:n"), all_in_a_row], f"{name}:count"
    )
    zeros = graph.add("ConstantOfShape", [count], f"{name}:zeros")
    rows = [
        graph.add("Reshape", [source, all_in_a_row], f"{name}:{i}")
        for i, source in enumerate((places, values))
    ]
    full = graph.add("ScatterElements", [zeros, *rows], f"{name}:full", axis=0)
    graph.add("Reshape", [full, shape], name)


def _average_pool(graph: Graph, layer: pooling.AvgPool) -> None:
    graph.add(
        "AveragePool",
        graph.given(layer),
        layer.name,
        kernel_shape=_pair(layer.kernel),
        strides=_pair(layer.stride),
        dilations=_pair(layer.dilation),
        ceil_mode=1,
    )


def _global_average(graph: Graph, layer: pooling.GlobalAvgPool) -> None:
    """Means over parts of a map of any size: a product with shares from both sides."""
    (source,), name = graph.given(layer), layer.name
    if layer.bins == 1:
        graph.add("GlobalAveragePool", [source], name)
        return
    rows, columns = (_shares(graph, source, axis, layer.bins) for axis in (0, 1))
    across = graph.add("Transpose", [columns], f"{name}:across")
    tall = graph.add("MatMul", [source, across], f"{name}:columns")
    graph.add("MatMul", [rows, tall], name)


def _shares(graph: Graph, source: str, axis: int, bins: int) -> str:
    """(bins, cells) of an axis: cell n is in part i where floor(iN/b) <= n < ceil((i+1)N/b)."""
    at = f"{source}:{bins} parts of {('rows', 'columns')[axis]}"
    if any(at in node.output for node in graph.nodes):
        return at

    def add(operator: str, *inputs: str, to: int | None = None) -> str:
        return graph.add(operator, inputs, f"{at}:{len(graph.nodes)}", to=to)

    def number(value: int | list[list[int]]) -> str:
        return graph.constant(f"int64:{value}", np.array(value, np.int64))

    length = add("Gather", graph.size_of(source), number(axis))
    firsts, lasts = ([[i + step] for i in range(bins)] for step in (0, 1))
    begin = add("Div", add("Mul", number(firsts), length), number(bins))
    reach = add("Add", add("Mul", number(lasts), length), number(bins - 1))
    end = add("Div", reach, number(bins))
    cells = add("Range", number(0), length, number(1))
    inside = add("And", add("GreaterOrEqual", cells, begin), add("Less", cells, end))
    count = add("Cast", add("Sub", end, begin), to=1)  # 1: float32
    return graph.add("Div", [add("Cast", inside, to=1), count], at)


def _resize(graph: Graph, layer: pooling.Resize) -> None:
    source, like = graph.given(layer)
    kept = graph.add("Shape", [source], f"{layer.name}:kept", start=0, end=2)
    size = graph.add("Concat", [kept, graph.size_of(like)], f"{layer.name}:to", axis=0)
    corners = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    graph.add("Resize", [source, "", "", size], layer.name, **corners)


def _crop(graph: Graph, layer: joining.Crop) -> None:
    source, like = graph.given(layer)
    start, size = graph.integers(layer.offset, layer.offset), graph.size_of(like)
    end = graph.add("Add", [size, start], f"{layer.name}:end")
    graph.add("Slice", [source, start, end, graph.integers(2, 3)], layer.name)


def _sum(graph: Graph, layer: joining.Sum) -> None:
    parts = graph.given(layer)
    for i, factor in enumerate(layer.coefficients):
        share = graph.constant(f"float32:{factor:g}", np.asarray(factor, np.float32))
        parts[i] = graph.add("Mul", [parts[i], share], f"{layer.name}:{i}")
    graph.add("Sum", parts, layer.name)


def _plain(operator: str, **attributes: Any) -> Callable[[Graph, Any], None]:
    def emit(graph: Graph, layer: Layer) -> None:
        graph.add(operator, graph.given(layer), layer.name, **attributes)

    return emit


_EMIT: dict[type[Layer], Callable[[Graph, Any], None]] = {
    layers.Conv: _conv,
    layers.Deconv: _deconv,
    layers.Upsample: _upsample,
    layers.Relu: _relu,
    layers.Lrn: _lrn,
    layers.BatchNorm: _batch_norm,
    layers.Dropout: _dropout,
    layers.Scale: _scale,
    layers.Softmax: _plain("Softmax", axis=1),
    pooling.MaxPool: _max_pool,
    pooling.Unpool: _unpool,
    pooling.AvgPool: _average_pool,
    pooling.GlobalAvgPool: _global_average,
    pooling.Resize: _resize,
    joining.Crop: _crop,
    joining.Sum: _sum,
    joining.Concat: _plain("Concat", axis=1),
}
