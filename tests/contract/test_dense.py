"""Section 3.2 on the real GoogLeNet, to pool3: stitching shifted runs equals rarefied filters.

Without padding inside they are the same to rounding; as published, away from the rims alone.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pixelwise.engine.network import Network
from pixelwise.engine.runner import TorchRunner
from pixelwise.nets import rarefy
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net
from pixelwise.nets.unpadded import unpadded
from pixelwise.predict.stitching import stitched
from pixelwise.weights.load import read_weights

POOLS = ("pool1/3x3_s2", "pool2/3x3_s2", "pool3/3x3_s2")
LAST = POOLS[-1]


def to_pool3(whole: Net) -> Net:
    net = Net()
    for layer in (*takewhile(lambda r: r.name != LAST, whole.layers.values()), whole.layers[LAST]):
        net.add(layer)
    net.top = LAST
    return net


def loaded(folder: Path, net: Net) -> TorchRunner:
    tensors = read_weights(folder / "bvlc_googlenet/bvlc_googlenet_noaux_v2.caffemodel").tensors
    network = Network(net).double().eval()
    state = {n: tensors[n].reshape(p.shape).double() for n, p in network.state_dict().items()}
    network.load_state_dict(state)
    return TorchRunner(network)


def both(folder: Path, net: Net, factor: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The stitched map without what lies left of the first cell, and the rarefied one."""
    run = loaded(folder, net)
    finer = loaded(folder, rarefy(net, *POOLS[-{4: 2, 8: 3}[factor] :]))
    assert (run.net.stride, finer.net.stride) == (16, 16 // factor)
    generator = torch.Generator().manual_seed(0)
    x = 255 * torch.rand(1, 3, *size, generator=generator, dtype=torch.float64) - 110
    (cells,) = (m.cells for m in stitched(run, x, factor).values())
    (dense,) = (m.cells for m in finer.maps(x).values())
    rows, columns = dense.shape[-2:]
    return cells[..., factor - 1 :, factor - 1 :][..., :rows, :columns], dense


@pytest.mark.parametrize("factor", [4, 8])
def test_without_padding_stitched_is_rarefied(
    real_data: Path, factor: int, record_property: pytest.RecordProperty
) -> None:
    size = (131, 123)
    a, b = both(real_data / "weights", to_pool3(unpadded(spec("googlenet"))), factor, size)
    # Rounded up, the last windows reach beyond the map: cut off here, zero there. Their cells see
    # beyond the picture, and are left out.
    field, by = 107, 16 // factor
    inside = (..., *(slice((n - field) // by + 1) for n in size))
    largest = (a[inside] - b[inside]).abs().max().item()
    record_property("largest_difference", largest)
    assert a[inside].shape[-2:] == ((131 - 107) // by + 1, (123 - 107) // by + 1)
    assert b[inside].std() > 1
    assert largest <= 1e-10


def test_with_its_padding_the_interior_alone_agrees(real_data: Path) -> None:
    net = to_pool3(spec("googlenet"))
    a, b = both(real_data / "weights", net, 4, (160, 136))
    # Cells whose 107 px lie in the picture: centre shift + 4 * i, 53 px to either side.
    shift = net.sights[LAST].map.shift
    inside = (
        ...,
        *(
            slice(-(-(53 - int(shift)) // 4), (n - 1 - 53 - int(shift)) // 4 + 1)
            for n in (160, 136)
        ),
    )
    assert min(a[inside].shape[-2:]) >= 7
    assert (a[inside] - b[inside]).abs().max() <= 1e-10 * b.abs().max()
    assert (a - b[..., : a.shape[2], : a.shape[3]]).abs().max() > 1
