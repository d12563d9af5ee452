"""What a run says while it goes on, to people who look and to files."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pixelwise.training import progress_bar
from pixelwise.training.journal import ProgressReport


def report(step: int) -> ProgressReport:
    return ProgressReport(step, 400, step / 400, 0.25, 5.5, 130.4)


def test_a_line_has_step_loss_speed_and_time_left() -> None:
    assert progress_bar.line(report(100)) == "step 100/400  loss 0.2500  5.5 images/s  2:10 left"


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))  # ten seconds between ticks
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: float(next(clock)))
    with progress_bar.progress_bar() as watch:
        for step in range(10, 90, 10):
            watch(report(step))
    said = capsys.readouterr().err.splitlines()
    assert 1 <= len(said) < 8
    assert all("images/s" in line for line in said)


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
    watch = progress_bar.tensorboard_watch(tmp_path, seen.append)
    assert list(tmp_path.iterdir()) == []
    for step in (10, 20):
        watch(report(step))
    assert (tmp_path / "tensorboard").is_dir()
    assert [step for name, _, step in written if name == "loss"] == [10, 20]
    assert [t.step for t in seen] == [10, 20]


def test_warnings_of_the_run_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar.progress_bar():
        logging.getLogger("pixelwise.somewhere").warning("mind [this]")
    assert "mind [this]" in capsys.readouterr().err
