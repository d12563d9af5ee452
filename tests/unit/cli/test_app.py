from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from pixelwise.cli import app as commands
from pixelwise.cli import console
from pixelwise.cli.app import run
from pixelwise.errors import DataError, NumericalError
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores
from pixelwise.predict.model import load
from small_model import CLASSES, photo, pixels, save_model

Out = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "net.safetensors")


@pytest.fixture
def rooms(tmp_path: Path, model: Path) -> Path:
    """Three pictures whose labels are the model's own, with every seventh column another class."""
    root, net = tmp_path / "rooms", load(model)
    for i in range(3):
        source = photo(root / "images" / f"r{i}.png", seed=i)
        truth = net.predict(source).labels.copy()
        truth[:, ::7] = (truth[:, ::7] + 1) % 3
        truth[0] = 255
        (root / "labels").mkdir(exist_ok=True)
        Image.fromarray(truth).save(root / "labels" / f"r{i}.png")
    (root / "splits").mkdir()
    (root / "splits/val.txt").write_text("r0\nr2\n")
    (root / "splits/train.txt").write_text("r1\n")
    description = {
        "classes": CLASSES,
        "palette": [[128, 0, 0], [0, 128, 0], [0, 0, 128]],
        "ignore": 255,
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def pixelwise(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pixelwise", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


# -- exit codes -------------------------------------------------------------------------------
def test_0_done(model: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    assert run(["predict", str(model), str(photo(tmp_path / "a.png")), "-o", str(out)]) == 0
    assert "1 made, 0 already there, 0 failed" in capsys.readouterr().err


def test_1_some_items_failed(model: Path, tmp_path: Path, capsys: Out) -> None:
    photo(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_bytes(b"")
    out = tmp_path / "out"
    assert run(["predict", str(model), str(tmp_path / "in"), "-o", str(out), "--json"]) == 1
    captured = capsys.readouterr()
    assert [f["code"] for f in json.loads(captured.out)["failures"]] == ["D020"]
    assert str(out / "failures.jsonl") in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["predict"],
        ["predict", "{model}", "{photo}"],
        ["predict", "{model}", "{photo}", "-o", "{out}", "--save", "polygon"],
        ["predict", "{model}", "{photo}", "-o", "{out}", "--shard", "3/2"],
        ["predict", "{model}", "{photo}", "-o", "{out}", "--precision", "int4"],
        ["predict", "{model}", "{photo}", "-o", "{out}", "--device", "tpu"],
        ["predict", "{model}", "{photo}", "-o", "{out}", "--threads", "-1"],
        ["predict", "{model}", "{photo}", "-o", "{out}", "--threads", "many"],
        ["predict", "{model}", "{photo}", "-o", "{out}", "--zoom", "-1"],
        ["predict", "{model}", "{photo}", "-o", "{out}", "--heat", "roof"],
        ["predict", "{model}", "{photo}", "-o", "{photo}"],
        ["predict", "{model}", "{photo}", "-o", "{in}"],
        ["predict", "{model}", "{photo}", "-o", ""],
        ["predict", "", "{photo}", "-o", "{out}"],
        ["predict", "{model}", "{photo}", "--out="],
        ["nets", "fcn8s-vgg61"],
        ["train", "{in}", "-o", "{out}", "--iterations", "2", "--set", "iterations=3"],
        ["train", "{in}", "-o", "{out}", "--net", "fcn8s-tiny", "--set", "net=fcn8s-vgg16"],
    ],
)
def test_2_wrong_usage_writes_nothing(
    arguments: list[str], model: Path, tmp_path: Path, capsys: Out
) -> None:
    source = photo(tmp_path / "in/a.png")
    names = {"model": model, "photo": source, "out": tmp_path / "out", "in": source.parent}
    before = sorted(tmp_path.rglob("*"))
    assert run([a.format(**names) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error U")
    assert "\nhint: " in captured.err
    assert sorted(tmp_path.rglob("*")) == before


def test_3_data(model: Path, tmp_path: Path, capsys: Out) -> None:
    missing = tmp_path / "nothing.jpg"
    assert run(["predict", str(model), str(missing), "-o", str(tmp_path / "out")]) == 3
    assert "error D010" in capsys.readouterr().err
    assert run(["evaluate", str(model), str(tmp_path / "nothing")]) == 3


def test_4_model(tmp_path: Path, capsys: Out) -> None:
    source = photo(tmp_path / "a.png")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    (tmp_path / "cut.safetensors").write_bytes(
        save_model(tmp_path / "net.safetensors").read_bytes()[:-100]
    )
    for name, code in (("none", "M001"), ("a.h5", "M011"), ("cut.safetensors", "M002")):
        assert run(["predict", str(tmp_path / name), str(source), "-o", str(tmp_path / "o")]) == 4
        assert f"error {code}: {tmp_path / name}" in capsys.readouterr().err


def test_5_resource(model: Path, tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert run(["predict", str(model), str(photo(tmp_path / "a.png")), "-o", str(out)]) == 5
    assert "a file stands where a folder is needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NumericalError("N001", "the loss is nan"), 6, "error N001: the loss is nan"),
        (ZeroDivisionError("by what"), 7, "error B001: ZeroDivisionError: by what"),
        (MemoryError(), 5, "error R003: not enough memory"),
        (KeyboardInterrupt(), 130, "stopped: interrupted"),
        (typer.Abort(), 130, "stopped: interrupted"),
    ],
)
@pytest.mark.parametrize("json_too", [False, True])
def test_6_7_and_130(
    error: BaseException,
    code: int,
    text: str,
    json_too: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Out,
) -> None:
    def fails(**kwargs: object) -> None:
        raise error

    monkeypatch.setattr(commands, "command", lambda: fails)
    assert run(["doctor", "--json"] if json_too else ["doctor"]) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert "Traceback" not in captured.err
    if json_too:
        assert json.loads(captured.out)["code"] in text + "S001"
    else:
        assert captured.out == ""
    if code == 7:
        log = Path(captured.err.split("the traceback is in ")[1].split(", please")[0])
        assert "ZeroDivisionError: by what" in log.read_text()
        log.unlink()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_143_terminated_between_pictures(model: Path, tmp_path: Path) -> None:
    for i in range(60):
        photo(tmp_path / "in" / f"{i}.png", size=(200, 200), seed=i)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pixelwise", "predict", model, tmp_path / "in", "-o", out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(2400):
            if len(list(out.glob("*.png"))) > 1:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        printed = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "finished outputs are kept\nhint: run the same command again" in printed


# -- how errors look --------------------------------------------------------------------------
def test_all_problems_are_in_json_and_twenty_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def fails(**kwargs: object) -> None:
        many = [DataError("D031", f"p{i}.png has no partner") for i in range(25)]
        raise DataError("D035", "rooms: 25 problems", "look", many)

    monkeypatch.setattr(commands, "command", lambda: fails)
    assert run(["data", "inspect", "rooms", "--json"]) == 3
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["problems"]) == 25
    assert captured.err.count("D031") == 20
    assert "... and 5 more (--json lists all)" in captured.err


def test_each_kind_of_problem_has_its_hint_once(tmp_path: Path, capsys: Out) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "d" / kind).mkdir(parents=True)
    for name in ("a", "b"):
        photo(tmp_path / "d" / "images" / f"{name}.png")
        photo(tmp_path / "d" / "labels" / f"{name}.png")  # colours instead of indices
    photo(tmp_path / "d" / "images" / "c.png")
    assert run(["data", "inspect", str(tmp_path / "d")]) == 3
    hints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hint")]
    assert [hint[:11] for hint in hints] == ["hint: D016:", "hint: D031:"]
    assert "classes.json" in hints[0]


def test_hostile_names_are_shown_as_they_are_and_escaped(model: Path, capsys: Out) -> None:
    run(["predict", str(model), "no\x1b[31m[bold]\udcff:smile:\n.png", "-o", "out"])
    printed = capsys.readouterr().err
    assert "no\\x1b[31m[bold]\\udcff:smile:" in printed
    assert "\x1b" not in printed


def test_table_cells_are_no_markup(capsys: Out) -> None:
    console.table("[red]t[/red]", ("[b]",), [("[/nothing] [link=x]a\x1b[0m",), ("b",)])
    printed = capsys.readouterr().out
    for text in ("[red]t[/red]", "[b]", "[/nothing] [link=x]a\\x1b[0m"):
        assert text in printed


def test_json_of_odd_names_and_numbers(capsys: Out) -> None:
    console.emit_json({"a": float("nan"), "b": [float("inf"), 1.5], 3: "tür\udcff"})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "3": "tür\udcff"}


def test_an_empty_word_is_told_with_its_place(capsys: Out) -> None:
    assert run(["demo", "-o", ""]) == 2
    assert "error U002: the argument after `-o` is empty\n" in capsys.readouterr().err
    assert run(["demo", "--out="]) == 2
    assert "error U002: the argument in `--out=` is empty\n" in capsys.readouterr().err
    assert run(["weights", "show", "no.safetensors", "--expect-sha256="]) == 2


# -- terminals --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "variables",
    [
        {"LANG": "C", "LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb", "NO_COLOR": "1"},
        {"COLUMNS": "20"},
    ],
)
def test_any_terminal_gets_an_answer(variables: dict[str, str]) -> None:
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH")}  # and no HOME
    one = ["nets", "fcn32s-tiny"]
    for arguments in (["--help"], one, [*one, "--json"], ["score", "tür", "x"]):
        completed = pixelwise(*arguments, env=kept | variables)
        assert completed.returncode == (3 if arguments[0] == "score" else 0)
        assert ("error D010: t" in completed.stderr) == (arguments[0] == "score")
        assert "Traceback" not in completed.stderr
        assert "\x1b[" not in completed.stdout + completed.stderr
        if arguments[-1] == "--json":
            json.loads(completed.stdout)


def test_help_and_version_take_no_torch() -> None:
    completed = pixelwise("--version")
    assert (completed.returncode, completed.stdout.split()[0]) == (0, "pixelwise")
    code = (
        "import sys; from pixelwise.cli.app import run; run(['--help']);"
        "print([m for m in ('torch', 'numpy', 'numba', 'PIL') if m in sys.modules])"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert completed.stdout.splitlines()[-1] == "[]"


def test_a_plan_says_what_is_computed_and_what_is_constant(capsys: Out) -> None:
    assert run(["nets", "fcn8s-vgg16", "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    rows = {row["map"]: row for row in plan["computations"]}
    assert rows["pool3"]["layer"] == "conv3_3"
    assert rows["pool3"]["folded"] == "relu pool"
    assert {rows[name]["kernel"] for name in ("relu1_1", "pool3")} <= {
        "direct",
        "winograd",
        "onednn",
    }
    assert (rows["pool3"]["rows"], rows["pool3"]["size"]) == ([10, 78], [88, 88])
    assert rows["fuse_pool4"]["reads"] == ["upscore2", "score_pool4"]
    # the two largest maps that are alive together: 508x508 cells of 64, 257x257 of 64
    assert plan["bytes_of_maps"] >= 4 * 64 * (508**2 + 257**2)
    assert run(["nets", "fcn8s-vgg16", "--plan"]) == 0
    assert "10 to 77 of 88" in capsys.readouterr().out
    assert run(["nets", "--plan"]) == 2


# -- evaluate ---------------------------------------------------------------------------------
def test_commands_that_write_data_tell_what_in_json(tmp_path: Path, capsys: Out) -> None:
    made, canonical = str(tmp_path / "made"), str(tmp_path / "canonical")
    documents = []
    for words in (
        ["make", "scenes", made, "--count", "20", "--size", "32x48"],
        ["split", made, "--held", "0.5"],
        ["convert", made, canonical],
    ):
        if words[0] == "split":
            shutil.rmtree(tmp_path / "made" / "splits")
        assert run(["data", *words, "--json"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == {"folder": made, "scenes": 20, "seed": 0}
    drawn = documents[1]
    assert (drawn["folder"], drawn["train"], drawn["val"]) == (f"{made}/splits", 10, 10)
    assert documents[2] == {"folder": canonical, "pictures": 20, "splits": {"train": 10, "val": 10}}


def test_evaluate_is_the_confusion_by_hand(model: Path, rooms: Path, capsys: Out) -> None:
    assert run(["evaluate", str(model), str(rooms), "--json", "--protocol", "all"]) == 0
    answer = json.loads(capsys.readouterr().out)
    total = np.zeros((3, 3), np.int64)
    for i in (0, 2):
        truth = np.asarray(Image.open(rooms / f"labels/r{i}.png"))
        total += confusion(truth, load(model).predict(rooms / f"images/r{i}.png").labels, 3)
    assert answer["confusion"] == total.tolist()
    by_hand = scores(total).as_dict()
    for key in ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu"):
        assert answer[key] == pytest.approx(by_hand[key])
    assert 0.8 < answer["pixel_accuracy"] < 0.9  # 8 of 56 columns are another class
    assert answer["images"] == 2
    assert answer["seconds_per_image"] > 0
    assert [row["name"] for row in answer["per_class"]] == list(CLASSES)
    assert len(answer["protocols"]) > 5


def test_evaluate_as_tables_with_mirror_and_kept_maps(
    model: Path, rooms: Path, tmp_path: Path, capsys: Out
) -> None:
    kept = tmp_path / "kept"
    assert run(["evaluate", str(model), str(rooms), "--split", "train", "--save", str(kept)]) == 0
    captured = capsys.readouterr()
    assert "mean IU" in captured.out
    assert "s per picture" in captured.err
    expected = load(model).predict(rooms / "images/r1.png").labels
    assert np.array_equal(np.asarray(Image.open(kept / "r1.png")), expected)
    assert run(["evaluate", str(model), str(rooms), "--mirror", "--zoom", "2", "--json"]) == 0


def test_evaluate_refuses_other_classes_and_splits(model: Path, rooms: Path, capsys: Out) -> None:
    assert run(["evaluate", str(model), str(rooms), "--split", "test"]) == 3
    assert "there are: train (1), val (2)" in capsys.readouterr().err.replace(
        "val (2), train (1)", "train (1), val (2)"
    )
    description = json.loads((rooms / "dataset.json").read_text())
    description["classes"][1] = "roof"
    (rooms / "dataset.json").write_text(json.dumps(description))
    assert run(["evaluate", str(model), str(rooms)]) == 4
    message = capsys.readouterr().err
    assert "error M040" in message
    assert "1: `tür, door` / `roof`" in message


def test_doctor_names_packages_and_devices(capsys: Out) -> None:
    assert run(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) == {"environment", "devices", "extras"}
    assert facts["devices"][0]["name"] == "cpu"
    assert {e["name"]: e["version"] for e in facts["extras"]}["numpy"] == np.__version__
    assert run(["doctor"]) == 0
    assert "cpu" in capsys.readouterr().out


def test_pixels_differ_between_seeds() -> None:
    assert not np.array_equal(pixels(seed=0), pixels(seed=1))
