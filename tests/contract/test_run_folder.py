"""A run folder belongs to one run, and to nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from make_data import folder_set
from pixelwise.errors import DataError, ResourceError, UsageError
from pixelwise.folders import JOURNAL, read_journal
from pixelwise.training import loop
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import write_recipe
from small_runs import recipe


def test_two_trainers_cannot_share_a_folder(data, tmp_path) -> None:
    import fcntl

    run = tmp_path / "run"
    run.mkdir()
    with (run / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ResourceError, match="in use"):
            loop.train(recipe(data), run)


def test_the_folder_is_locked_before_it_is_looked_at(data, tmp_path, monkeypatch) -> None:
    """Another process cannot finish between the look at the folder and the first step."""
    plan, run = recipe(data, iterations=1), tmp_path / "run"
    original = loop.fabric_of

    def fabric(asked: Recipe):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "fabric_of", original)
            with pytest.raises(ResourceError, match="is in use by process"):
                loop.train(plan, run)
        return original(asked)

    monkeypatch.setattr(loop, "fabric_of", fabric)
    loop.train(plan, run)
    assert [e["event"] for e in read_journal(run / JOURNAL)].count("start") == 1


def test_leftovers_of_killed_saves_go(data, tmp_path) -> None:
    plan, run = recipe(data, iterations=1), tmp_path / "run"
    loop.train(plan, run)
    left = [run / place / ".pixelwise-0.tmp" for place in ("", "weights", "state")]
    for path in left:
        path.write_bytes(b"half")
    loop.train(plan, run, resume=True)
    assert not any(path.exists() for path in left)


def test_the_data_folder_itself_is_no_run_folder(data: Path) -> None:
    before = sorted(p.name for p in data.iterdir())
    with pytest.raises(UsageError, match="is the data itself") as caught:
        loop.train(recipe(data), data)
    assert caught.value.code == "U003"
    assert sorted(p.name for p in data.iterdir()) == before


def test_a_folder_of_other_things_is_no_run_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    with pytest.raises(UsageError, match="holds thesis/, which is not of a run") as caught:
        loop.train(recipe(data, iterations=1), tmp_path)
    assert caught.value.code == "U003"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_log_may_lie_in_the_run_folder(data: Path, tmp_path: Path, resume: bool) -> None:
    (tmp_path / "slurm.out").write_text("begun")
    loop.train(recipe(data, iterations=1), tmp_path, resume=resume)
    assert (tmp_path / "slurm.out").read_text() == "begun"


def test_a_run_that_is_refused_leaves_no_folder(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="split `night`"):
        loop.train(recipe(data, train_split="night"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_the_datas_own_folders_are_no_run_folders(tmp_path: Path, folder: str) -> None:
    root = folder_set(tmp_path / "set")
    before = sorted((root / folder).iterdir())
    with pytest.raises(UsageError, match="holds the data's own files") as caught:
        loop.train(recipe(root), root / folder)
    assert caught.value.code == "U003"
    assert sorted((root / folder).iterdir()) == before


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["recipe.yaml", "journal.jsonl", "report.html"])
def test_files_of_the_user_are_no_run(data: Path, tmp_path: Path, name: str, resume: bool) -> None:
    (tmp_path / name).write_text("# mine\ndata: $MY_DATA\n")
    with pytest.raises(UsageError, match=f"{name} exists and is not of a run") as caught:
        loop.train(recipe(data), tmp_path, resume=resume)
    assert caught.value.code == "U003"
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text().startswith("# mine")


def test_a_run_that_died_before_its_first_save_begins_a_new_journal(data, tmp_path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lines = ['{"event": "start", "step": 0}', '{"event": "step", "step": 10, "loss": 1.0}']
    (run / "journal.jsonl").write_text("\n".join(lines) + "\n")
    write_recipe(run / "recipe.yaml", recipe(data))
    loop.train(recipe(data, iterations=1), run)
    events = read_journal(run / "journal.jsonl")
    assert events[0]["event"] == "start"
    assert [e["step"] for e in events if e["event"] == "step"] == [1]
