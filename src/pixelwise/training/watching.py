"""A run's reports in words, for those who watch it."""

from __future__ import annotations

from pixelwise.machine.progress import Progress
from pixelwise.metrics.scores import Scores
from pixelwise.training.journal import ProgressReport, Watch
from pixelwise.training.state import Progress as State
from pixelwise.training.validate import Validation

MEANING = (
    "mean IU is the overlap of given and true pixels, as a mean over the classes. The best weights "
    "are kept: once it has not risen for three evaluations, Ctrl-C saves and little is lost."
)


def watch_on(bar: Progress) -> Watch:
    """Tells every report by ``bar``, whose whole is 1; of each evaluation what it means.

    At the first one also what the numbers are, and what the largest class alone would get.
    """
    explained = False

    def watch(report: ProgressReport) -> None:
        nonlocal explained
        if report.validation:
            bar.say(scored(report.validation, report.so_far))
            if not explained:
                explained = True
                if isinstance(report.validation.scores, Scores):
                    bar.say(MEANING)
                for head, own in report.validation.heads.items():
                    where = f"{head}: " if len(report.validation.heads) > 1 else ""
                    bar.say(f"{where}{own.beside}")
        doing = f"{report.doing} {report.stage}".strip()
        bar.reach(report.done, doing=doing, text=line(report), left=report.seconds_left)

    return watch


def scored(validation: Validation, so_far: State | None = None) -> str:
    """Each head's scores in short, and since when the first one's has not risen."""
    several = len(validation.heads) > 1
    texts = [
        f"{head + ': ' if several else ''}{own.scores.sentence}"
        for head, own in validation.heads.items()
    ]
    if so_far and so_far.stale:
        times = f"{so_far.stale} evaluation{'s' if so_far.stale > 1 else ''}"
        best = f"best {100 * so_far.best:.1f} % at step {so_far.best_step}"
        texts.append(f"{best}, not risen for {times}")
    elif so_far:
        texts.append("the best so far")
    return f"step {validation.step}: {'; '.join(texts)}"


def line(report: ProgressReport) -> str:
    """Step, loss and speed; nothing where no steps are done."""
    if report.loss is None:
        return ""
    steps = f"{report.step}/{report.total}" if report.total else f"{report.step}"
    return f"step {steps}, loss {report.loss:.4f}, {report.images_per_second:.1f} images/s"
