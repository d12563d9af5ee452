"""The switches of CUDA; none of it is needed to turn them."""

from __future__ import annotations

import torch

from pixelwise.machine.environment import float32_is_float32


def switches() -> dict[str, object]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "conv": cudnn.conv.fp32_precision,
        "matmul": matmul.fp32_precision,
        "deterministic": cudnn.deterministic,
    }


def test_float32_on_a_gpu_is_not_tf32_within_the_block() -> None:
    before = switches()
    assert before["conv"] == "tf32"  # torch's own choice, which is why the block is there
    with float32_is_float32(torch.device("cuda")):
        assert switches() == {**before, "conv": "ieee", "matmul": "ieee"}
    assert switches() == before


def test_repeatable_kernels_are_taken_within_the_block() -> None:
    before = switches()
    with float32_is_float32(torch.device("cuda"), repeatable=True):
        assert switches()["deterministic"] is True
    assert switches() == before


def test_a_processor_needs_no_switch() -> None:
    before = switches()
    with float32_is_float32(torch.device("cpu"), repeatable=True):
        assert switches() == before
