"""Whole runs in small, for tests: a recipe, and what its journal tells."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pixelwise.cli.app import run as command
from pixelwise.folders import read_journal
from pixelwise.training.recipe import Augmentation, Optim, Recipe
from pixelwise.training.run import Run


def recipe(data: Path, **changes) -> Recipe:
    settings = {
        "net": "fcn8s-tiny",
        "width": 0.5,
        "iterations": 60,
        "batch": 4,
        "threads": 1,
        "augment": Augmentation(mirror=False),
        "optim": Optim("adamw", lr=5e-3),
    }
    return Recipe(data=str(data), **(settings | changes))


def events(run: Path, kind: str) -> list[dict]:
    return [e for e in read_journal(run / "journal.jsonl") if e["event"] == kind]


def train(data: Path, run: Path, settings: str, *options: str) -> int:
    """The command's exit status; settings are ``key=value`` words."""
    words = [word for setting in settings.split() for word in ("--set", setting)]
    if "net=" not in settings and "--net" not in options:  # else it would be planned
        words += ["--set", "net=fcn8s-tiny"]
    return command(["train", str(data), "-o", str(run), "--device", "cpu", *words, *options])


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """As if a signal came during a step."""
    original = Run._step

    def step(run, number):
        loss = original(run, number)
        if number + 1 == steps:
            run.caught.signal = signal.SIGTERM
        return loss

    monkeypatch.setattr(Run, "_step", step)
