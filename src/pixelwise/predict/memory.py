"""Whether a picture fits into memory, asked before anything is allocated."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pixelwise.engine.memory import FLOAT32, kept_for_gradients, peak_of_maps
from pixelwise.errors import ResourceError, hxw
from pixelwise.machine import allocator
from pixelwise.nets.net import Net

HINT = "shrink or cut the picture, or take a narrower net"
TRAINING_HINT = "a smaller crop or batch (--set accumulate makes up for it), or --precision bf16"
SCRATCH = 1.25
"""Times the maps held: what convolutions use beside their input and output."""


def check(net: Net, height: int, width: int, device: torch.device) -> None:
    """Refuse a picture that does not fit.

    Raises:
        ResourceError: R003 with the bytes needed and available.
    """
    numbers, layer = peak_of_maps(net, height, width)
    needed = int(SCRATCH * FLOAT32 * numbers)
    what = f"a picture of {hxw((height, width))} (HxW) needs about {needed:,} bytes at {layer}"
    _refuse_without(needed, device, what, HINT)


def check_step(
    net: Net,
    trained: Collection[str],
    shape: tuple[int, int, int],
    *,
    number: int,
    device: torch.device,
) -> None:
    """Refuse a training step that cannot fit.

    Args:
        net: what is trained.
        trained: layers whose parameters are.
        shape: (N, H, W) of a batch.
        number: bytes of one.
        device: where.

    Raises:
        ResourceError: R003 with the bytes needed at the least, and available.
    """
    count, height, width = shape
    needed = number * count * kept_for_gradients(net, trained, height, width)
    size = hxw((height, width))
    what = f"a step on {count} pictures of {size} (HxW) keeps at least {needed:,} bytes"
    _refuse_without(needed, device, what, TRAINING_HINT)


def _refuse_without(needed: int, device: torch.device, what: str, hint: str) -> None:
    there = available(device)
    if there is not None and 2 * needed > there and device.type == "cpu":
        allocator.give_back()  # what is kept counts as taken, and need not fit what comes
        there = available(device)
    if there is not None and needed > there:
        told = f"{what}, {there:,} are available on {device.type}"
        raise ResourceError("R003", told, hint)


def available(device: torch.device) -> int | None:
    """Bytes that can still be taken, or None where the system does not say."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held  # what torch keeps to give again
    told = [n for n in (_of_machine(), _of_group(), _of_process()) if n is not None]
    return min(told, default=None)


def _of_machine() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_group(folder: str = "/sys/fs/cgroup") -> int | None:
    """What a container's limit leaves; cached files count as free, as they give way."""
    limit = "".join(_lines(f"{folder}/memory.max")).strip()
    used = "".join(_lines(f"{folder}/memory.current")).strip()
    if not (limit.isdigit() and used.isdigit()):  # "max" is no limit
        return None
    facts = dict(line.split() for line in _lines(f"{folder}/memory.stat"))
    return max(0, int(limit) - int(used) + int(facts.get("inactive_file", 0)))


def _of_process() -> int | None:
    """What ``ulimit -v`` leaves."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _lines("/proc/self/statm")
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return max(0, limit - int(pages[0].split()[0]) * resource.getpagesize())


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


@contextmanager
def told(hint: str = HINT) -> Iterator[None]:
    """An allocation that fails all the same becomes R003."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not short and "allocate memory" not in text:
            raise
        first = text.splitlines()[0][:200] if text else "an allocation failed"
        raise ResourceError("R003", f"not enough memory: {first}", hint) from error
