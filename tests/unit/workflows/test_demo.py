"""What the demo does with its folder; that it learns is seen by running it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixelwise.errors import UsageError
from pixelwise.workflows import demo


class Begun(Exception):
    """The demo has cleared its folder and makes scenes."""


@pytest.fixture(autouse=True)
def stop_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise Begun

    monkeypatch.setattr(demo, "make_scenes", stop)


def begin(out: Path, **changes: Any) -> None:
    settings = {"images": 20, "seed": 0} | changes
    demo.run(out, **settings, watch=lambda _: None, say=lambda text: None)


def earlier(out: Path) -> dict[Path, bytes]:
    """A finished demo with files of the user's among its own; returns the latter."""
    for place in ("scenes/images/a.png", "run/weights/best.safetensors", "predictions/a.png"):
        (out / place).parent.mkdir(parents=True)
        (out / place).write_text("demo")
    for name in (demo.PICTURE, demo.REPORT):
        (out / name).write_text("demo")
    (out / demo.MARK).write_text(json.dumps({"made_by": demo.MAKER, "untrained": {}}))
    (out / "mine").mkdir()
    mine = [out / "notes.txt", out / "mine/photo.jpg"]
    for path in mine:
        path.write_text("mine")
    return {path: path.read_bytes() for path in mine}


def test_an_earlier_demo_is_removed_and_nothing_else(tmp_path: Path) -> None:
    mine = earlier(tmp_path)
    with pytest.raises(Begun):
        begin(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {demo.MARK, "notes.txt", "mine"}
    assert {path: path.read_bytes() for path in mine} == mine


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": 0}, "--steps is 0, expected at least 1"),
        ({"minutes": 0.0}, "--minutes is 0"),
        ({"minutes": -1.0}, "--minutes is -1"),
        ({"minutes": float("nan")}, "--minutes is nan"),
        ({"images": 3}, "--images is 3, expected at least 20"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_wrong_usage_leaves_an_earlier_demo_alone(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    earlier(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=told) as caught:
        begin(tmp_path, **changes)
    assert caught.value.code == "U002"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("mark", [None, "{}", "[]", "no json", '{"made_by": "me"}'])
def test_a_folder_of_other_things_is_refused(tmp_path: Path, mark: str | None) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    if mark is not None:
        (tmp_path / demo.MARK).write_text(mark)
    with pytest.raises(UsageError, match="is not empty and holds no demo") as caught:
        begin(tmp_path)
    assert caught.value.code == "U003"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        begin(tmp_path / "demo")


def test_a_link_to_a_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "demo").symlink_to(tmp_path / "disk")
    for _ in range(2):
        with pytest.raises(Begun):
            begin(tmp_path / "demo")
    assert (tmp_path / "disk" / demo.MARK).exists()


def test_a_link_among_the_parts_is_refused_before_anything_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    earlier(out)
    (tmp_path / "elsewhere").mkdir()
    (out / "run").rename(tmp_path / "elsewhere/run")
    (out / "run").symlink_to(tmp_path / "elsewhere/run")
    with pytest.raises(UsageError, match="is a link"):
        begin(out)
    assert (out / "scenes/images/a.png").exists()
