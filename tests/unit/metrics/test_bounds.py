"""Upper bounds on mean IU: by hand, against other resamplers, and the paper's appendix A."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.cli.app import run
from pixelwise.metrics.bounds import CONVENTIONS, FACTORS, PUBLISHED, bound, count, restored

Out = pytest.CaptureFixture[str]


def blobs(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Classes 0 to 3 in patches, with void between some."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 4, (size[0] // 6 + 1, size[1] // 6 + 1)).astype(np.uint8)
    labels = np.kron(coarse, np.ones((6, 6), np.uint8))[: size[0], : size[1]]
    labels[rng.random(labels.shape) < 0.05] = 255
    return labels


def test_cells_by_hand() -> None:
    row = np.array([[0, 0, 1, 1, 1, 2, 2]], np.uint8)
    two = {name: restored(row, 3, CONVENTIONS[name])[0].tolist() for name in CONVENTIONS}
    assert two["centre"] == [0, 0, 0, 1, 1, 1, 2]  # pixels 1, 4 and 6
    assert two["majority"] == [0, 0, 0, 1, 1, 1, 2]
    assert two["nearest"] == [0, 0, 1, 1, 1, 2, 2]  # 7/3 wide: pixels 1, 3 and 5
    # Two cells of 3.5 pixels: shares of 4/7, 3/7, 0 and 0, 3/7, 4/7; their middle is pixel 3.
    assert two["mean"] == [0, 0, 0, 1, 2, 2, 2]
    assert restored(row, 1, CONVENTIONS["mean"])[0].tolist() == row[0].tolist()
    assert restored(row, 100, CONVENTIONS["majority"])[0].tolist() == [1] * 7


def test_void_counts_as_class_0_wins_or_has_no_share() -> None:
    row = np.array([[1, 255, 255, 255]], np.uint8)
    ways = ("net", "net-void", "net-known")
    made = [int(restored(row, 4, CONVENTIONS[name])[0, 0]) for name in ways]
    assert made == [0, 255, 1]
    assert (restored(np.full((3, 3), 255, np.uint8), 2, CONVENTIONS["net-known"]) == 255).all()
    assert count(row, np.array([[255, 0, 0, 0]], np.uint8))[1, 255] == 1
    assert count(row, row).sum() == 1


def test_bounds_are_one_at_factor_1_and_score_what_was_lost() -> None:
    truth = blobs(0, (30, 40))
    for name, way in CONVENTIONS.items():
        assert bound(count(truth, restored(truth, 1, way))) == 1, name
    row = np.array([[0, 0, 0, 1]], np.uint8)  # all becomes 0: IU 3/4 and 0
    assert bound(count(row, restored(row, 4, CONVENTIONS["majority"]))) == 3 / 8


def test_appendix_a_of_the_paper() -> None:
    paper = {128: 50.9, 64: 73.3, 32: 86.1, 16: 92.8, 8: 96.4, 4: 98.5}
    assert dict(zip(FACTORS, PUBLISHED, strict=True)) == pytest.approx(
        {factor: percent / 100 for factor, percent in paper.items()}
    )


@pytest.mark.parametrize("name", ["majority", "mean"])
def test_of_equal_shares_the_lower_class_wins(name: str) -> None:
    """Each has two columns of a cell of four; one pixel more decides."""
    for row in ([1, 2, 2, 1], [2, 1, 1, 2]):
        cell = np.array([row], np.uint8).repeat(4, 0)
        assert (restored(cell, 4, CONVENTIONS[name]) == 1).all()
        cell[3, row.index(1)] = 2
        assert (restored(cell, 4, CONVENTIONS[name]) == 2).all()


@pytest.mark.parametrize("factor", [3, 4, 8])
@pytest.mark.parametrize("size", [(48, 64), (47, 61)])
def test_nearest_is_pillows(factor: int, size: tuple[int, int]) -> None:
    truth = blobs(1, size)
    image = Image.fromarray(truth)
    small = (-(-size[1] // factor), -(-size[0] // factor))
    there = image.resize(small, Image.Resampling.NEAREST)
    back = np.asarray(there.resize((size[1], size[0]), Image.Resampling.NEAREST))
    assert np.array_equal(restored(truth, factor, CONVENTIONS["nearest"]), back)


def clearly_largest(maps: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) classes of (K, H, W), and where they win by more than rounding."""
    first, second = maps.topk(2, dim=0).values
    return maps.argmax(0).numpy(), (first - second > 1e-5).numpy()


@pytest.mark.parametrize("factor", [4, 8, 16])
@pytest.mark.parametrize("size", [(48, 64), (47, 61), (52, 70)])
def test_bilinear_is_torchs_on_mirrored_one_hot_maps(factor: int, size: tuple[int, int]) -> None:
    """Antialiased down and plain up, in double precision; sizes are rounded, halves up."""
    truth = blobs(2, size)
    filled = np.where(truth == 255, 0, truth)
    mirrored = np.pad(filled, [(n, n) for n in size], mode="symmetric")
    maps = torch.from_numpy((np.arange(4)[:, None, None] == mirrored).astype(np.float64))[None]
    cells = [int(n / factor + 0.5) for n in size]
    how = {"mode": "bilinear", "align_corners": False}
    small = torch.nn.functional.interpolate(maps, [3 * n for n in cells], **how, antialias=True)
    small = small[..., cells[0] : 2 * cells[0], cells[1] : 2 * cells[1]]
    expected, clear = clearly_largest(torch.nn.functional.interpolate(small, size, **how)[0])
    assert clear.mean() > 0.98
    made = restored(truth, factor, CONVENTIONS["bilinear"])
    assert np.array_equal(made[clear], expected[clear])


@pytest.mark.parametrize("factor", [4, 8])
def test_net_is_a_convolution_and_a_transposed_one_by_the_nets_kernel(factor: int) -> None:
    """Kernel 2f, stride f, pad f; the picture is mirrored at its border."""
    size = 47, 61
    truth = blobs(4, size)
    filled = np.where(truth == 255, 0, truth)
    ends = [factor * -(-n // factor) - n for n in size]
    mirrored = np.pad(filled, [(factor, factor + end) for end in ends], mode="symmetric")
    maps = torch.from_numpy((np.arange(4)[:, None, None] == mirrored).astype(np.float64))[:, None]
    line = 1 - (torch.arange(2 * factor) - factor + 0.5).abs().double() / factor
    kernel = (line[:, None] * line)[None, None]
    small = torch.nn.functional.conv2d(maps, kernel, stride=factor)
    large = torch.nn.functional.conv_transpose2d(small, kernel, stride=factor, padding=factor)
    expected, clear = clearly_largest(large[:, 0, : size[0], : size[1]])
    assert clear.mean() > 0.98
    made = restored(truth, factor, CONVENTIONS["net"])
    assert np.array_equal(made[clear], expected[clear])


@pytest.mark.parametrize("factor", [3, 5])
def test_majority_and_means_cell_by_cell(factor: int) -> None:
    truth = blobs(3, (22, 31))
    made = restored(truth, factor, CONVENTIONS["majority"])
    middle = restored(truth, factor, CONVENTIONS["centre"])
    for top in range(0, 22, factor):
        for left in range(0, 31, factor):
            cell = truth[top : top + factor, left : left + factor]
            values, counts = np.unique(cell, return_counts=True)
            place = np.s_[top : top + factor, left : left + factor]
            assert (made[place] == values[counts.argmax()]).all()
            row, column = min(top + factor // 2, 21), min(left + factor // 2, 30)
            assert (middle[place] == truth[row, column]).all()


def write(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(blobs(i, (40, 50 + i))).save(folder / f"p{i}.png")
    return folder


def test_a_folder_of_label_maps_is_counted_as_a_whole(tmp_path: Path, capsys: Out) -> None:
    folder = write(tmp_path / "maps")
    names = tmp_path / "list.txt"
    names.write_text("p0\np2.png\n")
    options = ["--list", str(names), "--factors", "8,4,8", "--convention", "majority", "--json"]
    assert run(["bounds", str(folder), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["convention"], told["images"], list(told["bounds"])) == ("majority", 2, ["8", "4"])
    table = np.zeros((256, 256), np.int64)
    for i in (0, 2):
        truth = blobs(i, (40, 50 + i))
        table += count(truth, restored(truth, 4, CONVENTIONS["majority"]))
    assert told["bounds"]["4"] == bound(table)
    assert run(["bounds", str(folder)]) == 0
    told = capsys.readouterr()
    assert "upper bounds on 3 label maps, net: shares of each class" in told.err
    assert told.out.count("│") > 6


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--factors", "8,x"], 2, "--factors is `8,x`, expected whole numbers from 1 on"),
        (["--factors", "0"], 2, "--factors is `0`"),
        (
            ["--convention", "linear"],
            2,
            "no convention is called `linear`; did you mean `bilinear`",
        ),
        (["--list", "{list}"], 3, "p9 is listed and has no label map in"),
    ],
)
def test_wrong_options_are_told(
    tmp_path: Path, capsys: Out, options: list[str], code: int, message: str
) -> None:
    folder = write(tmp_path / "maps")
    (tmp_path / "list.txt").write_text("p0\np9\n")
    words = [word.replace("{list}", str(tmp_path / "list.txt")) for word in options]
    assert run(["bounds", str(folder), *words]) == code
    assert message in capsys.readouterr().err


def test_folders_without_labels_are_told(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "none").mkdir()
    assert run(["bounds", str(tmp_path / "gone")]) == 3
    assert "no such folder" in capsys.readouterr().err
    assert run(["bounds", str(tmp_path / "none")]) == 3
    assert "holds no label map" in capsys.readouterr().err
    void = write(tmp_path / "void", 1)
    Image.fromarray(np.full((5, 5), 255, np.uint8)).save(void / "p0.png")
    assert run(["bounds", str(void)]) == 3
    assert "every pixel is void (255)" in capsys.readouterr().err
    Image.fromarray(np.full((5, 5), 300, np.uint16)).save(void / "p0.png")
    assert run(["bounds", str(void)]) == 3
    assert "the value 300 names no class" in capsys.readouterr().err


@pytest.mark.slow
def test_the_papers_bounds_on_its_736_pictures_are_met_within_half_a_point(
    real_data: Path, capsys: Out
) -> None:
    maps = real_data / "voc_samples/SegmentationClass"
    names = real_data / "voc_samples/lists/fcn_pascal/seg11valid.txt"
    assert run(["bounds", str(maps), "--list", str(names), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 736
    assert list(told["bounds"]) == [str(factor) for factor in FACTORS]
    for published, found in zip(PUBLISHED, told["bounds"].values(), strict=True):
        assert abs(found - published) < 0.005
