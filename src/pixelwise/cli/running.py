"""What commands that run a net have in common: threads and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixelwise.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from pixelwise.inference.predictor import Precision


def use_threads(threads: int) -> None:
    """Let torch use so many CPU threads; 0 leaves its choice."""
    if threads < 0:
        raise UsageError("U002", f"--threads is {threads}, expected at least 0", "--threads 0")
    if threads:
        import torch

        torch.set_num_threads(threads)


def choose_precision(name: str) -> Precision:
    """``name``, if it is a precision that is offered."""
    if name == "bf16":
        return "bf16"
    if name != "fp32":
        raise unknown_name("precision", name, ("fp32", "bf16"))
    return "fp32"
