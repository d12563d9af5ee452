from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.cli.app import run
from pixelwise.crf.parameters import DenseCrf
from pixelwise.errors import UsageError
from small_model import photo, save_classifier, save_model

RED, BLUE = (200, 40, 40), (40, 40, 200)


def scene(folder: Path) -> tuple[Path, Path, np.ndarray]:
    """A picture in two halves, a palette map of it with stray pixels and void, and the truth."""
    truth = np.zeros((30, 40), np.uint8)
    truth[:, 20:] = 1
    image = np.where(truth[..., None] == 1, RED, BLUE).astype(np.uint8)
    Image.fromarray(image).save(folder / "photo.png")
    guess = truth.copy()
    guess[::7, ::5] ^= 1
    guess[10:13, 10:30] = 255
    drawn = Image.fromarray(guess)
    drawn.putpalette([9, 8, 7, 6, 5, 4])
    drawn.save(folder / "labels.png")
    return folder / "labels.png", folder / "photo.png", truth


def test_stray_labels_follow_the_picture_and_void_stays_unless_it_is_filled(tmp_path: Path) -> None:
    labels, image, truth = scene(tmp_path)
    kept, filled = tmp_path / "kept.png", tmp_path / "new" / "filled.png"
    assert run(["crf", str(labels), str(image), "-o", str(kept)]) == 0
    assert run(["crf", str(labels), str(image), "-o", str(filled), "--fill"]) == 0
    assert np.array_equal(np.asarray(Image.open(filled)), truth)
    given, made = np.asarray(Image.open(labels)), np.asarray(Image.open(kept))
    assert np.array_equal(made, np.where(given == 255, 255, truth))
    assert Image.open(kept).getpalette()[:6] == [9, 8, 7, 6, 5, 4]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_scores_in_and_out(tmp_path: Path, suffix: str) -> None:
    _, image, truth = scene(tmp_path)
    p = np.where(np.arange(2)[:, None, None] == truth, 0.6, 0.4).astype(np.float16)
    given, out = tmp_path / f"given{suffix}", tmp_path / "out.npz"
    np.savez(given, probabilities=p) if suffix == ".npz" else np.save(given, p)
    words = ["crf", str(given), str(image), "-o", str(out), "--set", "iterations=0"]
    assert run(words) == 0
    assert np.abs(np.load(out)["probabilities"] - p).max() < 1e-3
    out.unlink()
    assert run([*words, "--set", "iterations=5"]) == 0
    assert np.load(out)["probabilities"].max(0).min() > 0.99


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (["--preset", "deepleb"], 2, "no preset is called `deepleb`; did you mean `deeplab`"),
        (["--set", "colour=3"], 2, "no CRF parameter is called `colour`"),
        (["--set", "quality=best"], 2, "quality is best, expected auto, fast, exact, pydensecrf"),
        (["--confidence", "0.5"], 2, "confidence 0.5 of 2 classes, expected more than 1/2"),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], code: int, text: str
) -> None:
    labels, image, _ = scene(tmp_path)
    out = tmp_path / "out.png"
    assert run(["crf", str(labels), str(image), "-o", str(out), *change]) == code
    assert text in capsys.readouterr().err.replace("\n", " ")
    assert not out.exists()


def test_wrong_files_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, image, _ = scene(tmp_path)
    other = photo(tmp_path / "other.png", size=(8, 9))
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"no array")
    nan = tmp_path / "nan.npy"
    np.save(nan, np.full((2, 30, 40), np.nan))
    for given, picture, code, text in (
        (image, labels, 3, "a picture with a palette, expected a photo"),
        (labels, other, 3, "scores are 30x40 but the picture is 8x9"),
        (bad, image, 3, "no array of numbers"),
        (nan, image, 6, "2,400 of the scores are not finite"),
    ):
        assert run(["crf", str(given), str(picture), "-o", str(tmp_path / "out.png")]) == code
        assert text in capsys.readouterr().err.replace("\n", " ")
    assert run(["crf", str(labels), str(image), "-o", str(labels)]) == 2
    assert "exists, expected a new file" in capsys.readouterr().err.replace("\n", " ")


def test_predict_and_evaluate_go_through_the_crf_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    save_model(folder / "weights" / "best.safetensors")
    (folder / "crf.json").write_text('{"appearance": 20, "smoothness": 20, "smoothness_xy": 9}')
    picture = photo(tmp_path / "in" / "a.png")
    words = ["predict", str(folder), str(picture), "--save", "labels,scores"]
    assert run([*words, "-o", str(tmp_path / "plain")]) == 0
    assert run([*words, "--crf", "-o", str(tmp_path / "crf")]) == 0
    crf = DenseCrf(20, smoothness=20, smoothness_xy=9)
    model = pw.load(folder).shown(crf=crf)
    expected = model.predict(picture, probabilities=True)
    made = np.asarray(Image.open(tmp_path / "crf" / "a.png"))
    plain = np.asarray(Image.open(tmp_path / "plain" / "a.png"))
    assert np.array_equal(made, expected.labels)
    assert np.array_equal(made, expected.probabilities.argmax(0))
    edges = [np.count_nonzero(np.diff(labels.astype(int))) for labels in (made, plain)]
    assert edges[0] < edges[1]
    # Outputs of one kind are not taken for the other's.
    assert run([*words, "-o", str(tmp_path / "crf")]) == 2


def test_a_coarse_map_and_a_damaged_crf_json_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="crf: the net gives a coarse map"):
        pw.load(save_classifier(tmp_path / "c.safetensors")).shown(crf=DenseCrf())
    folder = tmp_path / "run"
    save_model(folder / "weights" / "best.safetensors")
    (folder / "crf.json").write_text('{"appearance": "much"}')
    words = ["predict", str(folder), str(photo(tmp_path / "a.png")), "--crf", "-o", "out"]
    assert run(words) == 3
    assert "appearance is 'much', expected a number" in capsys.readouterr().err.replace("\n", " ")


def test_a_grid_gives_labels_and_has_parameters_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("maxflow", reason="PyMaxflow is not installed")
    labels, image, truth = scene(tmp_path)
    out = tmp_path / "grid.png"
    words = ["crf", str(labels), str(image), "--method", "grid"]
    assert run([*words, "-o", str(out), "--fill", "--json"]) == 0
    assert np.array_equal(np.asarray(Image.open(out)), truth)
    told = json.loads(capsys.readouterr().out)
    assert told["changed"] == pytest.approx(70 / 1200)  # 40 strays, 30 of void
    for more, text in (
        (["--set", "appearance_xy=3"], "no MRF parameter is called `appearance_xy`"),
        (["--preset", "deeplab"], "--preset does nothing with --method grid"),
        (["--pictures", "3"], "--pictures does nothing with a map"),
        (["--method", "gird"], "no method is called `gird`; did you mean `grid`"),
        (["-o", str(tmp_path / "grid.npz")], "a grid has labels, no probabilities"),
    ):
        assert run([*words, "-o", str(tmp_path / "new.png"), *more]) == 2
        assert text in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "new.png").exists()
    assert run(words) == 2
    assert "there is no output, expected one" in capsys.readouterr().err
