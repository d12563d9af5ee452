"""Videos read and written frame by frame; PyAV makes them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pixelwise.errors import DataError, ResourceError
from pixelwise.machine.files import atomic_write
from pixelwise.pictures import videos
from pixelwise.pictures.videos import is_video, opened_video, written_video
from small_model import photo
from small_videos import make_video, scene

pytest.importorskip("av")


def read(path: Path) -> tuple[videos.Video, list[videos.Frame]]:
    with opened_video(str(path)) as video:
        return video, list(video.frames)


@pytest.mark.parametrize(
    ("end", "codec", "rate"),
    [
        (".mp4", "libx264", Fraction(25)),
        (".mkv", "libx264", Fraction(30000, 1001)),
        (".avi", "mpeg4", Fraction(24)),
    ],
)
def test_each_frame_comes_with_its_time_and_goes_out_with_it(
    tmp_path: Path, end: str, codec: str, rate: Fraction
) -> None:
    path = make_video(tmp_path / f"a{end}", codec=codec, rate=rate)
    assert is_video(path)
    video, frames = read(path)
    assert len(frames) == 12
    for i, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - scene(i)).mean() < 20  # lossy
        assert float(frame.pts * video.tick) == pytest.approx(i / rate, abs=0.001)
    out = tmp_path / "out.mp4"

    def write(f: object) -> None:
        with written_video(f, video) as add:  # type: ignore[arg-type]
            for frame in frames:
                add(frame.image[:-1, :-1], frame.pts)  # of odd sides

    atomic_write(out, write)
    again, written = read(out)
    assert [f.pts * again.tick for f in written] == [f.pts * video.tick for f in frames]
    assert written[0].image.shape == frames[0].image.shape
    assert np.abs(written[5].image[:-1, :-1].astype(int) - frames[5].image[:-1, :-1]).mean() < 6


def test_frames_that_come_at_uneven_times_keep_them(tmp_path: Path) -> None:
    times = [0, 3, 4, 11, 12, 40, 41, 42, 60, 61, 62, 90]
    _, frames = read(make_video(tmp_path / "a.mp4", times=times))
    ticks = [frame.pts for frame in frames]
    assert [t * 90 // ticks[-1] for t in ticks] == times


def test_a_video_that_is_to_be_turned_is(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2: version 0
    one, minus = (1 << 16).to_bytes(4, "big"), (-1 << 16).to_bytes(4, "big", signed=True)
    quarter = bytes(4) + one + bytes(4) + minus + bytes(12)  # x goes down, y to the left
    data[matrix : matrix + 28] = quarter
    path.write_bytes(data)
    _, frames = read(path)
    assert np.abs(frames[0].image.astype(int) - np.rot90(scene(0), -1)).mean() < 20


@pytest.mark.parametrize("end", [".mkv", ".avi"])
def test_a_file_that_ends_early_gives_its_frames_and_then_an_error(
    tmp_path: Path, end: str
) -> None:
    whole = make_video(tmp_path / f"a{end}", codec="mpeg4", count=60)
    whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.8)])
    seen: list[videos.Frame] = []
    with opened_video(str(whole)) as video, pytest.raises(DataError, match="ends before") as caught:
        seen.extend(frame for frame in video.frames)
    assert 30 < len(seen) < 58
    assert f"after frame {len(seen)}" in str(caught.value)


def test_what_is_no_video_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torn = make_video(tmp_path / "a.mp4")
    torn.write_bytes(torn.read_bytes()[:2000])  # its table stands at its end
    with pytest.raises(DataError, match=f"{torn}: cannot be read") as caught:
        read(torn)
    assert caught.value.code == "D020"
    assert not is_video(photo(tmp_path / "b.png"))
    (tmp_path / "c.txt").write_text("RIFF, a text")
    assert not is_video(tmp_path / "c.txt")
    with pytest.raises(ResourceError, match="camera:99: cannot be opened") as missing:
        read(Path("camera:99"))
    assert missing.value.code == "R009"
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ResourceError, match="not installed") as missing:
        read(torn)
    assert missing.value.hint == 'pip install "pixelwise[video]"'
