"""The readme's walk from a folder of pictures to a report, typed as it stands (the net is tiny)."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.house.source import ROOT, blocks

from pixelwise.labels import distinct_palette
from pixelwise.pictures.images import read_labels, write_image, write_labels

SAID = "pixelwise train my-data -o runs/mine\n"
TINY = "--net fcn8s-tiny --iterations 3 --threads 1 --device cpu --set crop=32x32"


def make_data(folder: Path, photos: Path) -> None:
    """Noise of two brightnesses, side by side, with the border between them at some column."""
    rng = np.random.default_rng(0)
    palette = distinct_palette(2)
    for i in range(10):
        labels = np.zeros((40, 48), np.uint8)
        labels[:, int(rng.integers(12, 36)) :] = 1
        noise = rng.integers(0, 90, (40, 48, 3))
        picture = (noise + 150 * labels[..., None]).astype(np.uint8)
        write_image(folder / "images" / f"p{i}.png", picture)
        write_labels(folder / "labels" / f"p{i}.png", labels, palette)
    photos.mkdir()
    shutil.copy(folder / "images" / "p0.png", photos / "mine.png")


def own_data_commands() -> list[str]:
    (block,) = [b for b in blocks(ROOT / "README.md", "sh") if "my-data" in b]
    assert SAID in block
    return block.replace(SAID, f"{SAID.strip()} {TINY}\n").splitlines()


def typed(command: str) -> int:
    from pixelwise.cli.app import run

    program, *arguments = shlex.split(command)
    assert program == "pixelwise"
    with contextlib.redirect_stdout(io.StringIO()):
        return run(arguments)


def test_own_data_from_pictures_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_data(tmp_path / "my-data", tmp_path / "photos")
    commands = own_data_commands()
    assert len(commands) == 5
    for command in commands:
        assert typed(command) == 0, command
    assert read_labels(tmp_path / "labelled" / "mine.png").shape == (40, 48)
    report = (tmp_path / "runs" / "mine" / "report.html").read_text("utf-8")
    assert not re.search(r"(?:src|href)=[\"']https?:", report)


def test_library_lines_of_the_python_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_data(tmp_path / "my-data", tmp_path / "photos")
    (training,) = [c for c in own_data_commands() if c.startswith("pixelwise train")]
    assert typed(training) == 0
    shutil.copy(tmp_path / "photos" / "mine.png", tmp_path / "photo.jpg")
    known: dict[str, object] = {}
    for code in blocks(ROOT / "docs" / "python.md", "python"):
        exec(compile(code, "python.md", "exec"), known)
    assert read_labels(tmp_path / "mask.png").shape == (40, 48)
    assert known["net"].net.sights["score_fr"].field == 404  # type: ignore[attr-defined]
    assert (tmp_path / "runs" / "from-python" / "report.html").exists()


def test_library_lines_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_data(tmp_path / "my-data", tmp_path / "photos")
    (training,) = [c for c in own_data_commands() if c.startswith("pixelwise train")]
    assert typed(training) == 0
    shutil.copy(tmp_path / "photos" / "mine.png", tmp_path / "photo.jpg")  # bytes decide, not names
    (code,) = blocks(ROOT / "README.md", "python")
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(compile(code, "README.md", "exec"), {})
    assert told.getvalue().startswith("(40, 48) {'class ")
    assert (tmp_path / "overlay.png").stat().st_size > 0
