"""Videos through a model: labels of each frame, an overlay with its times, damping, damage."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from pixelwise.errors import DataError, Stopped, UsageError
from pixelwise.pictures.images import read_labels, text_in
from pixelwise.pictures.videos import opened_video
from pixelwise.predict import model as models
from pixelwise.predict.jobs import Done, carry_out, plan
from pixelwise.predict.saving import Drawing
from small_model import photo
from small_videos import make_video

pytest.importorskip("av")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/clip.mp4", count=6)
    photo(tmp_path / "in/still.png")
    return tmp_path / "in"


def frames(path: Path) -> list[np.ndarray]:
    with opened_video(str(path)) as video:
        return [frame.image for frame in video.frames]


def go(
    model: models.Model, source: Path, out: Path, save: str = "labels,overlay", **options: object
) -> Done:
    return carry_out(plan([str(source)], out, save=save), model, **options)  # type: ignore[arg-type]


def test_each_frame_is_labelled_and_the_overlay_has_its_times(
    model: models.Model, clips: Path, tmp_path: Path
) -> None:
    out, told = tmp_path / "out", list[tuple[object, ...]]()
    done = go(model, clips, out, "labels,overlay,areas", watch=lambda *said: told.append(said))
    assert (done.made, done.failures) == (2, [])
    assert (0, "clip.mp4: frame 6 of 6") in told
    images = frames(clips / "clip.mp4")
    labels = [model.predict(image).labels for image in images]
    made = sorted((out / "clip").iterdir())
    assert [path.name for path in made] == [f"{i:06}.png" for i in range(1, 7)]
    assert all(np.array_equal(read_labels(p), own) for p, own in zip(made, labels, strict=True))
    assert text_in(made[0])["model"] == model.header.sha256
    with (
        opened_video(str(clips / "clip.mp4")) as given,
        opened_video(str(out / "clip_overlay.mp4")) as shown,
    ):
        times = [frame.pts * given.tick for frame in given.frames]
        assert [frame.pts * shown.tick for frame in shown.frames] == times
    rows = (out / "areas.csv").read_text("utf-8").splitlines()
    assert any(row.startswith("clip/000006,") for row in rows)
    (result,) = (r for r in done.results if r["path"].endswith("mp4"))
    assert result["frames"] == 6
    assert go(model, clips, out, "labels,overlay,areas").skipped == 2
    (out / "clip/000003.png").unlink()
    assert go(model, clips, out).made == 1
    photo(out / "clip/000002.png", size=(40, 56))  # as corrected by hand
    done = go(model, clips, out)
    assert (done.made, done.skipped) == (0, 1)
    assert done.kept == [{"path": str(clips / "clip.mp4"), "kept": str(out / "clip/000002.png")}]


def test_damped_labels_are_those_of_the_exponential_mean(
    model: models.Model, clips: Path, tmp_path: Path
) -> None:
    clip = clips / "clip.mp4"
    go(model, clip, tmp_path / "out", "labels", drawing=Drawing(damp=0.75))
    mean = None
    for i, image in enumerate(frames(clip), 1):
        now = model.predict(image, probabilities=True).probabilities
        assert now is not None
        mean = now if mean is None else np.float32(0.75) * mean + np.float32(0.25) * now
        made = read_labels(tmp_path / f"out/clip/{i:06}.png")
        assert np.mean(made == mean.argmax(0)) > 0.999  # ties of rounding
    with pytest.raises(UsageError, match="look was"):
        go(model, clip, tmp_path / "out", "labels")
    with pytest.raises(UsageError, match="less than 1"):
        Drawing(damp=1.0)


def test_of_a_torn_video_the_frames_that_are_there_are_done_and_it_is_told(
    model: models.Model, tmp_path: Path
) -> None:
    torn = make_video(tmp_path / "torn.mkv", codec="mpeg4", count=60)
    torn.write_bytes(torn.read_bytes()[: int(torn.stat().st_size * 0.6)])
    done = go(model, torn, tmp_path / "out")
    (failure,) = done.failures
    assert failure["code"] == "D020"
    count = len(list((tmp_path / "out/torn").iterdir()))
    assert f"after frame {count} (it ends before its" in failure["error"]
    assert len(frames(tmp_path / "out/torn_overlay.mp4")) == count > 10
    assert go(model, torn, tmp_path / "out").failures == [failure]
    torn.write_bytes(torn.read_bytes()[:600])
    assert [f["code"] for f in go(model, torn, tmp_path / "none").failures] == ["D020"]
    assert not list((tmp_path / "none").glob("torn*"))


def test_an_interrupted_video_leaves_nothing_under_its_name(
    model: models.Model, clips: Path, tmp_path: Path
) -> None:
    def interrupt(*said: object) -> None:
        if said and str(said[1]).startswith("clip.mp4: frame 3"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="stopped after 0 of 2 pictures"):
        go(model, clips, tmp_path / "out", watch=interrupt)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        ".pixelwise",
        "clip",
        "manifest.json",
    ]
    done = go(model, clips, tmp_path / "out")
    assert (done.made, done.failures) == (2, [])


def test_a_video_may_lie_beside_its_poster(
    model: models.Model, clips: Path, tmp_path: Path
) -> None:
    photo(clips / "clip.png", seed=3)
    assert go(model, clips, tmp_path / "out").made == 3
    assert np.array_equal(
        read_labels(tmp_path / "out/clip.png"), model.predict(clips / "clip.png").labels
    )
    assert go(model, clips, tmp_path / "out").skipped == 3
    make_video(clips / "clip.mkv")
    with pytest.raises(DataError, match="would both be written as clip"):
        go(model, clips, tmp_path / "other")


def test_what_is_not_saved_of_videos_is_told(clips: Path, tmp_path: Path) -> None:
    work = plan([str(clips)], tmp_path / "out", save="labels,scores,polygons")
    assert work.left_out == (f"scores, polygons of videos, such as {clips / 'clip.mp4'}",)
    work = plan([str(clips)], tmp_path / "out", save="scores")
    assert [job.name for job in work.jobs] == ["still"]
    assert work.left_out == (f"scores of videos, such as {clips / 'clip.mp4'}",)
    with pytest.raises(UsageError, match="labels and overlay are saved"):
        plan([str(clips / "clip.mp4")], tmp_path / "out", save="scores")
    photo(clips / "clip/1.png")
    with pytest.raises(DataError, match=r"the label maps of .*clip.mp4 would lie among"):
        plan([str(clips)], tmp_path / "out", save="labels")


def test_without_the_library_videos_of_a_folder_are_left_out(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.predict.sources.readable", lambda: False)
    work = plan([str(clips)], tmp_path / "out", save="labels")
    assert [job.name for job in work.jobs] == ["still"]
    assert 'pip install "pixelwise[video]"' in work.left_out[0]
