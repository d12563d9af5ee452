"""A spec carried out: ``Network`` is a torch module whose parameter names are the layer names.

Weights of Caffe nets therefore match by name, and surgery between stages needs no table. What each
kind of record becomes is said in ``modules.py``; ``Network.forward`` is a walk over the records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pixelwise.engine.modules import make
from pixelwise.engine.plan import Step, records, steps
from pixelwise.errors import unknown_name
from pixelwise.nets.net import Net


class Network(nn.Module):
    """Carries out a net.

    ``forward`` takes pictures (N, B, H, W), float and preprocessed; the inputs of the net are
    consecutive runs of their bands. It returns what the net's last layer gives (scores (N, K, H, W)
    of a segmentation net), or of a net with several heads their maps by name. Maps are dropped
    after their last use.
    Upsampling that is cropped is computed by the crop's module (``plan.py``): a hook on
    ``upscore8`` sees nothing in a forward pass; ``activations`` gives its map.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.checkpointed = False
        """Whether training keeps maps only where their scale changes, and computes the others again
        on the way back."""
        self._steps = steps(net, net.outputs.values())
        for layer in records(net).values():
            if layer.inputs:
                self.add_module(layer.name, make(layer, net.given_channels(layer)))
        self.float()  # whatever the process's default is: checkpoints and exactness count on it

    def forward(
        self, x: Tensor, wanted: Collection[str] | None = None
    ) -> Tensor | dict[str, Tensor]:
        """(N, B, H, W) to the output of the only head, or of each head by its name.

        With ``wanted`` to the maps of these layers, see ``activations``.
        """
        if wanted is not None:
            return self._run(steps(self.net, wanted), x, wanted)
        outputs = self.net.outputs
        maps = self._run(self._steps, x, outputs.values())
        named = {head: maps[layer] for head, layer in outputs.items()}
        return named if len(named) > 1 else maps[self.net.output]

    def activations(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The maps of the named layers; what does not lead to them is not computed.

        Raises:
            UsageError: no such layer; similar names are listed.
        """
        for name in names:
            if name not in self.net.channels:
                raise unknown_name("layer", name, tuple(self.net.layers))
        maps: dict[str, Tensor] = self(x, names)  # as a call, so that hooks on the net see it
        return maps

    def _run(self, plan: Sequence[Step], x: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        inputs = self.net.inputs
        # One input takes what it is given, which its layers check; several refuse a wrong count.
        parts = torch.split(x, [*inputs.values()], dim=1) if len(inputs) > 1 else (x,)
        maps = dict(zip(inputs, parts, strict=True))
        if self.checkpointed and torch.is_grad_enabled():
            for _, part in groupby(plan, key=lambda step: self.net.sights[step.layer.name].map):
                maps = checkpoint(
                    *(self._walk, [*part], maps),
                    use_reentrant=False,
                    context_fn=lambda: (nullcontext(), self._statistics_kept()),
                )
        else:
            maps = self._walk(plan, maps)
        return {name: maps[name] for name in wanted}

    @contextmanager
    def _statistics_kept(self) -> Iterator[None]:
        """What is computed again was counted by batch normalisations the first time."""
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]
        kept = [(b, b.clone()) for norm in norms for b in norm.buffers()]
        try:
            yield
        finally:  # torch leaves by an exception as soon as all that it wants is there
            for buffer, before in kept:
                buffer.copy_(before)

    def _walk(self, plan: Sequence[Step], known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Pictures, and maps of layers before, to those that are still needed after some steps."""
        maps = dict(known)
        for step in plan:
            layer = step.layer
            try:
                given = [maps[source] for source in layer.inputs]
                made = self.get_submodule(layer.name)(*given) if given else maps[layer.name]
            except Exception as error:
                error.add_note(f"in layer {layer.name} ({type(layer).__name__})")
                raise
            maps |= zip(layer.outputs, made if len(layer.outputs) > 1 else (made,), strict=True)
            for name in step.measured:
                maps[name] = maps[name].new_empty((0, 0, *maps[name].shape[-2:]))
            for name in step.drops:
                del maps[name]
        return maps


def filled(net: Net, tensors: Mapping[str, Tensor]) -> Network:
    """The net with exactly its state dict as its own, in evaluation: nothing is drawn or copied."""
    with torch.device("meta"):
        module = Network(net)
    module.load_state_dict(dict(tensors), assign=True)
    return module.eval()
