"""What a run's journal says reaches loggers, while it goes on and afterwards alike."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import pixelwise as pw
from make_data import folder_set
from pixelwise.adapters import loggers
from pixelwise.adapters.loggers import log_run, logged, logger
from pixelwise.cli.app import run as command
from pixelwise.errors import ResourceError, Stopped, UsageError
from pixelwise.machine.files import write_json
from pixelwise.training.journal import ProgressReport
from small_runs import events, recipe, stop_after

GOLDEN = Path(__file__).parents[2] / "golden" / "run"


class Heard:
    """A logger as Lightning has them."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[tuple[int, float]]] = {}
        self.settings: dict[str, object] = {}
        self.status: list[str] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        for name, value in metrics.items():
            self.numbers.setdefault(name, []).append((step, value))

    def log_hyperparams(self, params: dict[str, object]) -> None:
        self.settings |= params

    def finalize(self, status: str) -> None:
        self.status.append(status)


class Bare:
    """All that is asked for, as the module mlflow has it."""

    def __init__(self) -> None:
        self.calls = 0

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.calls += 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = folder_set(tmp_path_factory.mktemp("data") / "set", count=8)
    write_json(root / "classes.json", {"classes": ["sky", "grass", "road"]})
    return root


def report(step: int, **more) -> ProgressReport:
    return ProgressReport(step=step, loss=1.0, **more)


def written(run: Path, *lines: dict) -> None:
    run.mkdir(parents=True, exist_ok=True)
    with (run / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def step(number: int, loss: float) -> dict:
    return {"event": "step", "step": number, "loss": loss, "lr": 0.5}


def test_a_finished_run_of_version_0_1_is_passed_on_as_its_journal_has_it() -> None:
    heard = Heard()
    log_run(GOLDEN, heard)
    rows = loggers.events_in((GOLDEN / "journal.jsonl").read_text("utf-8"))
    assert heard.numbers["loss"] == [(e["step"], e["loss"]) for e in rows if e["event"] == "step"]
    assert [n for n, _ in heard.numbers["loss"]] == [*range(10, 80, 10), *range(80, 160, 10)]
    (half, end) = heard.numbers["validation/mean_iu"]
    assert half == (75, 0.49352918600843865)
    assert end[0] == 150
    assert heard.numbers["validation/per_class_iu/sign"][0] == (75, 0.0)
    assert heard.settings["optim.lr"] == 0.02
    assert heard.settings["crop"] == "[32, 40]"
    assert heard.status == ["success"]
    assert not [n for n in heard.numbers if n.endswith(("/step", "/seconds", "/best"))]


def test_what_is_heard_live_is_what_is_heard_afterwards(data: Path, tmp_path: Path) -> None:
    live, later, bare, run = Heard(), Heard(), Bare(), tmp_path / "run"
    with logged(run, [live, bare], lambda _: None) as watch:
        pw.train(
            recipe(data, width=1 / 16, iterations=20, validate_every=10),
            tmp_path / "run",
            watch=watch,
        )
    log_run(tmp_path / "run", later)
    assert vars(live) == vars(later)
    assert live.numbers["loss"][-1][0] == 20
    assert len(live.numbers["validation/mean_iu"]) == 2
    assert bare.calls == 4


def test_a_run_that_goes_on_is_told_from_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, plan = tmp_path / "run", recipe(data, width=1 / 16, iterations=40, val_split="")
    first, second = Heard(), Heard()
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(Stopped), logged(run, [first], lambda _: None) as watch:
            pw.train(plan, run, watch=watch)
    assert first.status == ["failed"]
    with logged(run, [second], lambda _: None) as watch:
        pw.train(plan, run, resume=True, watch=watch)
    assert [n for n, _ in first.numbers["loss"]] == [10, 20]
    assert [n for n, _ in second.numbers["loss"]] == [30, 40]
    assert second.status == ["success"]
    assert [e["step"] for e in events(run, "step")] == [10, 20, 30, 40]


def test_nothing_is_opened_before_the_first_step(tmp_path: Path) -> None:
    """The folder is claimed first; what lies in it then may be another run's."""
    written(tmp_path, {"event": "start", "step": 0}, step(10, 9.0))
    heard = Heard()
    with logged(tmp_path, [heard], lambda _: None) as watch:
        watch(ProgressReport(done=0.5, doing="reading the data"))
        assert heard.numbers == {}
        written(tmp_path, {"event": "resume", "step": 10}, step(20, 4.0))
        watch(report(20))
        assert heard.numbers["loss"] == [(20, 4.0)]
    assert heard.numbers["loss"] == [(20, 4.0)]


def test_a_line_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    written(tmp_path, {"event": "start", "step": 0})
    heard = Heard()
    with logged(tmp_path, [heard], lambda _: None) as watch:
        line = json.dumps(step(10, 4.0))
        with (tmp_path / "journal.jsonl").open("a") as file:
            file.write(line[:20])
            file.flush()
            watch(report(10))
            assert heard.numbers == {}
            file.write(line[20:] + "\n")
        watch(report(10))
        assert heard.numbers["loss"] == [(10, 4.0)]


def test_steps_are_counted_on_from_stage_to_stage(tmp_path: Path) -> None:
    tmp_path.joinpath("recipe.yaml").write_text("data: x\n")
    heard = Heard()
    with logged(tmp_path, [heard], lambda _: None) as watch:
        for number, name in enumerate(("32s", "16s"), start=1):
            folder = tmp_path / f"{number}-{name}"
            start = {"event": "start", "step": 0, "recipe": {"optim": {"lr": number}}}
            written(folder, start, step(10, number), {"event": "end", "step": 15})
            watch(replace(report(10), stage=name))
    assert heard.numbers["loss"] == [(10, 1.0), (25, 2.0)]
    assert heard.settings == {"32s/optim.lr": 1, "16s/optim.lr": 2}


def test_several_heads_have_their_own_curves(tmp_path: Path) -> None:
    heads = {"a": {"mean_iu": 0.5, "per_class_iu": [0.25, None]}, "b": {"rmse": 2.0}}
    start = {"event": "start", "step": 0, "heads": {"a": ["x", "y"], "b": ["depth"]}}
    both = {"event": "step", "step": 10, "loss": 3.0, "head_losses": {"a": 1.0, "b": 2.0}}
    found = {"event": "validate", "step": 10, "best": True, "mean_iu": 0.5, "heads": heads}
    written(tmp_path, start, both, found)
    heard = Heard()
    log_run(tmp_path, heard)
    assert {name: value for name, [(_, value)] in heard.numbers.items()} == {
        "loss": 3.0,
        "loss/a": 1.0,
        "loss/b": 2.0,
        "validation/a/mean_iu": 0.5,
        "validation/a/per_class_iu/x": 0.25,
        "validation/b/rmse": 2.0,
    }
    assert heard.status == ["failed"]  # it has not ended


def test_a_logger_that_fails_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Away:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            raise ConnectionError("no route to host")

    written(tmp_path, {"event": "start", "step": 0})
    heard = Heard()
    with logged(tmp_path, [Away(), heard], lambda _: None) as watch:
        for number in (10, 20):
            written(tmp_path, step(number, 1.0))
            watch(report(number))
    assert [n for n, _ in heard.numbers["loss"]] == [10, 20]
    (warning,) = caplog.messages
    assert "no route to host" in warning
    assert f"pixelwise report {tmp_path} --log" in warning


def test_names_are_lightnings_loggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for package in ("lightning_fabric", "lightning.pytorch"):
        module = ModuleType(f"{package}.loggers")
        for _, kind, _ in loggers.NAMED.values():
            setattr(module, kind, lambda kind=kind, **options: made.update({kind: options}))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in loggers.NAMED:
        logger(name, tmp_path)
    assert made["TensorBoardLogger"]["root_dir"] == str(tmp_path)
    assert made["MLFlowLogger"]["run_name"] == made["WandbLogger"]["name"] == tmp_path.name
    with pytest.raises(UsageError, match="no logger is called `comet`"):
        logger("comet", tmp_path)


def test_one_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch.loggers", None)
    with pytest.raises(ResourceError, match="wandb are not installed") as caught:
        logger("wandb", Path())
    assert (caught.value.code, caught.value.hint) == ("R008", loggers.NAMED["wandb"][2])


def test_curves_are_written_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    written(run, {"event": "start", "step": 0}, step(10, 3.0), step(20, 2.0))
    (run / "recipe.yaml").write_text("data: x\n")
    log_run(run, logger("tensorboard", run))
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(10, 3.0), (20, 2.0)]


def test_report_passes_a_run_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: dict[str, Heard] = {}
    monkeypatch.setattr(loggers, "logger", lambda name, run: heard.setdefault(name, Heard()))
    page = str(tmp_path / "page.html")
    assert command(["report", str(GOLDEN), "-o", page, "--log", "mlflow,wandb"]) == 0
    assert heard["mlflow"].numbers["loss"] == heard["wandb"].numbers["loss"]
    assert command(["report", str(tmp_path), "-o", page, "--log", "mlflow"]) != 0
