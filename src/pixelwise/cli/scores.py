"""Scores printed as tables, the same for models and for foreign label maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixelwise.cli.console import say, table

if TYPE_CHECKING:
    from pixelwise.evaluation.evaluate import Evaluation
    from pixelwise.metrics.bootstrap import Interval


def show(found: Evaluation, names: tuple[str, ...] = ("paper",)) -> None:
    """Print the four numbers, the classes and the chosen protocols as tables."""
    rows = [
        (title(key), value, _spread(found.intervals.get(key)))
        for key, value in found.scores.as_dict().items()
    ]
    table(f"{len(found.names)} images", ("score", "value", "95 % interval over images"), rows)
    columns = ("class", "IU", "accuracy", "truth px", "guess px", "note")
    table(
        "classes",
        columns,
        [
            (row.name, row.iu, row.accuracy, row.truth_pixels, row.guess_pixels, row.reason)
            for row in found.per_class
        ],
    )
    if names != ("paper",):
        chosen = [row for row in found.protocol_rows if row.name in names]
        rows_of = [(row.name, row.value, row.reason or row.meaning) for row in chosen]
        table("protocols", ("protocol", "value", "rule"), rows_of)
    if absent := [row.name for row in found.per_class if row.reason]:
        word = "class" if len(absent) == 1 else "classes"
        say(f"mean IU leaves out {len(absent)} {word} without truth: {', '.join(absent)}")
    if len(found.per_class) - len(absent) == 1 < len(found.per_class):
        only = next(row.name for row in found.per_class if not row.reason)
        say(
            f"warning: `{only}` is the only class in the truth, so these scores say little; 255 is "
            "void: a mask of 0 and 255 must be mapped to 0 and 1 first"
        )


def _spread(interval: Interval | None) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}" if interval else ""


def title(key: str) -> str:
    """A score's key as people read it: mean_iu as ``mean IU``."""
    return key.replace("_", " ").replace("iu", "IU")
