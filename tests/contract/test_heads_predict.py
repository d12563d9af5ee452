"""Label maps of several heads, from pictures of several inputs, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import picture
from pixelwise.cli.app import run as command
from pixelwise.predict.model import Model, load
from two_heads import HEADS

Out = pytest.CaptureFixture[str]


@pytest.fixture
def data(two_headed_data: Path) -> Path:
    return two_headed_data


@pytest.fixture
def trained(two_headed_run: Path) -> Path:
    return two_headed_run


@pytest.fixture
def model(trained: Path) -> Model:
    return load(trained, device="cpu")


def predicted(capsys: Out, *words: object) -> dict:
    """What the command says as JSON, and its exit status."""
    status = command(["predict", *map(str, words), "--device", "cpu", "--json"])
    said = capsys.readouterr()
    return {"status": status, "stderr": said.err, **(json.loads(said.out) if said.out else {})}


def test_predict_writes_a_label_map_for_each_head_and_skips_what_is_there(
    trained: Path, data: Path, model: Model, tmp_path: Path, capsys: Out
) -> None:
    out = tmp_path / "out"
    words = (trained, data, "--split", "train", "-o", out, "--save", "labels,overlay,scores")
    done = predicted(capsys, *words)
    assert (done["status"], done["made"]) == (0, len(done["results"]))
    for result in done["results"]:
        name = Path(result["path"]).stem
        arrays = model.predict({"colour": result["path"], "depth": data / f"depth/{name}.png"})
        for head, folder in (("things", out), ("shapes", out / "shapes")):
            stored = np.array(Image.open(folder / f"{name}.png"))
            assert np.array_equal(stored, arrays.heads[head].labels)
            assert (folder / f"{name}_overlay.jpg").is_file()
            assert np.load(folder / f"{name}_scores.npz")["probabilities"].shape[0] == len(
                HEADS[head]
            )
            assert result["heads"][head] == pytest.approx(arrays.heads[head].areas())
        assert result["areas"] == result["heads"]["things"]
        assert len(result["outputs"]) == 6
    assert json.loads((out / "manifest.json").read_text())["heads"]["shapes"] == ["flat", "high"]
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    gone = out / "shapes" / f"{name}.png"
    gone.unlink()
    again = predicted(capsys, *words)
    assert (again["made"], again["skipped"]) == (1, len(before) // 2 - 1)
    assert [r["heads"] for r in again["results"]] == [r["heads"] for r in done["results"]]
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    assert {p for p in before if after[p] != before[p]} == {gone}
    names = "\n".join(Path(r["path"]).stem for r in done["results"])
    (tmp_path / "list.txt").write_text(names)
    for guesses, truth in ((out, "labels"), (out / "shapes", "shapes")):
        words = ["score", str(guesses), str(data / truth), "--list", str(tmp_path / "list.txt")]
        assert command([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["mean_iu"] > 0.8


def bare(root: Path) -> tuple[Path, Path]:
    """Two folders with nothing beside; of p1 there is no depth, of others it is of another kind."""
    for i in range(5):
        for folder in ("photos/a", "deep/a"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        image = picture(i)[0]
        Image.fromarray(image).save(root / f"photos/a/p{i}.png")
        depth = image[..., 0].astype(np.uint16) * 200
        kinds = {2: image[..., 0], 3: depth[:30], 4: depth.astype(np.float32)}
        if i != 1:
            Image.fromarray(kinds.get(i, depth)).save(root / f"deep/a/p{i}.tif")
    return root / "photos", root / "deep"


def test_further_inputs_come_from_folders_and_each_that_does_not_fit_is_a_failure(
    trained: Path, model: Model, tmp_path: Path, capsys: Out
) -> None:
    photos, deep = bare(tmp_path)
    out = tmp_path / "out"
    done = predicted(capsys, trained, photos, "--input", f"depth={deep}", "-o", out)
    assert (done["status"], done["made"], len(done["failures"])) == (1, 1, 4)
    arrays = model.predict({"colour": photos / "a/p0.png", "depth": deep / "a/p0.tif"})
    stored = np.array(Image.open(out / "shapes/a/p0.png"))
    assert np.array_equal(stored, arrays.heads["shapes"].labels)
    listed = {Path(f["path"]).stem: (f["code"], f["error"]) for f in done["failures"]}
    lines = (out / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == done["failures"]
    for name, code, message in (
        ("p1", "D031", "a/p1.png has no partner, expected a file"),
        ("p2", "D015", "deep/a/p2.tif is 1 band of uint8, the net was trained on 1 band of uint16"),
        ("p3", "D013", "deep/a/p3.tif is 30x48"),
        ("p4", "D015", "deep/a/p4.tif is 1 band of float32"),
    ):
        assert listed[name][0] == code
        assert message in listed[name][1]
    depth = np.array(Image.open(deep / "a/p0.tif"))
    Image.fromarray(depth.astype(np.uint16) // 2).save(deep / "a/p0.tif")
    assert predicted(capsys, trained, photos, "--input", f"depth={deep}", "-o", out)["made"] == 1


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "where depth lies is not known"),
        (["--input", "deep=deep"], 2, "no input of"),
        (["--input", "depth"], 2, "expected NAME=FOLDER"),
        (["--input", "depth=deep", "--input", "depth=deep"], 2, "each input once"),
        (["--input", "depth=nowhere"], 3, "nowhere: no such folder"),
        (["--input", "depth=deep", "--split", "val"], 2, "both say where inputs lie"),
    ],
)
def test_inputs_that_nobody_can_find_are_refused_before_anything_is_written(
    trained: Path, tmp_path: Path, monkeypatch, capsys: Out, words, status: int, message: str
) -> None:
    photos, _ = bare(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = predicted(capsys, trained, photos, *words, "-o", tmp_path / "out")
    assert done["status"] == status
    assert message in done["stderr"]
    assert not (tmp_path / "out").exists()


def test_pictures_in_a_folder_called_like_a_head_are_refused(
    trained: Path, data: Path, tmp_path: Path, capsys: Out
) -> None:
    for folder in ("photos/Shapes", "deep/Shapes"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(data / "images/p0.png", tmp_path / "photos/Shapes/p0.png")
    shutil.copy(data / "depth/p0.png", tmp_path / "deep/Shapes/p0.png")
    words = ("--input", f"depth={tmp_path / 'deep'}", "-o", tmp_path / "out")
    done = predicted(capsys, trained, tmp_path / "photos", *words)
    assert done["status"] == 3
    assert "the outputs of `shapes` would lie among those of" in done["stderr"]


def test_heat_maps_are_drawn_of_the_head_that_has_the_class(
    trained: Path, data: Path, tmp_path: Path, capsys: Out
) -> None:
    words = (trained, data, "--split", "val", "-o", tmp_path / "out", "--save", "labels")
    assert predicted(capsys, *words, "--heat", "high", "--heat", "b")["status"] == 0
    drawn = {
        p.relative_to(tmp_path / "out").parts[-1] for p in (tmp_path / "out").rglob("*_heat/*")
    }
    assert drawn == {"1-high.png", "1-b.png"}
    of_shapes = (tmp_path / "out/shapes").rglob("*_heat/*")
    assert {p.name for p in of_shapes} == {"1-high.png"}
    assert "no class is called `low`" in predicted(capsys, *words, "--heat", "low")["stderr"]


def test_an_import_keeps_heads_and_inputs(trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy.safetensors"
    assert command(["weights", "import", str(trained), "-o", str(out)]) == 0
    copy = load(out, device="cpu")
    assert [*copy.heads] == [*HEADS]
    assert copy.inputs == ("colour", "depth")
    assert copy.evaluate(data).as_dict()["heads"]["shapes"]["mean_iu"] > 0.8
