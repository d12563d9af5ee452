"""Progress of a run for people: a bar with loss, pictures per second and time left; TensorBoard."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from pixelwise.errors import ResourceError
from pixelwise.training import processes
from pixelwise.training.journal import ProgressReport, Watch
from pixelwise.training.validate import Validation

EVERY_SECONDS = 30.0  # between plain lines


@contextmanager
def progress_bar() -> Iterator[Watch]:
    """A progress bar on stderr; plain lines now and then when stderr is no terminal.

    Of several processes only the first one speaks.
    """
    if not processes.is_first():
        logging.getLogger("pixelwise").setLevel(logging.ERROR)
        yield lambda _: None
        return
    console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}"),
    )
    handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
    root = logging.getLogger("pixelwise")
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.INFO)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("training", total=1.0, text="")
            printed = time.monotonic()

            def watch(report: ProgressReport) -> None:
                nonlocal printed
                name = f"training {report.stage}".strip()
                bar.update(task, completed=report.done, text=line(report), description=name)
                if report.validation:
                    console.print(scored(report.validation), markup=False)
                elif not console.is_terminal and time.monotonic() - printed > EVERY_SECONDS:
                    printed = time.monotonic()
                    console.print(line(report), markup=False)

            yield watch
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def scored(validation: Validation) -> str:
    """Mean IU and pixel accuracy, of several heads each one's."""
    several = len(validation.heads) > 1
    texts = [
        f"{head + ': ' if several else ''}mean IU {100 * own.scores.mean_iu:.1f} %, "
        f"pixel accuracy {100 * own.scores.pixel_accuracy:.1f} %"
        for head, own in validation.heads.items()
    ]
    return f"step {validation.step}: {'; '.join(texts)}"


def line(report: ProgressReport) -> str:
    """Step, loss, speed and time left."""
    steps = f"{report.step}/{report.total}" if report.total else f"{report.step}"
    minutes, seconds = divmod(round(report.seconds_left), 60)
    return (
        f"step {steps}  loss {report.loss:.4f}  {report.images_per_second:.1f} images/s  "
        f"{minutes}:{seconds:02d} left"
    )


def tensorboard_watch(run: Path, watch: Watch) -> Watch:
    """``watch``, with loss and speed also written for TensorBoard.

    Raises:
        ResourceError: R008 the extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ResourceError(
            "R008", "TensorBoard is not installed", 'pip install "pixelwise[tensorboard]"'
        ) from error

    @cache  # made with the first report, not before the run folder was found to be free
    def opened(stage: str) -> SummaryWriter:
        return SummaryWriter(str(run / "tensorboard" / stage))

    def both(report: ProgressReport) -> None:
        writer = opened(report.stage)
        writer.add_scalar("loss", report.loss, report.step)
        writer.add_scalar("images_per_second", report.images_per_second, report.step)
        if report.validation is not None:
            several = len(report.validation.heads) > 1
            for head, own in report.validation.heads.items():
                for name, value in own.scores.as_dict().items():
                    where = f"{head}/{name}" if several else name
                    writer.add_scalar(f"validation/{where}", value, report.step)
        writer.flush()
        watch(report)

    return both
