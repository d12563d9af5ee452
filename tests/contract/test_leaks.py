"""A run keeps its drawn split, and says when it is judged by what it was trained on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from make_data import folder_set
from pixelwise.cli.app import run
from pixelwise.data import splits
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.listing import write_splits
from pixelwise.errors import UsageError
from pixelwise.predict.model import load
from pixelwise.training import loop
from pixelwise.training.journal import ProgressReport
from pixelwise.training.loop import train
from pixelwise.training.run_data import read_data
from pixelwise.weights.checkpoint import load_checkpoint, read_header, save_checkpoint
from small_runs import recipe

SHORT = {"iterations": 4, "validate_every": 4, "width": 0.25}


def add(root: Path, *names: str) -> None:
    """More pictures: of ``folder_set(16)``, which begins with those that are there."""
    more = folder_set(root.parent / f"more-{names[0]}", 16)
    for name in names:
        for kind in ("images", "labels"):
            shutil.copyfile(more / kind / f"{name}.png", root / kind / f"{name}.png")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twelve pictures without lists, and a run on them."""
    place = tmp_path_factory.mktemp("leaks")
    data = folder_set(place / "data", 12)
    train(recipe(data, **SHORT), place / "run")
    return data, place / "run"


def judged(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> list[str] | None:
    assert run(["evaluate", str(model), str(data), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["trained_on"]


def test_pictures_that_are_added_do_not_bring_trained_ones_to_val(
    begun: tuple[Path, Path], tmp_path: Path, capsys, caplog
) -> None:
    data = shutil.copytree(begun[0], tmp_path / "data")
    add(data, "p12", "p13", "p14")
    assert {i.name for i in open_dataset(data).items("val")} == {"p2", "p10", "p14"}
    assert judged(begun[1], data, capsys) == []
    assert "trained on" not in caplog.text


def test_evaluate_tells_of_pictures_that_were_trained_on_under_any_name(
    begun: tuple[Path, Path], tmp_path: Path, capsys, caplog
) -> None:
    data = shutil.copytree(begun[0], tmp_path / "data")
    for kind in ("images", "labels"):
        (data / kind / "p7.png").rename(data / kind / "other.png")
    write_splits(data / "splits", {"val": ["p2", "other", "p10"]})
    assert judged(begun[1], data, capsys) == ["other"]
    assert "1 of the 3 pictures in split val were trained on (other)" in caplog.text
    assert load(begun[1]).evaluate(data).trained_on == ("other",)


def test_weights_from_before_the_note_say_that_nobody_knows(
    begun: tuple[Path, Path], tmp_path: Path, capsys, caplog
) -> None:
    header, tensors = load_checkpoint(begun[1] / "weights" / "best.safetensors")
    older = {k: v for k, v in header.data.items() if k != "trained_on"}
    save_checkpoint(tmp_path / "old.safetensors", tensors, dataclasses.replace(header, data=older))
    assert judged(tmp_path / "old.safetensors", begun[0], capsys) is None
    assert "some of those judged may have been trained on" in caplog.text


def test_a_model_made_from_another_remembers_what_that_was_trained_on(
    begun: tuple[Path, Path], tmp_path: Path
) -> None:
    data = shutil.copytree(begun[0], tmp_path / "data")
    write_splits(data / "splits", {"train": ["p2", "p10"], "val": ["p0", "p1"]})
    train(recipe(data, weights=str(begun[1]), **SHORT), tmp_path / "run")
    assert load(tmp_path / "run").evaluate(data).trained_on == ("p0", "p1")
    runs = begun[1], tmp_path / "run"
    earlier, now = (read_header(folder / "weights/best.safetensors") for folder in runs)
    assert len(earlier.trained_on) == 10
    assert len(now.trained_on) == 12
    assert earlier.data["splits"]["val"] == ["p10", "p2"]
    assert "splits" not in now.data  # its lists lie in the data


@pytest.mark.parametrize("noted", [True, False])
def test_a_run_goes_on_with_the_split_that_it_drew(tmp_path: Path, monkeypatch, noted) -> None:
    """Also one from before splits were noted, when of eight pictures two were held out."""
    data = folder_set(tmp_path / "data")

    def as_it_was(items):
        return dict(zip(("train", "val"), splits.once_drawn(items), strict=True))

    def unnoted(*arguments, **options):
        data = read_data(*arguments, **options)
        facts = {k: v for k, v in data.facts.items() if k != "splits"}
        return dataclasses.replace(data, facts=facts)

    def stop(report: ProgressReport) -> None:
        if report.step:
            raise KeyboardInterrupt

    plan = recipe(data, **SHORT, save_every=2)
    with monkeypatch.context() as patch:
        patch.setattr(splits, "drawn", as_it_was)
        if not noted:
            patch.setattr(loop, "read_data", unnoted)
        with pytest.raises(KeyboardInterrupt):
            train(plan, tmp_path / "run", watch=stop)
    assert len(open_dataset(data).items("val")) == 1
    last = train(plan, tmp_path / "run", resume=True).with_name("last.safetensors")
    assert read_header(last).data["splits"]["val"] == ["p2", "p7"]
    add(data, "p12")
    with pytest.raises(UsageError, match="pictures or label maps were added"):
        train(plan, tmp_path / "run", resume=True)
