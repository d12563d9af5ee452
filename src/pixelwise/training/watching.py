"""A run's reports in words, for those who watch it, and for TensorBoard."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pixelwise.errors import ResourceError
from pixelwise.machine.progress import Progress
from pixelwise.training.journal import ProgressReport, Watch
from pixelwise.training.validate import Validation


def watch_on(bar: Progress) -> Watch:
    """Tells every report by ``bar``, whose whole is 1, and each evaluation on a line of its own."""

    def watch(report: ProgressReport) -> None:
        if report.validation:
            bar.say(scored(report.validation))
        doing = f"training {report.stage}".strip()
        bar.reach(report.done, doing=doing, text=line(report), left=report.seconds_left)

    return watch


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
    """Step, loss and speed."""
    steps = f"{report.step}/{report.total}" if report.total else f"{report.step}"
    speed = f"{report.images_per_second:.1f} images/s"
    return f"step {steps}, loss {report.loss:.4f}, {speed}"


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
