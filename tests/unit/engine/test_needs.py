"""What a plan is said to take is what a process takes for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pixelwise.engine.convolutions import bytes_packed
from pixelwise.engine.needs import needs
from pixelwise.engine.network import Network
from pixelwise.engine.planned import PlannedRunner
from pixelwise.nets.catalog import spec
from random_weights import save_random, shaken

GROWTH = """
import gc
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from pixelwise.machine.memory import give_back
from pixelwise.predict.model import load

def status(field):
    return int(Path("/proc/self/status").read_text().split(field)[1].split()[0]) << 10

picture = np.zeros((500, 500, 3), np.uint8)
load("tiny.safetensors").predict(picture)  # compiles the kernels
for mode in ("low", "fast"):
    model = load("net.safetensors", memory=mode)
    gc.collect()
    give_back()
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS:")
    model.predict(picture)
    print(status("VmHWM:") - before)
    del model
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="told by Linux alone")
def test_a_process_grows_by_what_was_said(tmp_path: Path) -> None:
    """Weights 53 MB, maps 21, work 15; in low memory 19, 21 and 31."""
    save_random(tmp_path / "tiny.safetensors", "fcn8s-vgg16", width=1 / 16)
    net = save_random(tmp_path / "net.safetensors", "fcn8s-vgg16", width=1 / 4).net
    command = [sys.executable, "-c", GROWTH]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    for mode, grown in zip(("low", "fast"), map(int, done.stdout.split()), strict=True):
        assert grown == pytest.approx(needs(net, (500, 500), memory=mode), rel=0.15)


@pytest.mark.parametrize("name", ["fcn8s-vgg16", "fcn4s-resnet18", "fcn4s-mobilenetv2", "alexnet"])
def test_packed_weights_take_what_is_said(name: str) -> None:
    network = shaken(Network(spec(name, width=1 / 4)))
    planned = PlannedRunner(network)
    planned.maps(torch.zeros(1, 3, 230, 230))
    ops = {op.name: op for op in planned.plan.ops}
    for (op, kernel), packed in planned._convolutions.packed.items():
        kernels = [packed.kernel] if kernel == "depthwise" else packed.panels.kernels
        channels = planned.net.channels[ops[op].inputs[0]]
        assert bytes_packed(ops[op], channels, kernel) == sum(k.nbytes for k in kernels)
