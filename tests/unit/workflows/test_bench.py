from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pytorch_fcn import TorchFcn
from tests.small_model import save_model
from typer.testing import CliRunner

from pixelwise.cli.app import app, run
from pixelwise.engine.rounding import unsupported
from pixelwise.errors import DataError, ModelError, UsageError
from pixelwise.workflows.bench import labels, results, scaling, timing, ways
from pixelwise.workflows.bench.by_hand import by_hand, tent
from pixelwise.workflows.bench.labels import Task, measure


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save_model(tmp_path / "net.safetensors")


def task(path: Path, *names: str, rounds: int = 2) -> Task:
    return Task(path, (37, 50), 1, rounds, names, memory=False)


def document(**ratios: float) -> dict[str, Any]:
    rows = [{"way": way, "ms": 10 * r, "times_first": r} for way, r in ratios.items()]
    facts = {"benchmark": "labels", "net": "n", "size": "5x5", "threads": 1, "rows": rows}
    return {**facts, "machine": "A <b>, 2 cores", "versions": {"pixelwise": "1.2"}, "missing": {}}


@torch.no_grad()
def test_the_net_by_hand_is_pytorch_fcns() -> None:
    peer = TorchFcn(8, 5, 16).eval()
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    weights = dict(peer.state_dict())
    kernels = [tent(5, k) for k in (4, 4, 16)]
    for name, kernel in zip(("upscore2", "upscore_pool4", "upscore8"), kernels, strict=True):
        peer.get_submodule(name).weight.data = kernel
    x = torch.randn(1, 3, 40, 67)
    torch.testing.assert_close(by_hand(x, weights, kernels), peer(x))


def test_every_way_gives_the_labels_of_the_modules_and_a_row(path: Path, tmp_path: Path) -> None:
    made = measure(task(path, "fp32", "oneDNN", "modules", "by hand"), tmp_path)
    rows = {row["way"]: row for row in made["rows"]}
    assert list(rows) == ["fp32", "oneDNN", "modules"]
    assert all(row["error"] < 1e-5 and row["differ"] == 0 for row in rows.values())
    assert rows["modules"]["error"] == 0
    assert rows["fp32"]["times_first"] == 1
    assert all(row["quartiles"][0] <= row["ms"] <= row["quartiles"][1] for row in rows.values())
    assert "not written by hand" in made["missing"]["by hand"]
    macs = sum(task(path).net.macs(37, 50).values())
    assert made["gflop"] == round(2 * macs / 1e9, 1)


def test_a_faster_wrong_answer_is_no_row(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ways.make

    def wrong(way: str, *given: Any) -> ways.Way:
        right = real(way, *given)
        if way != "oneDNN":
            return right
        return lambda x: (right(x)[0], lambda: right(x)[1]() * 1.01)

    monkeypatch.setattr(labels, "make", wrong)
    made = measure(task(path, "fp32", "oneDNN"), tmp_path)
    assert [row["way"] for row in made["rows"]] == ["fp32"]
    assert made["missing"]["oneDNN"] == "its scores are others: 1.0e-02 of the largest"
    with pytest.raises(UsageError, match="nothing could be measured"):
        measure(task(path, "oneDNN"), tmp_path)


def test_an_exported_file_is_carried_out_by_its_own_runtime(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from pixelwise.export.export import export_model

    export_model(path, tmp_path / "net.onnx")
    made = measure(task(tmp_path / "net.onnx", "fp32", "modules"), tmp_path)
    assert [row["way"] for row in made["rows"]] == ["fp32"]
    assert "has a runtime of its own" in made["missing"]["modules"]


def test_a_net_in_eight_bits_is_a_way_and_its_file_is_alone(path: Path, tmp_path: Path) -> None:
    if unsupported("int8"):
        pytest.skip("no int8 here")
    made = measure(task(path, "fp32", "int8"), tmp_path)
    (_, low) = made["rows"]
    assert low["way"] == "int8"
    assert 1e-5 < low["error"] < 0.2
    quantised = next(tmp_path.glob("*-int8.safetensors"))
    alone = measure(task(quantised, "fp32", "int8"), tmp_path)
    assert [row["way"] for row in alone["rows"]] == ["int8"]
    assert "eight bits alone" in alone["missing"]["fp32"]


def test_peak_memory_is_of_a_process_of_its_own(path: Path) -> None:
    printed = timing.printed_by(labels.__name__, "modules", str(path), "37x50", "1")
    assert 100e6 < int(printed) < 2e9
    with pytest.raises(RuntimeError, match="No module named"):
        timing.printed_by("pixelwise.nothing")


def test_turns_are_taken_in_another_order_each_round() -> None:
    order: list[str] = []
    turns = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}
    assert timing.interleaved(turns, 3) == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}
    assert "".join(order) == "abcbcacab"
    assert timing.spread([1, 2, 3, 4, 100]) == {"median": 3, "low": 2, "high": 4}


def test_time_and_memory_are_measured_along_an_axis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def printed(module: str, *arguments: str) -> str:
        asked.append(arguments)
        if arguments[2] == "4000" and arguments[0] == "modules":
            raise RuntimeError("it would not fit")
        return json.dumps({"ms": 10.0, "peak_mb": 100})

    monkeypatch.setattr(timing, "printed_by", printed)
    monkeypatch.setattr(scaling, "MEGAPIXELS", (1, 16))
    made = scaling.scale("pixels", "fcn8s-tiny", tmp_path, size=(9, 9), threads=2, rounds=3)
    assert [a[0] for a in asked] == ["fp32", "modules"] * 2
    assert [a[2:] for a in asked[::2]] == [("1000", "1000", "2", "3"), ("4000", "4000", "2", "1")]
    assert [(row["way"], row["pixels"]) for row in made["rows"]][-1] == ("fp32", 16)
    assert made["missing"] == {"modules, 16 pixels": "it would not fit"}


@pytest.mark.parametrize("way", scaling.WAYS)
def test_a_point_of_an_axis_is_measured(path: Path, way: str) -> None:
    made = scaling.labelled(way, path, (70, 90), 1)
    assert made["ms"] > 0
    assert made["peak_mb"] > 100


def test_results_are_kept_by_version_and_machine_with_a_page(tmp_path: Path) -> None:
    place = results.keep(measured(), tmp_path)
    assert place == tmp_path / "1.2/a-b-2-cores/labels-n-5x5-1t.json"
    assert results.read(place)["rows"] == measured()["rows"]
    page = (place.parent / "index.html").read_text()
    assert "n, 5x5" in page
    assert "A &lt;b&gt;, 2 cores" in page


def measured() -> dict[str, Any]:
    more = {"quartiles": [1, 2], "of_ceiling": 0.5, "error": 1e-6, "differ": 0, "peak_mb": None}
    facts = {"date": "2026-11-26", "gflop": 1.0, "ceiling_gflops": 9, "others_cpu": 0.0}
    plain = document(fp32=1, modules=3)
    rows = [{**row, **more} for row in plain["rows"]]
    return {**plain, **facts, "rows": rows, "paper_ms_on_k40": None, "paper_of_ceiling": None}


def test_a_fallen_ratio_is_told_and_seconds_are_not_compared() -> None:
    before, now = document(fp32=1, modules=4, opencv=5), document(fp32=1, modules=3.5, opencv=4)
    for row in now["rows"]:
        row["ms"] *= 10
    told = "opencv took 5.00 times our time, takes 4.00 times now"
    assert list(results.fallen(now, before)) == [told]
    with pytest.raises(UsageError, match="size was 5x5, is 6x6"):
        list(results.fallen({**now, "size": "6x6"}, before))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{"way": "a"}]}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError, match="holds no measurement"):
        results.read(tmp_path / "r.json")


def test_the_command_measures_keeps_and_compares(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(path), "--size", "37x50", "--rounds", "1", "--ways", "fp32,modules"]
    words += ["--no-memory", "--threads", "1", "--json"]
    assert run([*words, "-o", str(tmp_path / "kept")]) == 0
    kept = Path(json.loads(capsys.readouterr().out)["kept"])
    before = json.loads(kept.read_text())
    assert [row["way"] for row in before["rows"]] == ["fp32", "modules"]
    before["rows"][1]["times_first"] = 1e6
    kept.write_text(json.dumps(before))
    assert run([*words, "--against", str(kept)]) == 1
    assert json.loads(capsys.readouterr().out)["fallen"][0].startswith(
        "modules took 1000000.00 times"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["nonsense"], UsageError, "no net is called"),
        (["--only", "speed"], UsageError, "no measurement is called"),
        (["--ways", "foo"], UsageError, "no way is called"),
        (["--only", "pixels", "--ways", "fp32"], UsageError, "leave one out|has its own"),
        (["--against", "none.json"], DataError, "cannot be read"),
        (["nothing.onnx"], ModelError, "does not exist"),
        (["{damaged}"], ModelError, "a text file is not read"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_work(
    arguments: list[str], error: type[Exception], text: str, tmp_path: Path
) -> None:
    (tmp_path / "damaged").write_text("no model")
    given = [a.format(damaged=tmp_path / "damaged") for a in arguments]
    result = CliRunner().invoke(app, ["bench", *given])
    assert isinstance(result.exception, error)
    with pytest.raises(error, match=text):
        raise result.exception
