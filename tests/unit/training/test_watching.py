"""What a run says while it goes on, to people who look and to files."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from pixelwise.machine.progress import Progress, percent
from pixelwise.training import watching
from pixelwise.training.journal import ProgressReport


def report(step: int) -> ProgressReport:
    return ProgressReport(step, 400, step / 400, 0.25, 5.5, 130.4)


def test_a_report_is_told_with_its_stage_step_loss_speed_and_time_left() -> None:
    told: list[str] = []

    def show(work: Progress) -> None:
        told.append(f"{work.doing}: {work.facts}")

    bar = Progress("training", 1.0, amount=percent, show=show)
    watching.watch_on(bar)(replace(report(100), stage="32s"))
    assert told == ["training 32s: 25 %, step 100/400, loss 0.2500, 5.5 images/s, 2:10 left"]


def test_tensorboard_makes_no_folder_before_there_is_something_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run folder is claimed first, and must not hold anything then."""
    written = []

    class Writer:
        def __init__(self, folder: str) -> None:
            Path(folder).mkdir()

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None:
            pass

    package = ModuleType("torch.utils.tensorboard")
    package.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    seen: list[ProgressReport] = []
    watch = watching.tensorboard_watch(tmp_path, seen.append)
    assert list(tmp_path.iterdir()) == []
    for step in (10, 20):
        watch(report(step))
    assert (tmp_path / "tensorboard").is_dir()
    assert [step for name, _, step in written if name == "loss"] == [10, 20]
    assert [t.step for t in seen] == [10, 20]
