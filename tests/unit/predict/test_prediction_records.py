"""What is finished is skipped, what is not is made anew, what others changed stays."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.machine.files import sha256
from pixelwise.predict import model as models
from pixelwise.predict import prediction_records
from predictions import contents, predict
from small_model import photo

ALL = "labels,overlay,scores,heatmaps"


def test_what_is_finished_is_skipped_and_left_alone(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    first = predict(model, photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    again = predict(model, photos, tmp_path / "out")
    assert (again.made, again.skipped) == (0, 3)
    assert again.results == [{**result, "made": False} for result in first.results]
    assert all(result["made"] and sum(result["areas"].values()) > 0.99 for result in first.results)
    assert contents(tmp_path / "out") == before


def test_more_kinds_are_added_and_the_others_stay(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out, "labels")
    kept = (out / "p0.png").stat().st_mtime_ns
    assert predict(model, photos, out, "labels,overlay").made == 3
    assert predict(model, photos, out, "heatmaps", heat=["wall"]).made == 3
    assert predict(model, photos, out, "heatmaps", heat=["door"]).made == 3
    assert predict(model, photos, out, "labels,overlay,heatmaps", heat=["wall", "2"]).made == 3
    assert predict(model, photos, out, "overlay,heatmaps", heat=["wall", "door", "2"]).skipped == 3
    assert (out / "p0.png").stat().st_mtime_ns == kept
    assert len(list((out / "p0_heat").iterdir())) == 3


def test_a_picture_that_changed_is_made_anew_and_stale_outputs_go(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out, "labels,overlay,heatmaps")
    photo(photos / "p1.png", seed=77)
    done = predict(model, photos, out, "labels")
    assert (done.made, done.skipped) == (1, 2)
    assert np.array_equal(
        np.asarray(Image.open(out / "p1.png")), model.predict(photos / "p1.png").labels
    )
    assert not (out / "p1_overlay.jpg").exists()
    assert list((out / "p1_heat").iterdir()) == []
    assert (out / "p0_overlay.jpg").exists()


def test_a_missing_output_is_made_anew(model: models.Model, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(model, photos, out)
    whole = contents(out)
    (out / "p2.png").unlink()
    assert (predict(model, photos, out).made, contents(out)) == (1, whole)


def test_what_was_corrected_by_hand_is_kept_and_told(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    """Hours of work may be in it."""
    out = tmp_path / "out"
    predict(model, photos, out)
    whole, path = contents(out), out / "p2.png"
    Image.fromarray(np.asarray(Image.open(path)) * 0).save(path)
    changed = contents(out)
    (out / "p1_overlay.jpg").unlink()
    done = predict(model, photos, out)
    assert (done.made, done.skipped, done.failures) == (1, 1, [])
    assert done.kept == [{"path": str(photos / "p2.png"), "kept": str(path)}]
    assert contents(out) == changed
    photo(photos / "p2.png", seed=99)  # now it belongs to another picture: someone must decide
    assert [f["code"] for f in predict(model, photos, out).failures] == ["U003"]
    assert path.read_bytes() == changed["p2.png"]
    photo(photos / "p2.png", seed=2)
    assert predict(model, photos, out, force=True).made == 3
    assert contents(out).keys() == whole.keys()


def test_a_damaged_output_is_not_replaced_unasked(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out)
    whole, path = contents(out), out / "p2.png"
    path.write_bytes(path.read_bytes()[:-40])
    changed = contents(out)
    done = predict(model, photos, out)
    assert [f["code"] for f in done.failures] == ["U003"]
    assert "p2.png was changed since it was made from" in done.failures[0]["error"]
    assert contents(out) == changed | {"failures.jsonl": (out / "failures.jsonl").read_bytes()}
    assert predict(model, photos, out, force=True).made == 3
    assert contents(out) == whole


@pytest.mark.parametrize(
    "text", ["", "[]", '{"kinds": 5}', '{"kinds": {"labels": [["a"]]}}', '{"areas": 5}']
)
def test_a_damaged_record_counts_as_none(
    model: models.Model, photos: Path, tmp_path: Path, text: str
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out)
    whole = contents(out)
    (out / ".pixelwise/p1.json").write_text(text)
    assert (predict(model, photos, out).made, contents(out)) == (1, whole)


def test_records_without_areas_are_read(model: models.Model, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(model, photos, out)
    path = out / ".pixelwise/p1.json"
    told = json.loads(path.read_text())
    del told["areas"]
    path.write_text(json.dumps(told))
    again = predict(model, photos, out)
    assert again.skipped == 3
    assert [result["areas"] is None for result in again.results] == [False, True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8")
def test_a_picture_whose_name_is_no_text_is_remembered(model: models.Model, tmp_path: Path) -> None:
    source = photo(tmp_path / "in/a.png").rename(tmp_path / "in/t\udcfcr.png")
    assert predict(model, source, tmp_path / "out").made == 1
    assert predict(model, source, tmp_path / "out").skipped == 1


def test_other_kinds_can_be_added_to_a_label_map_that_was_corrected(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out, "labels")
    Image.fromarray(np.asarray(Image.open(out / "p2.png")) * 0).save(out / "p2.png")
    corrected = (out / "p2.png").read_bytes()
    assert predict(model, photos, out, "overlay").made == 3
    assert (out / "p2.png").read_bytes() == corrected
    assert len(predict(model, photos, out, "labels").kept) == 1


def test_killed_between_outputs_and_record_it_does_not_suspect_itself(
    model: models.Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out)
    photo(photos / "p0.png", seed=77)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pixelwise.predict.prediction_records.record", killed)
        with pytest.raises(KeyboardInterrupt):
            predict(model, photos, out)
    done = predict(model, photos, out)
    assert (done.made, done.skipped, done.failures) == (1, 2, [])
    assert np.array_equal(
        np.asarray(Image.open(out / "p0.png")), model.predict(photos / "p0.png").labels
    )


def test_killed_between_record_and_outputs_nothing_counts_as_made(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out)
    whole = contents(out)
    prediction_records.begin(out, "p0", ["labels", "overlay"])
    (out / "p0.png").unlink()
    (out / "p0_overlay.jpg").unlink()
    assert (predict(model, photos, out).made, contents(out)) == (1, whole)


def test_another_pictures_output_is_not_taken_for_finished(
    model: models.Model, tmp_path: Path
) -> None:
    one, two = photo(tmp_path / "one/a.png", seed=1), photo(tmp_path / "two/a.png", seed=2)
    predict(model, one, tmp_path / "out")
    assert predict(model, two, tmp_path / "out").made == 1
    labels = np.asarray(Image.open(tmp_path / "out/a.png"))
    assert np.array_equal(labels, model.predict(two).labels)
    assert not np.array_equal(labels, model.predict(one).labels)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"made_from": 1, "kinds": 2}'])
def test_a_damaged_record_proves_nothing(
    model: models.Model, photos: Path, tmp_path: Path, text: str
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out)
    (out / ".pixelwise/p0.json").write_text(text)
    assert (predict(model, photos, out).made, predict(model, photos, out).made) == (1, 0)


def test_a_record_cannot_delete_files_outside(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    predict(model, photos, tmp_path / "out")
    record = tmp_path / "out/.pixelwise/p0.json"
    told = json.loads(record.read_text())
    told["kinds"]["labels"]["../precious"] = "0"
    record.write_text(json.dumps(told))
    (tmp_path / "precious").write_text("mine")
    assert predict(model, photos, tmp_path / "out").made == 1
    assert (tmp_path / "precious").read_text() == "mine"


def test_two_that_make_other_kinds_of_one_picture_are_both_remembered(
    model: models.Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reads the record and writes it again; a pause between the two lets the other in."""
    read = prediction_records.read

    def slowly(out: Path, name: str) -> prediction_records.Record:
        known = read(out, name)
        time.sleep(0.1)
        return known

    monkeypatch.setattr(prediction_records, "read", slowly)
    out, one = tmp_path / "out", photos / "p0.png"
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda kind: predict(model, one, out, kind), ("labels", "overlay")))
    assert [done.made for done in made] == [1, 1]
    assert set(read(out, "p0").kinds) == {"labels", "overlay"}


def test_a_record_of_files_outside_proves_nothing(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(model, photos, out)
    place = out / ".pixelwise/p0.json"
    told = json.loads(place.read_text())
    (out / "p0.png").rename(tmp_path / "elsewhere.png")
    for name in ("../elsewhere.png", str(tmp_path / "elsewhere.png"), "a\0b", "x" * 5000):
        total = sha256(tmp_path / "elsewhere.png")
        place.write_text(json.dumps({**told, "kinds": {"labels": {name: total}}}))
        (out / "p0.png").unlink(missing_ok=True)
        assert predict(model, photos, out).made == 1
        assert (out / "p0.png").exists()
    assert (tmp_path / "elsewhere.png").exists()
