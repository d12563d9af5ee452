"""pytorch-fcn's nets and files: the same scores from its state dicts, and where the two differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.engine.build import build
from pixelwise.engine.network import Network, filled
from pixelwise.errors import ModelError, UsageError
from pixelwise.weights.checkpoint import load_checkpoint, net_of
from pixelwise.weights.importing import import_weights, start_from
from pytorch_fcn import TorchFcn

NARROW, CLASSES = 16, 21
NETS = {"voc-fcn32s": (32, False), "voc-fcn16s": (16, False), "voc-fcn8s": (8, False)}
NETS |= {"voc-fcn8s-atonce": (8, True)}
SIZES = ((97, 131), (60, 45), (1, 1), (128, 64))


def theirs(name: str) -> TorchFcn:
    """A net of theirs with random numbers in every convolution."""
    torch.manual_seed(0)
    stride, at_once = NETS[name]
    net = TorchFcn(stride, CLASSES, NARROW, at_once=at_once).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.weight[0].numel()))
            nn.init.normal_(module.bias, std=0.1)
    return net


def ours(path: Path, out: Path, **options: str) -> Network:
    done = import_weights(path, out, **options)
    header, tensors = load_checkpoint(done.out)
    return filled(net_of(header, out), tensors)


@pytest.mark.parametrize("name", NETS)
def test_its_state_dict_gives_its_scores(tmp_path: Path, name: str) -> None:
    reference, path = theirs(name), tmp_path / "fcn.pth"
    torch.save(reference.state_dict(), path)
    net = ours(path, tmp_path / "ours.safetensors", net=name)
    for height, width in SIZES:
        x = 60 * torch.randn(1, 3, height, width)
        with torch.inference_mode():
            want, got = reference(x), net(x)
        assert got.shape == want.shape == (1, CLASSES, height, width)
        assert (got - want).abs().max() < 1e-5 * want.abs().max()
        first, second = want.topk(2, dim=1).values.unbind(1)
        clear = first - second > 1e-5 * want.abs().max()
        assert torch.equal(got.argmax(1)[clear], want.argmax(1)[clear])


def checkpoint(reference: TorchFcn) -> dict[str, Any]:
    """What its trainer saves (torchfcn/trainer.py): the best score is a number of numpy's."""
    optimizer = torch.optim.SGD(reference.parameters(), lr=1e-10, momentum=0.99)
    reference(torch.zeros(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    return {
        "epoch": 11,
        "iteration": 96_000,
        "arch": "FCN32s",
        "optim_state_dict": optimizer.state_dict(),
        "model_state_dict": reference.state_dict(),
        "best_mean_iu": np.float64(0.6284),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_the_checkpoint_of_its_trainer_is_read(tmp_path: Path, zipped: bool) -> None:
    reference, path = theirs("voc-fcn32s"), tmp_path / "model_best.pth.tar"
    torch.save(checkpoint(reference), path, _use_new_zipfile_serialization=zipped)
    if not zipped:  # numpy 1, which its author had, calls the module otherwise
        data = path.read_bytes()
        assert b"numpy._core.multiarray" in data
        path.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    done = import_weights(path, tmp_path / "a.safetensors")
    assert done.header.net == "voc-fcn32s"  # known by its layers
    assert done.header.preprocess["order"] == "bgr"
    assert "taken from `model_state_dict`" in done.foreign.notes[0]
    _, tensors = load_checkpoint(done.out)
    state = reference.state_dict()
    assert tensors.keys() == state.keys() - {"upscore.weight"}
    assert all(torch.equal(tensors[k], state[k]) for k in tensors)


def test_one_of_several_gpus_is_read(tmp_path: Path) -> None:
    reference = nn.DataParallel(theirs("voc-fcn16s"))
    torch.save({"model_state_dict": reference.state_dict()}, tmp_path / "a.pth")
    assert import_weights(tmp_path / "a.pth", tmp_path / "a.safetensors").header.net == "voc-fcn16s"


def test_whether_an_8s_was_trained_at_once_is_asked_for(tmp_path: Path) -> None:
    """Its factors stand in its code, so both nets save the same names (trap 10)."""
    path = tmp_path / "fcn8s.pth"
    torch.save(theirs("voc-fcn8s-atonce").state_dict(), path)
    with pytest.raises(UsageError, match="voc-fcn8s and of voc-fcn8s-atonce") as caught:
        import_weights(path, tmp_path / "a.safetensors")
    assert caught.value.hint == "--net voc-fcn8s"
    staged = ours(path, tmp_path / "a.safetensors", net="voc-fcn8s")
    at_once = ours(path, tmp_path / "b.safetensors", net="voc-fcn8s-atonce")
    assert at_once.state_dict()["scale_pool3.weight"].unique().tolist() == pytest.approx([0.0001])
    x = 60 * torch.randn(1, 3, 32, 32)
    assert (staged(x) - at_once(x)).abs().max() > 0.1 * staged(x).abs().max()
    foreign, _ = start_from(path, build("voc-fcn8s-atonce", width=1 / NARROW))
    assert not foreign.has_factors


def test_a_state_dict_of_ours_without_factors_is_still_no_at_once_net(tmp_path: Path) -> None:
    torch.save(build("voc-fcn8s", width=1 / NARROW).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ModelError, match="staged net's weights"):
        import_weights(tmp_path / "a.pth", tmp_path / "a.safetensors", net="voc-fcn8s-atonce")


def test_dropout_is_of_single_values_here_and_of_whole_channels_there(tmp_path: Path) -> None:
    """Trap 14; both scale what stays by 2, and both do nothing when labels are made."""
    torch.manual_seed(0)
    ours_net = build("voc-fcn32s", width=1 / NARROW).train()
    x = torch.ones(1, 64, 6, 6)
    there = theirs("voc-fcn32s").train().drop(x)[0].flatten(1)
    here = ours_net.get_submodule("drop6")(x)[0].flatten(1)
    assert set(there.unique().tolist()) == set(here.unique().tolist()) == {0.0, 2.0}
    assert all(len(channel.unique()) == 1 for channel in there)
    assert sum(len(channel.unique()) == 2 for channel in here) == 64
