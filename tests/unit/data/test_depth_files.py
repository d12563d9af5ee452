"""``data hha``: files and folders of depth, resumed, and depth that cannot be meant."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.cli.app import run
from pixelwise.data.depth_files import carry_out, plan
from pixelwise.data.hha import Camera, hha
from pixelwise.errors import Stopped

Out = pytest.CaptureFixture[str]


def room(size: tuple[int, int] = (24, 32), far: float = 2.0) -> np.ndarray:
    """A tilted wall in millimetres."""
    row, column = np.mgrid[: size[0], : size[1]]
    return (1000 * far + 3 * column - 2 * row).astype(np.uint16)


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_file_becomes_a_picture_of_three_bands(tmp_path: Path, capsys: Out) -> None:
    depth = save(tmp_path / "a.png", room())
    raw = save(tmp_path / "raw.png", np.where(room() % 7, room(), 0).astype(np.uint16))
    assert run(["data", "hha", str(depth), "-o", str(tmp_path / "b.png")]) == 0
    assert "24x32" in capsys.readouterr().err  # NYUDv2's camera is of 480x640
    assert np.array_equal(read(tmp_path / "b.png"), hha(room()))
    own = ["--camera", "40,41,16,12", "--unit", "0.002", "--json"]
    assert run(["data", "hha", str(depth), str(raw), "-o", str(tmp_path / "out"), *own]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"made": 1, "skipped": 0, "files": [str(tmp_path / "out/a.png")]}
    assert "warning" not in err
    expected = hha(room(), read(raw), unit=0.002, camera=Camera(40, 41, 16, 12))
    assert np.array_equal(read(tmp_path / "out/a.png"), expected)


def test_a_folder_is_made_once_and_other_depth_is_not_mixed_in(tmp_path: Path, capsys: Out) -> None:
    for i in range(3):
        save(tmp_path / f"depth/p{i}.png", room(far=1 + i))
    command = ["data", "hha", str(tmp_path / "depth"), "-o", str(tmp_path / "out"), "--json"]
    assert run(command) == 0
    (tmp_path / "out/p1.png").unlink()
    before = (tmp_path / "out/p0.png").stat().st_mtime_ns
    assert run(command) == 0
    assert '"made": 1,\n "skipped": 2' in capsys.readouterr().out
    assert (tmp_path / "out/p0.png").stat().st_mtime_ns == before
    assert np.array_equal(read(tmp_path / "out/p1.png"), hha(room(far=2)))
    assert run([*command, "--unit", "0.0005"]) == 2
    assert "p0.png was made from other depth, or otherwise" in capsys.readouterr().out
    save(tmp_path / "out/p2.png", room())
    assert run(command) == 2
    assert "p2.png exists and is no HHA of ours" in capsys.readouterr().out
    assert np.array_equal(read(tmp_path / "out/p2.png"), room())
    assert run([*command, "--force"]) == 0
    assert np.array_equal(read(tmp_path / "out/p2.png"), hha(room(far=3)))


def test_a_stopped_batch_keeps_what_is_made_and_goes_on(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / f"depth/p{i}.png", room(far=1 + i))
    jobs = plan(tmp_path / "depth", None, tmp_path / "out")

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="stopped after 1 of 3 pictures; finished ones are kept"):
        carry_out(jobs, watch=stop)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["p0.png"]
    done = carry_out(jobs)
    assert (done.made, done.skipped) == (2, 1)


def test_each_bad_picture_is_told_and_the_others_are_made(tmp_path: Path, capsys: Out) -> None:
    depth, raw = tmp_path / "depth", tmp_path / "raw"
    colour = np.zeros((24, 32, 3), np.uint8)
    bad = {
        "bytes": (room() // 16).astype(np.uint8),
        "colour": colour,
        "cut": room(),
        "far": np.full((24, 32), 65535, np.uint16),
        "gone": np.zeros((24, 32), np.uint16),
        "near": (room() // 1000).astype(np.uint16),
        "good": room(),
    }
    for name, values in bad.items():
        save(depth / f"{name}.png", values)
        save(raw / f"{name}.png", room((24, 31)) if name == "cut" else room())
    command = ["data", "hha", str(depth), str(raw), "-o", str(tmp_path / "out")]
    assert run([*command, "--unit", "0.002"]) == 3
    told = capsys.readouterr().err
    for piece in (
        "bytes.png holds 8-bit numbers, expected depth of 16 bits or float",
        "colour.png has 3 bands, expected one of depth",
        "cut.png is 24x32, ",
        "far.png: its median depth is 131 m at 0.002 m a count, expected 0.05 to 100 m",
        "gone.png: depth is missing (0) everywhere",
        "near.png: its median depth is 0.004 m at 0.002 m a count",
        "1 of 7 depth pictures were encoded: 6 problems",
    ):
        assert piece in told
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]
    near = str(depth / "near.png")
    assert run(["data", "hha", near, "-o", str(tmp_path / "out"), "--unit", "0.002"]) == 3
    assert "hint: --unit 1\n" in capsys.readouterr().err


def test_a_likely_mistake_of_the_unit_is_told(tmp_path: Path, capsys: Out) -> None:
    """The published sample counts tenths of a millimetre: at one it would be 26 m away."""
    depth = save(tmp_path / "a.png", room(far=26))
    assert run(["data", "hha", str(depth), "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().err
    assert "the median depth is above 10 m" in told
    assert "a.png 26 m; is one count 0.001 m?" in told
    assert run(["data", "hha", str(depth), "-o", str(tmp_path / "b"), "--unit", "0.0001"]) == 0
    assert "median" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--unit", "0"], 2, "--unit is 0.0, expected metres above 0"),
        (["--unit", "nan"], 2, "--unit is nan"),
        (["--camera", "500,500,320"], 2, "--camera is `500,500,320`, expected fx,fy,cx,cy"),
        (["--camera", "0,500,320,240"], 2, "expected fx,fy,cx,cy in pixels"),
        (["--camera", "1,1,inf,1"], 2, "expected fx,fy,cx,cy in pixels"),
    ],
)
def test_senseless_options_are_refused(
    tmp_path: Path, capsys: Out, options: list[str], code: int, message: str
) -> None:
    depth = save(tmp_path / "a.png", room())
    assert run(["data", "hha", str(depth), "-o", str(tmp_path / "out"), *options]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_read_is_not_replaced_and_must_be_of_one_kind(tmp_path: Path, capsys: Out) -> None:
    folder = tmp_path / "depth"
    file = save(folder / "a.png", room())
    for command, code, message in (
        ([folder, "-o", folder], 2, "a.png is a depth picture to read"),
        ([file, "-o", file], 2, "a.png is a depth picture to read"),
        ([file, "-o", tmp_path / "b.jpg"], 2, "HHA is written as PNG"),
        ([file, folder, "-o", tmp_path / "b"], 2, "is a file and"),
        ([folder, file, "-o", tmp_path / "b"], 2, "is a folder,"),
        ([tmp_path / "none", "-o", tmp_path / "b"], 3, "no such file"),
        ([save(tmp_path / "x/b.png", room()).parent, folder, "-o", tmp_path / "b"], 3, "b.*"),
        ([tmp_path / "empty", "-o", tmp_path / "b"], 3, "holds no picture"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert run(["data", "hha", *map(str, command)]) == code
        assert message in capsys.readouterr().err
    assert np.array_equal(read(file), room())
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "b.jpg").exists()
