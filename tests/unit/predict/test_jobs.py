from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.errors import DataError, ResourceError, Stopped, UsageError
from pixelwise.machine import memory
from pixelwise.predict import model as models
from pixelwise.predict.jobs import Done, carry_out, plan
from predictions import contents, predict
from small_model import CLASSES, photo, save_classifier, save_model

ALL = "labels,overlay,scores,heatmaps"


def test_outputs_are_what_the_model_says(model: models.Model, photos: Path, tmp_path: Path) -> None:
    done = predict(model, photos, tmp_path / "out", ALL)
    assert (done.made, done.skipped, done.failures) == (3, 0, [])
    found = model.predict(photos / "p1.png", probabilities=True)
    assert found.probabilities is not None
    with Image.open(tmp_path / "out/p1.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), found.labels)
        assert (image.text["model"], image.text["net"]) == (model.header.sha256, "fcn8s-tiny")
    with np.load(tmp_path / "out/p1_scores.npz") as stored:
        assert np.array_equal(stored["probabilities"], found.probabilities.astype(np.float16))
    heat = sorted(p.name for p in (tmp_path / "out/p1_heat").iterdir())
    assert heat == ["0-wall.png", "1-tür__door.png", "2-floor.png"]
    shares = {name: float((found.labels == i).mean()) for i, name in enumerate(CLASSES)}
    assert done.results[1]["areas"] == {k: v for k, v in shares.items() if v}
    digest = hashlib.sha256((photos / "p1.png").read_bytes()).hexdigest()
    assert done.results[1]["sha256"] == digest


def test_another_model_or_view_is_refused_and_force_replaces(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", models.load(save_model(tmp_path / "2.safetensors", seed=2))
    predict(model, photos, out)
    before = contents(out)
    with pytest.raises(UsageError, match=r"by another model, .*net.safetensors") as caught:
        predict(other, photos, out)
    assert caught.value.code == "U003"
    with pytest.raises(UsageError, match=r"view was .*, is .*'mirror': True"):
        predict(model.shown(mirror=True), photos, out)
    assert contents(out) == before
    assert predict(other, photos, out, force=True).made == 3
    assert predict(other, photos, out).skipped == 3
    assert np.array_equal(
        np.asarray(Image.open(out / "p0.png")), other.predict(photos / "p0.png").labels
    )


def test_files_of_the_user_are_not_replaced(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    mine = photo(tmp_path / "out/p1.png", seed=5)
    before = mine.read_bytes()
    with pytest.raises(UsageError, match=r"p1.png exists and was not made by pixelwise"):
        predict(model, photos, tmp_path / "out")
    assert contents(tmp_path / "out") == {"p1.png": before}


@pytest.mark.parametrize("file", ["areas.csv", "sheet.jpg", "coco.json", "p0.geojson"])
def test_no_kind_of_output_replaces_a_file_of_the_user(
    model: models.Model, photos: Path, tmp_path: Path, file: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / file).write_text("mine")
    with pytest.raises(UsageError, match="exists and was not made by pixelwise"):
        predict(model, photos, tmp_path / "out", "areas,sheet,coco,polygons")
    assert contents(tmp_path / "out") == {file: b"mine"}


def test_bad_pictures_are_listed_and_the_others_done(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    (photos / "html.jpg").write_text("<html>not found</html>")
    (photos / "empty.png").write_bytes(b"")
    whole = photo(tmp_path / "whole.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    done = predict(model, photos, out)
    assert done.made == 3
    lines = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [(Path(f["path"]).name, f["code"]) for f in lines] == [
        ("cut.jpg", "D020"),
        ("empty.png", "D020"),
        ("html.jpg", "D020"),
    ]
    assert not (out / "html.png").exists()
    for bad in ("html.jpg", "empty.png", "cut.jpg"):
        (photos / bad).unlink()
    assert predict(model, photos, out).failures == []
    assert not (out / "failures.jsonl").exists()


def test_shards_share_a_folder_and_give_the_same_bytes(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    (photos / "bad.png").write_bytes(b"")
    for i in range(3, 7):
        photo(photos / f"p{i}.png", seed=i)
    predict(model, photos, tmp_path / "one")
    parts = [
        carry_out(
            plan([str(photos)], tmp_path / "two", save="labels,overlay", shard=f"{i}/3"), model
        )
        for i in (1, 2, 3)
    ]
    assert [p.made + len(p.failures) for p in parts] == [3, 3, 2]
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one.pop("failures.jsonl") == two.pop("failures-1-of-3.jsonl")
    assert one == two


def test_a_shard_without_pictures_makes_nothing(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    fourth = plan([str(photos)], tmp_path / "out", save="labels", shard="4/4")
    assert vars(carry_out(fourth, model)) == vars(Done())


def test_outputs_are_of_the_bytes_that_were_hashed_whatever_happens_to_the_file(
    model: models.Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (photos / "p1.png").read_bytes()
    expected = model.predict(photos / "p1.png").labels
    opened: list[Path] = []
    real_open, real = Path.open, models.Model.image

    def counted(self: Path, *arguments: object, **options: object) -> object:
        opened.append(self)
        return real_open(self, *arguments, **options)  # type: ignore[call-overload]

    def overtaken(self: models.Model, picture: bytes) -> object:
        if picture == before:
            photo(photos / "p1.png", seed=99)
        return real(self, picture)

    monkeypatch.setattr(Path, "open", counted)
    monkeypatch.setattr(models.Model, "image", overtaken)
    done = predict(model, photos, tmp_path / "out")
    assert (done.made, done.failures) == (3, [])
    assert [opened.count(photos / f"p{i}.png") for i in range(3)] == [1, 1, 1]
    assert done.results[1]["sha256"] == hashlib.sha256(before).hexdigest()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/p1.png")), expected)
    assert (predict(model, photos, tmp_path / "out").made) == 1  # the file is another now


def test_scores_that_are_not_finite_give_no_label_map(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    with torch.no_grad():
        model.predictor.runner.network.get_parameter("score_fr.bias").fill_(torch.inf)
    done = predict(model, photos, tmp_path / "out")
    assert [f["code"] for f in done.failures] == ["N003"] * 3
    assert str(photos / "p0.png") in done.failures[0]["error"]
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_picture_too_large_for_memory_is_refused_before_it_is_tried(
    model: models.Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(photos / "large.png", size=(400, 1600))
    monkeypatch.setattr(memory, "available", lambda device: 4_000_000)
    monkeypatch.setattr(type(model.predictor), "_shown", _only_small(type(model.predictor)))
    done = predict(model, photos, tmp_path / "out")
    assert (done.made, [f["code"] for f in done.failures]) == (3, ["R003"])
    assert "a picture of 400x1600 (HxW) needs at least" in done.failures[0]["error"]
    assert "4,000,000 are available on cpu" in done.failures[0]["error"]
    with pytest.raises(ResourceError, match="400x1600"):  # alone it is the command's own error
        predict(model, photos / "large.png", tmp_path / "other")


def _only_small(kind: type) -> object:
    real = kind._shown

    def shown(self: object, image: np.ndarray, *rest: object) -> object:
        assert image.shape[:2] != (400, 1600)
        return real(self, image, *rest)

    return shown


def test_a_full_disk_ends_the_work(
    model: models.Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> object:
        raise ResourceError("R001", "no space left")

    monkeypatch.setattr("pixelwise.pictures.images.write_image", full)
    with pytest.raises(ResourceError, match="no space"):
        predict(model, photos, tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_pictures_in_hand_and_the_rest_follows(
    model: models.Model, photos: Path, tmp_path: Path, number: int
) -> None:
    seen: list[int] = []

    def interrupt() -> None:
        seen.append(len(seen))
        if len(seen) == 1:  # while the second is written
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match="stopped after 2 of 3 pictures") as caught:
        predict(model, photos, tmp_path / "out", watch=interrupt)
    assert caught.value.exit_code == 128 + number
    assert len(seen) == 2
    done = predict(model, photos, tmp_path / "out")
    assert (done.made, done.skipped) == (1, 2)


def test_an_unknown_class_is_refused_before_anything_is_written(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no class is called `roof`"):
        predict(model, photos, tmp_path / "out", "heatmaps", heat=["roof"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("save", ["", " , ", "labels,polygon"])
def test_unknown_outputs_are_refused(photos: Path, tmp_path: Path, save: str) -> None:
    with pytest.raises(UsageError, match="output"):
        plan([str(photos)], tmp_path / "out", save=save)


@pytest.mark.parametrize("shard", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2"])
def test_bad_shards_are_refused(photos: Path, tmp_path: Path, shard: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        plan([str(photos)], tmp_path / "out", save="labels", shard=shard)


def test_heat_maps_among_other_outputs_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "in/a.png")
    photo(tmp_path / "in/a_heat/b.png")
    plan([str(tmp_path / "in")], tmp_path / "out", save="labels")
    with pytest.raises(DataError, match=r"the heat maps of .*a.png would lie among"):
        plan([str(tmp_path / "in")], tmp_path / "out", save="heatmaps")
    for name in ("u\u0308.png", "\u00fc_heat/b.png"):  # one letter to some file systems
        photo(tmp_path / "other" / name)
    with pytest.raises(DataError, match="would lie among"):
        plan([str(tmp_path / "other")], tmp_path / "out", save="heatmaps")


def test_a_classifier_gives_coarse_labels_and_heat_maps_of_named_classes(tmp_path: Path) -> None:
    model = models.load(save_classifier(tmp_path / "c.safetensors"))
    source = photo(tmp_path / "a.png", size=(256, 300))
    done = predict(model, source, tmp_path / "out", "labels,heatmaps,scores", heat=["thing 3"])
    assert done.made == 1
    assert [p.name for p in (tmp_path / "out/a_heat").iterdir()] == ["3-thing_3.png"]
    labels = np.asarray(Image.open(tmp_path / "out/a.png"))
    assert labels.shape == (256, 300)
    with np.load(tmp_path / "out/a_scores.npz") as stored:
        coarse = stored["probabilities"]
    assert coarse.shape == (5, 2, 3)  # 8 - 6 rows, 9 - 6 columns of the 7x7 pool
    # cells lie at 126, 158, ...: pixel 142 is half way between the first two
    best = coarse.argmax(0)
    assert (labels[:142, :142] == best[0, 0]).all()
    assert (labels[143:, 175:] == best[1, 2]).all()


def test_a_picture_smaller_than_the_classifier_takes_is_named(tmp_path: Path) -> None:
    model = models.load(save_classifier(tmp_path / "c.safetensors"))
    done = predict(model, photo(tmp_path / "a.png"), tmp_path / "out")
    assert [f["code"] for f in done.failures] == ["D023"]
    assert "40x56 (HxW) is too small" in done.failures[0]["error"]
    assert predict(model.shown(zoom=6), tmp_path / "a.png", tmp_path / "out2").made == 1
