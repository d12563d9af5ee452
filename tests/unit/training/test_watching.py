"""What a run says while it goes on, to people who look and to files."""

from __future__ import annotations

import logging

import pytest

from pixelwise.training import watching
from pixelwise.training.tick import Tick


def tick(step: int) -> Tick:
    return Tick(step, 400, step / 400, 0.25, 5.5, 130.4)


def test_a_line_has_step_loss_speed_and_time_left() -> None:
    assert watching.line(tick(100)) == "step 100/400  loss 0.2500  5.5 images/s  2:10 left"


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))  # ten seconds between ticks
    monkeypatch.setattr(watching.time, "monotonic", lambda: float(next(clock)))
    with watching.watching() as watch:
        for step in range(10, 90, 10):
            watch(tick(step))
    said = capsys.readouterr().err.splitlines()
    assert 1 <= len(said) < 8
    assert all("images/s" in line for line in said)


def test_warnings_of_the_run_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with watching.watching():
        logging.getLogger("pixelwise.somewhere").warning("mind [this]")
    assert "mind [this]" in capsys.readouterr().err
