"""The state of a run on disk: enough to go on bit for bit, in one checked file per generation."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from pixelwise.data.sample import LABELS
from pixelwise.errors import ModelError, UsageError, first_few
from pixelwise.folders import STATE
from pixelwise.training.step import Stepper
from pixelwise.weights.checkpoint import Header, load_checkpoint, read_header, save_checkpoint

GENERATIONS = 2  # a damaged newest file leaves one to fall back to

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Training time so far, over all sittings."""
    best: float = -1.0
    """Best mean IU on the validation split."""
    best_step: int = 0
    stale: int = 0
    """Evaluations since the best one."""
    next_validation: float = 0.0
    """The share of the run at which the next evaluation is due."""
    validated: int = -1
    """Steps done at the latest evaluation."""
    collapse: str = ""
    """What it said of a collapsed net; empty: nothing."""
    losses: Sequence[Mapping[str, float]] = ()
    """By head, of the steps since the last logged one: a resumed run logs the mean over all."""


def save_state(run: Path, progress: Progress, stepper: Stepper, header: Header) -> Path:
    """Write a generation and drop those before the last ``GENERATIONS``."""
    tensors = {f"net.{k}": v for k, v in stepper.net.state_dict().items()}
    if stepper.average:
        tensors |= {f"ema.{k}": v for k, v in stepper.average.tensors.items()}
    for name, parameter in stepper.net.named_parameters():
        for key, value in stepper.optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optim.{name}.{key}"] = value
    data = {**header.data, "progress": dataclasses.asdict(progress)}
    header = dataclasses.replace(header, step=progress.step, data=data)
    path = run / STATE / f"step-{progress.step:09d}.safetensors"
    save_checkpoint(path, tensors, header)
    for old in generations(run)[:-GENERATIONS]:
        old.unlink(missing_ok=True)
    return path


def generations(run: Path) -> list[Path]:
    """State files, oldest first, by the step in the name (clocks may lie)."""
    return sorted((run / STATE).glob("step-*.safetensors"))


def begun_with(run: Path) -> Header | None:
    """What the run's states say of its net, classes and preprocessing; None without a state.

    Raises:
        ModelError: M002 no state has a header that can be read.
    """
    return _newest(run, read_header) if generations(run) else None


def load_state(run: Path, stepper: Stepper, header: Header) -> Progress:
    """Put the newest whole generation into net, optimizer and average.

    ``header`` is of the run as it would begin now; its classes and data must be the state's.

    Raises:
        ModelError: M001 nothing to continue; M002 no generation is whole, naming each with why.
        UsageError: U004 the data has changed since.
    """

    def restored(path: Path) -> Progress:
        stored, tensors = load_checkpoint(path)
        _refuse_other_data(stored, header, run)
        try:
            progress = _progress(stored)
            _fill(stepper, tensors)
        except (KeyError, TypeError, RuntimeError) as error:  # a whole file may hold something else
            reason = (str(error).splitlines() or [""])[0][:200]
            message = f"{path}: no state of this run ({reason})"
            raise ModelError("M002", message, "start anew") from error
        return progress

    return _newest(run, restored)


def _progress(stored: Header) -> Progress:
    """Where a state stands; before there were heads, a loss was a number."""
    fields = dict(stored.data["progress"])
    only = next(iter(stored.heads), LABELS)
    losses = [of if isinstance(of, dict) else {only: of} for of in fields.get("losses", ())]
    return Progress(**fields | {"losses": losses})


def _newest(run: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of the newest generation that is whole."""
    failures = []
    for path in reversed(generations(run)):
        try:
            return read(path)
        except ModelError as error:
            failures.append(str(error))
            log.warning("%s; falling back to the state before it", error)
    if failures:
        raise ModelError("M002", f"{run}: no state is whole: {'; '.join(failures)}", "start anew")
    raise ModelError("M001", f"{run}: no saved state to continue", "start it without --resume")


def _refuse_other_data(stored: Header, now: Header, run: Path) -> None:
    what = ""
    if stored.classes != now.classes:
        before, after = (first_few(h.classes, 8) for h in (stored, now))
        what = f"its classes were {before}, and are {after}"
    elif tuple(stored.heads) not in ((), tuple(now.heads)):
        what = f"its heads were {', '.join(stored.heads)}, and are {', '.join(now.heads)}"
    elif stored.inputs not in ({}, now.inputs):
        kinds = [", ".join(f"{n} ({k})" for n, k in h.inputs.items()) for h in (stored, now)]
        what = f"its inputs were {kinds[0]}, and are {kinds[1]}"
    elif stored.data.get("fingerprint") != now.data.get("fingerprint"):
        what = "pictures or label maps were added, removed or replaced"
    if what:
        raise UsageError(
            "U004",
            f"{now.data.get('path')} is not what {run} was begun with: {what}",
            "bring the data back; or begin another run from what this one has learned: "
            f"pixelwise train {shlex.quote(str(now.data.get('path')))} "
            f"--weights {shlex.quote(str(run))} -o NEW",
        )


def _fill(stepper: Stepper, tensors: Mapping[str, Tensor]) -> None:
    stepper.net.load_state_dict(_part(tensors, "net."))
    if stepper.average:
        for name, tensor in stepper.average.tensors.items():
            tensor.copy_(tensors[f"ema.{name}"])
    moments: dict[str, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optim.").items():
        of, _, key = name.rpartition(".")  # conv1.weight.exp_avg
        moments.setdefault(of, {})[key] = value
    for name, parameter in stepper.net.named_parameters():
        if name in moments:
            # Counts of steps stay on the CPU, as torch's optimizers have them; the others lie in
            # memory as the parameter does, which fused optimizers take for granted.
            stepper.optimizer.state[parameter] = {
                k: v.clone() if v.ndim == 0 else torch.empty_like(parameter.detach()).copy_(v)
                for k, v in moments[name].items()
            }


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
