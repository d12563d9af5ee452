"""Nets with random numbers in every layer, so that no layer can be left out unnoticed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.weights.checkpoint import Header, save_checkpoint


def random_net(name: str, *, seed: int = 0, **options: Any) -> Network:
    """In evaluation, in float32; activations keep about the size of the input."""
    return randomised(build(name, **options), seed=seed)


def randomised(net: Network, *, seed: int = 0) -> Network:
    """The net, with a random number in place of each of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for array, tensor in net.state_dict().items():
            if tensor.ndim > 1:
                tensor.normal_(std=math.sqrt(2 / tensor[0].numel()))
            elif "running_var" in array or "scale" in array:
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                tensor.normal_(std=0.1)
    return net.eval()


def shaken(network: Network) -> Network:
    """In evaluation, with random weights of which the scores keep their scale, batch norm too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            p.copy_(torch.randn(p.shape, generator=generator) * math.sqrt(2 / fan))
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.copy_(0.5 + module.weight.abs())
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.running_mean.uniform_(-0.1, 0.1, generator=generator)
    return network.eval()


def save_random(path: Path, name: str, **options: Any) -> Network:
    """The same as a checkpoint at ``path``."""
    return save(path, name, random_net(name, **options), **options)


def save(path: Path, name: str, network: Network, **options: Any) -> Network:
    """A net that was built with these options as a checkpoint."""
    net = network.net
    classes = net.channels[next(iter(net.outputs.values()))]
    names = tuple(f"class {i}" for i in range(classes))
    bands = sum(net.inputs.values())
    # A permutation of any number of bands, as released for colour and depth.
    order = "bgr" if bands == 3 else list(range(bands))
    pixels = {"order": order, "scale": 1.0, "mean": [100.0] * bands, "std": [1.0] * bands}
    header = Header(name, options, names, preprocess=pixels)
    save_checkpoint(path, network.state_dict(), header)
    return network
