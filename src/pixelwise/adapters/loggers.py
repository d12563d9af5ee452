"""A run's journal passed on: to TensorBoard, MLflow, W&B, or whatever has ``log_metrics``.

While a run goes on and afterwards it is the same way: what its journal has that was not read yet
becomes numbers by name, and settings by name where a logger takes them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from pixelwise.errors import ResourceError, UsageError, unknown_name
from pixelwise.folders import DONE, JOURNAL, events_in, stages
from pixelwise.training.journal import ProgressReport, Watch

log = logging.getLogger(__name__)


class Logger(Protocol):
    """As Lightning's, and the module ``mlflow`` itself.

    If there are, ``log_hyperparams(params)`` gets the recipe, ``save()`` is called after each
    piece, and ``finalize(status)`` at the end, with ``success`` or ``failed``.
    """

    def log_metrics(self, metrics: dict[str, float], step: int) -> Any:
        """Take numbers by name, of the step that they were counted at."""


INSTALLED = 'pip install "pixelwise[{}]"{}'
NAMED = {
    "tensorboard": ("lightning_fabric", "TensorBoardLogger", INSTALLED.format("tensorboard", "")),
    "mlflow": ("lightning.pytorch", "MLFlowLogger", INSTALLED.format("lightning", " mlflow")),
    "wandb": ("lightning.pytorch", "WandbLogger", INSTALLED.format("lightning", " wandb")),
}
"""By the name that the command takes: Lightning's package and class, and what they need."""


def logger(name: str, run: Path) -> Logger:
    """A logger by its name; nothing is written or sent before it gets something.

    TensorBoard's files are in ``RUN/tensorboard``; MLflow and W&B find their place by their own
    variables (``MLFLOW_TRACKING_URI``, ``WANDB_MODE``).

    Raises:
        UsageError: U001 an unknown name.
        ResourceError: R008 its package is not installed.
    """
    if name not in NAMED:
        raise unknown_name("logger", name, list(NAMED))
    package, kind, hint = NAMED[name]
    options: dict[str, Any] = {
        "tensorboard": {"root_dir": str(run), "name": "tensorboard", "version": ""},
        "mlflow": {"experiment_name": "pixelwise", "run_name": run.name},
        "wandb": {"project": "pixelwise", "name": run.name, "save_dir": str(run)},
    }[name]
    if name == "tensorboard":
        options["default_hp_metric"] = False  # else a curve of -1
    try:
        made: Logger = getattr(import_module(f"{package}.loggers"), kind)(**options)
    except ImportError as error:
        raise ResourceError("R008", f"the packages for {name} are not installed", hint) from error
    return made


def log_run(run: Path | str, *loggers: Logger) -> None:
    """Pass on a run from its first step, be it finished or not.

    The steps of a run in stages are counted on from stage to stage.

    Raises:
        UsageError: U002 no run folder.
    """
    forwarding = _Forwarding(Path(run))
    if not (Path(run) / JOURNAL).is_file() and not stages(Path(run)):
        raise UsageError("U002", f"{run} is no run: it holds no {JOURNAL}", "name a run folder")
    pieces = list(forwarding.news())
    for one in loggers:
        for piece in pieces:
            _hand_on(one, *piece)
        _end(one, forwarding.done)


@contextmanager
def logged(run: Path | str, loggers: Sequence[Logger], watch: Watch) -> Iterator[Watch]:
    """``watch``, with what the run writes within the block also passed on.

    Of a run that goes on only what is new is. A logger that fails is left out from then on, with a
    warning: no server that is away ends a training.
    """
    forwarding, left = _Forwarding(Path(run)), list(loggers)

    def pass_on() -> None:
        for piece in forwarding.news(of_sitting=True):
            for one in [*left]:
                try:
                    _hand_on(one, *piece)
                except Exception as error:  # noqa: BLE001 - whatever a foreign service raises
                    left.remove(one)
                    what = f"{type(one).__name__} gets no more of {run}: {error}"
                    log.warning("%s (`pixelwise report %s --log NAME` does later)", what, run)

    def both(report: ProgressReport) -> None:
        watch(report)
        if report.loss is not None:  # before the first step the folder may be another run's
            pass_on()

    try:
        yield both
    finally:
        if forwarding.begun:
            pass_on()
            for one in left:
                _end(one, forwarding.done)


class _Forwarding:
    """What of a run was read so far."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.read: dict[Path, int] = {}  # bytes, by run folder
        self.last: dict[Path, int] = {}  # step
        self.heads: dict[str, Sequence[str]] = {}
        self.begun = self.done = False

    def news(self, *, of_sitting: bool = False) -> Iterator[tuple[str, dict[str, Any], int]]:
        """(``settings`` or ``numbers``, what, step) of each event that is new.

        ``of_sitting``: the first time only what is after the last beginning, or going on.
        """
        before, first = 0, of_sitting and not self.begun
        self.begun = True
        for folder in stages(self.run) or [self.run]:
            events = self._unread(folder)
            begins = [n for n, e in enumerate(events) if e["event"] in ("start", "resume")]
            skipped = (begins or [0])[-1] if first else 0
            for number, event in enumerate(events):
                self.last[folder] = step = event.get("step", self.last.get(folder, 0))
                self.done = event["event"] == "end" and event.get("reason") == DONE
                if event["event"] == "start":
                    self.heads = event.get("heads") or {"": event.get("classes", ())}
                    stage = "" if folder == self.run else folder.name.partition("-")[2]
                    made = dict(_flat(event.get("recipe", {}), f"{stage}/" if stage else "", "."))
                    piece = ("settings", made)
                else:
                    piece = ("numbers", _numbers(event, self.heads))
                if number >= skipped and piece[1]:
                    yield *piece, before + step
            before += self.last.get(folder, 0)

    def _unread(self, folder: Path) -> list[dict[str, Any]]:
        """Whole lines; one that is being written is left for the next time."""
        with (folder / JOURNAL).open("rb") as file:
            file.seek(self.read.get(folder, 0))
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.read[folder] = self.read.get(folder, 0) + len(whole)
        return [e for e in events_in(whole.decode("utf-8", "replace")) if "event" in e]


def _hand_on(one: Logger, kind: str, what: dict[str, Any], step: int) -> None:
    if kind == "numbers":
        one.log_metrics(what, step)
    elif hasattr(one, "log_hyperparams"):
        one.log_hyperparams(what)
    if hasattr(one, "save"):
        one.save()


def _end(one: Logger, done: bool) -> None:
    if hasattr(one, "finalize"):
        one.finalize("success" if done else "failed")


def _numbers(event: Mapping[str, Any], heads: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """An event's numbers by name: ``loss``, ``loss/HEAD``, ``validation/mean_iu``,
    ``validation/per_class_iu/CLASS``; of several heads ``validation/HEAD/...``.
    """
    if event["event"] == "step":
        names = ("loss", "lr", "images_per_second", "epoch")
        made = {n: event[n] for n in names if n in event}
        made |= {f"loss/{head}": loss for head, loss in event.get("head_losses", {}).items()}
    elif event["event"] == "validate":
        several = event.get("heads") or {next(iter(heads), ""): event}
        made = {}
        for head, scores in several.items():
            where = f"validation/{head}/" if len(several) > 1 else "validation/"
            own = {k: v for k, v in scores.items() if k not in ("step", "seconds", "best", "heads")}
            for name, value in own.items():
                values = value if isinstance(value, list) else ()
                by_class = dict(zip(heads.get(head, ()), values, strict=False))
                made |= _flat({name: by_class or value}, where, "/")
    else:
        made = {}
    return {k: float(v) for k, v in made.items() if _is_number(v)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _flat(values: Mapping[str, Any], where: str, between: str) -> Iterator[tuple[str, Any]]:
    """Names and values of nested dictionaries; lists as JSON, which every service shows."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{where}{name}{between}", between)
        else:
            yield f"{where}{name}", json.dumps(value) if isinstance(value, list) else value
