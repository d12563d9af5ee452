"""A data set in tars is trained, evaluated and predicted on as the same one in folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from make_data import folder_set
from pixelwise.cli.app import run as command
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import Stopped
from pixelwise.predict import model
from pixelwise.predict.jobs import carry_out, plan
from pixelwise.training import loop
from predictions import contents
from small_runs import recipe, stop_after


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same pictures in folders and in tars of two."""
    root = tmp_path_factory.mktemp("sets")
    dataset = open_dataset(folder_set(root / "made", count=12))
    folders = convert(dataset, root / "folders")
    return folders, convert(open_dataset(folders), root / "tars", shards=4000)


@pytest.fixture(scope="module")
def runs(sets: tuple[Path, Path]) -> list[Path]:
    """A run on folders, and one on tars that is stopped in the middle and goes on."""
    plans = [recipe(data, iterations=6, validate_every=3, batch=2, workers=2) for data in sets]
    whole, stopped = (data.parent / f"run-{data.name}" for data in sets)
    loop.train(plans[0], whole)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            loop.train(plans[1], stopped)
    loop.train(plans[1], stopped, resume=True)
    return [whole, stopped]


def test_a_run_on_tars_that_was_stopped_ends_with_the_weights_of_one_on_folders(runs) -> None:
    one, other = (load_file(run / "weights/last.safetensors") for run in runs)
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def test_scores_and_label_maps_are_the_same(sets, runs, tmp_path: Path, capsys) -> None:
    trained = model.load(runs[0])
    scores = [trained.evaluate(open_dataset(data), "val").as_dict()["mean_iu"] for data in sets]
    assert scores[0] == scores[1]
    for data in sets:
        work = plan([str(data)], tmp_path / data.name, save="labels", split="train")
        assert not carry_out(work, trained).failures
    one, other = (
        {n: b for n, b in contents(tmp_path / d.name).items() if n.endswith(".png")} for d in sets
    )
    assert one == other
    assert one
    assert command(["data", "inspect", str(sets[1]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_tars_are_predicted_part_by_part_without_their_label_maps(sets, runs, tmp_path) -> None:
    tars = sorted((sets[1] / "shards").glob("*.tar"))
    trained = model.load(runs[0])
    for part in ("1/3", "2/3", "3/3"):
        work = plan([*map(str, tars)], tmp_path / "out", save="labels", shard=part)
        assert carry_out(work, trained).made == 4
    folders = plan([str(sets[0] / "images")], tmp_path / "whole", save="labels")
    carry_out(folders, trained)
    made, wanted = (
        {p.name: p.read_bytes() for p in (tmp_path / o).glob("*.png")} for o in ("out", "whole")
    )
    assert made == wanted
    again = plan([str(sets[1] / "shards")], tmp_path / "again", save="labels")
    assert [job.name for job in again.jobs][:2] == ["000000.tar/p0", "000001.tar/p1"]
    assert again.left_out[0].endswith("p0.labels.png: label maps beside their pictures")
