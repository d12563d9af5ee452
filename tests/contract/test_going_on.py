"""What a resumed run says, and what may be changed when it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pixelwise.errors import Stopped
from pixelwise.folders import read_journal
from pixelwise.training import loop
from pixelwise.training.recipe_text import read_recipe
from small_runs import recipe, stop_after


def test_the_losses_in_the_journal_are_those_of_a_run_that_was_never_stopped(
    data, tmp_path, monkeypatch
) -> None:
    """The first line after a resume is a mean over as many steps as any other."""
    plan = recipe(data, iterations=20, validate_every=20, save_every=1, threads=1)
    loop.train(plan, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        with pytest.raises(Stopped):
            loop.train(plan, tmp_path / "parts")
    loop.train(plan, tmp_path / "parts", resume=True)

    def losses(run: Path) -> list[tuple[int, float]]:
        events = read_journal(run / "journal.jsonl")
        return [(e["step"], e["loss"]) for e in events if e["event"] == "step"]

    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert [step for step, _ in losses(tmp_path / "whole")] == [10, 20]


def test_what_a_resumed_run_may_change(data, tmp_path, monkeypatch, caplog) -> None:
    """Hands and threads; of threads it is said that the last bits may differ."""
    plan = recipe(data, iterations=6, save_every=1, threads=1)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            loop.train(plan, tmp_path / "run")
    other = plan.replace(threads=2, workers=1, cache=1.0)
    try:
        loop.train(other, tmp_path / "run", resume=True)
    finally:
        torch.set_num_threads(1)
    assert "threads 1 -> 2" in caplog.text
    assert "workers" not in caplog.text
    assert read_recipe(tmp_path / "run" / "recipe.yaml") == other
    assert read_journal(tmp_path / "run" / "journal.jsonl")[-1]["reason"] == "done"
    assert (
        len([e for e in read_journal(tmp_path / "run/journal.jsonl") if e["event"] == "start"]) == 1
    )
