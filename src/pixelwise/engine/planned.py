"""Carries a net out by its plan: the runner on a processor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pixelwise.engine.convolutions import Convolutions
from pixelwise.engine.fusing import Op, leading_to, plan
from pixelwise.engine.kernels import unavailable
from pixelwise.engine.labels import best
from pixelwise.engine.layout import Blank, Layout, Maps, lay_out, layout_for, maps_in, rims_of
from pixelwise.engine.lowering import in_bfloat16
from pixelwise.engine.memory import FLOAT32
from pixelwise.engine.needs import of_layout
from pixelwise.engine.network import Network
from pixelwise.engine.operations import Work
from pixelwise.engine.plan import coarse_scores
from pixelwise.engine.quantised import Quantised
from pixelwise.engine.rounding import unsupported, write
from pixelwise.engine.runner import Runner, ScoreMap, TorchRunner, evaluated, score_map
from pixelwise.engine.spans import axis, blank_length
from pixelwise.engine.streaming import Stream, Streaming
from pixelwise.engine.workers import alone
from pixelwise.errors import ResourceError, UsageError
from pixelwise.machine.memory import give_back, give_back_code
from pixelwise.nets.layers import Input

SIZES_KEPT = 8
"""Sizes of pictures for which everything is at hand: a folder of photos has two or three."""
MEMORY_KEPT = 2**28
"""Numbers (1 GiB) that are kept from picture to picture; a larger block is given back each time."""


def runner(
    network: Network,
    *,
    precision: str = "fp32",
    device: torch.device | None = None,
    memory: str = "fast",
    unchanged: Callable[[], None] = lambda: None,
    quantised: Quantised | None = None,
) -> Runner:
    """What carries a network out here: its plan where that serves, else its modules.

    ``unchanged`` is called before weights are read, and raises if their file has changed.

    Raises:
        ResourceError: R009 the processor does not compute in this precision.
        UsageError: U002 eight bits of a net without a plan, or on a GPU.
    """
    device = device or torch.device("cpu")
    if device.type == "cpu" and (why := unsupported(precision)):
        raise ResourceError("R009", f"no {precision} here: {why}", "--precision fp32")
    if (why := unplanned(network, device)) and precision == "int8":
        raise UsageError(
            "U002", f"int8 is computed by a plan on a processor ({why})", "--device cpu"
        )
    if why:
        return TorchRunner(network, bf16=precision == "bf16", device=device)
    return PlannedRunner(
        network, bf16=precision == "bf16", memory=memory, unchanged=unchanged, quantised=quantised
    )


def unplanned(network: Network, device: torch.device) -> str:
    """Why a network is carried out by its modules; empty: its plan serves."""
    if device.type != "cpu":
        return f"on {device.type}"
    kinds = {p.dtype for p in network.parameters()} - {torch.float32}
    return f"in {kinds.pop()}" if kinds else ""


See = Callable[[Op, Maps], object]
"""What looks at a computation's map."""


def unseen(op: Op, maps: Maps) -> None:
    """Look at nothing."""


class Pass:
    """A plan on pictures of one size."""

    def __init__(
        self, ops: Iterable[Op], maps: Maps, blank: Blank | None, by: Convolutions
    ) -> None:
        self.maps, self._work = maps, list[tuple[Op, list[Work]]]()
        for op in ops:
            work: list[Work] = [rim.write for rim in rims_of(op, maps, blank)]
            if not isinstance(op.layer, Input):
                work.append(by.work(op, maps))
            self._work.append((op, work))

    def __call__(
        self, x: Tensor, see: See = unseen, keep: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Fill the maps from pictures (N, B, H, W); copies of the first's ``keep``, (H, W, C).

        ``see`` is shown each computation when it is done.
        """
        bands, kept = x.permute(0, 2, 3, 1), dict[str, Tensor]()
        for op, work in self._work:
            if isinstance(op.layer, Input):
                held = self.maps.layout.plan.held(op.name)
                write(bands[..., : op.layer.width], self.maps.computed(op), held)
                bands = bands[..., op.layer.width :]
            for step in work:
                step()
            see(op, self.maps)
            if op.name in keep:
                kept[op.name] = self.maps.whole(op.name)[0].clone()
        return kept


class PlannedRunner:
    """Carries a net out by its plan on the processor: in float32, or with maps of fewer bytes.

    Weights are packed at the first picture, and again when they have changed. One picture at a
    time: it waits for the one before.
    """

    def __init__(
        self,
        network: Network,
        *,
        bf16: bool = False,
        memory: str = "fast",
        unchanged: Callable[[], None] = lambda: None,
        quantised: Quantised | None = None,
    ) -> None:
        self.network, self.net, self.bf16, self.quantised = network, network.net, bf16, quantised
        self.memory, self.unchanged = memory, unchanged
        self.device, self.precision = torch.device("cpu"), "bf16" if bf16 else "fp32"
        self.plan = in_bfloat16(plan(self.net)) if bf16 else plan(self.net)
        if quantised:
            self.plan, self.precision = quantised.plan(self.plan), "int8"
        self.see: See = unseen
        self._lock = threading.Lock()
        self._memory = torch.empty(0, dtype=torch.float32)
        self._passes: dict[tuple[int, ...], Pass] = {}
        self._asked: tuple[tuple[int, ...], Layout | None] = (), None
        self._convolutions = self._unpacked()
        self._packed_of: list[tuple[int, int]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """What is packed is packed anew in another process."""
        same = partial(PlannedRunner, bf16=self.bf16, quantised=self.quantised, memory=self.memory)
        return same, (self.network,)

    def needs(self, height: int, width: int, *, scores: bool = False) -> int:
        """Bytes for what it does not hold of it: packed weights, the maps, and the work on them."""
        weights, maps, work = of_layout(self._layout((1, height, width)), self.memory)
        if self._convolutions.packed:
            weights, maps = 0, max(0, maps - FLOAT32 * self._memory.numel())
        counts = [self.net.channels[head] for head in self.net.outputs.values() if scores]
        softmax = 2 * FLOAT32 * sum(counts) * height * width  # beside the scores themselves
        return weights + maps + work + softmax

    def spare(self) -> bool:
        """Work in low memory from now on; whether it did not yet."""
        before, self.memory = self.memory, "low"
        with self._lock:  # what is packed goes, and other weights at the next picture
            self._convolutions, self._passes, self._packed_of = self._unpacked(), {}, []
        return before != "low"

    def maps(self, x: Tensor) -> dict[str, ScoreMap]:
        """Every head's scores before their last upsampling, where that is fixed and cropped.

        Raises:
            NumericalError: N003, they are not finite.
            UsageError: U002 a picture too small for the net.
        """
        own = not (self.plan.numbers or unavailable())  # oneDNN works with torch's threads
        coarse, size = coarse_scores(self.net), (x.shape[2], x.shape[3])
        with self._lock, evaluated(self.network):
            self.unchanged()
            self._pack()
            with alone() if own else nullcontext():  # so small products are slower on several
                done = self._pass((len(x), *size))
                done(x, self.see)
                cells = {name: done.maps.whole(name).clone() for name in coarse.values()}
                scores = {
                    head: score_map(self.network, head, cells[name].permute(0, 3, 1, 2), size)
                    for head, name in coarse.items()
                }
            if self._memory.numel() > MEMORY_KEPT:
                self._passes, self._memory = {}, torch.empty(0, dtype=torch.float32)
            return scores

    @property
    def packed(self) -> bool:
        """Whether it holds its weights as kernels read them."""
        return bool(self._convolutions.packed)

    def streaming(self, stream: Stream) -> Streaming:
        """What carries out a stream, with buffers of its own."""
        with self._lock, evaluated(self.network), torch.inference_mode():
            self.unchanged()
            self._pack()
            blank = self._blank(stream.layout)
        return Streaming(stream, self.network, self._convolutions, blank, self._lock)

    def sharing(self, quantised: Quantised) -> PlannedRunner:
        """Other convolutions of the same in eight bits, by the weights that are packed here."""
        other = PlannedRunner(self.network, quantised=quantised)
        other._convolutions, other._packed_of = self._convolutions, self._packed_of
        return other

    def _unpacked(self) -> Convolutions:
        filters = self.quantised.filters if self.quantised else None
        return Convolutions(self.network, filters, memory=self.memory)

    def _pack(self) -> None:
        tensors = [*self.network.parameters(), *self.network.buffers()]
        mark = [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors]
        if mark != self._packed_of:
            self._convolutions = self._unpacked()
            self._packed_of, self._passes = mark, {}

    def _pass(self, shape: tuple[int, int, int]) -> Pass:
        if shape not in self._passes:
            while len(self._passes) >= SIZES_KEPT:
                del self._passes[next(iter(self._passes))]
            layout = self._layout(shape)
            blank = self._blank(layout)
            if layout.length > self._memory.numel():
                self._passes, self._memory = {}, torch.empty(layout.length, dtype=torch.float32)
            maps = maps_in(self._memory, layout)
            self._passes[shape] = Pass(self.plan.ops, maps, blank, self._convolutions)
            del blank
            give_back()  # what packing took beside, and the blank picture
            if not unavailable():
                best(8)  # the last kernel: what compiles them can go, 60 MB
                give_back_code("llvmlite")
        return self._passes[shape]

    def _layout(self, shape: tuple[int, int, int]) -> Layout:
        """For pictures (N, H, W): what was asked of a size is not worked out again to label it."""
        known, layout = self._asked
        if there := self._passes.get(shape):
            return there.maps.layout
        if layout is None or known != shape:
            layout = layout_for(self.plan, *shape)
            self._asked = shape, layout
        return layout

    def _blank(self, layout: Layout) -> Blank | None:
        self._convolutions.fitted = self._convolutions.fitted or layout
        axes = (layout.rows, layout.columns)
        ops = [op.name for op in self.plan.ops if any(a.constant(self.plan, op.name) for a in axes)]
        if not ops:
            return None
        lengths = [blank_length(self.plan, a, ops) for a in axes]
        rows, columns = (axis(self.plan, n, whole=True) for n in lengths)
        small = lay_out(self.plan, 1, rows, columns)
        maps = maps_in(torch.empty(small.length, dtype=torch.float32), small)
        done = Pass(leading_to(self.plan, ops), maps, None, self._convolutions)
        bands = sum(self.net.inputs.values())
        return Blank(
            rows, columns, done(torch.zeros(1, bands, *lengths, dtype=torch.float32), self.see, ops)
        )
