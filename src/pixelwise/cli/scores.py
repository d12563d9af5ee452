"""Scores printed as tables, the same for models and for foreign label maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pixelwise.cli.console import in_percent, say, table

if TYPE_CHECKING:
    from pixelwise.evaluation.evaluate import Evaluation


NEAR = 5
"""Of the bands around edges the one that is printed; ``--json`` has all."""


def show(evaluation: Evaluation, protocols: tuple[str, ...] = ("paper",)) -> None:
    """Print the numbers, classes and chosen protocols as tables, and what they leave out.

    Of several heads each one's, one after the other.
    """
    for head, own in evaluation.heads.items() or [("", evaluation)]:
        where = f" (head `{head}`)" if head else ""
        if measures := own.measures:
            rows = [(title(k), f"{v:.5g}") for k, v in measures.values.items()]
            table(f"{len(own.names)} images{where}: {', '.join(own.classes)}", ("score", ""), rows)
            say(measures.beside)
        else:
            _show(own, protocols, where)


def _show(evaluation: Evaluation, protocols: tuple[str, ...], where: str) -> None:
    from pixelwise.metrics.protocols import PROTOCOLS

    spreads = {
        k: f"{in_percent(i.low)} to {in_percent(i.high)}" for k, i in evaluation.intervals.items()
    }
    alone = evaluation.majority.scores.as_dict()
    rows = [
        (title(key), in_percent(value), spreads.get(key, ""), in_percent(alone[key]))
        for key, value in evaluation.scores.as_dict().items()
    ]
    rows.append(("kappa (x 100)", in_percent(evaluation.kappa), "", ""))
    if edges := evaluation.boundaries:
        rows.append(("boundary IU", in_percent(edges.boundary_iu), "", ""))
        near = in_percent(edges.trimap_iu[NEAR])
        rows.append((f"mean IU within {NEAR} px of an edge", near, "", ""))
    constant = f"largest class alone ({evaluation.majority.name}), %"
    measures = ("score", "%", "95 % interval over images", constant)
    table(f"{len(evaluation.names)} images{where}", measures, rows)
    classes = [
        (r.name, in_percent(r.iu), in_percent(r.accuracy), r.truth_pixels, r.guess_pixels, r.reason)
        for r in evaluation.per_class
    ]
    columns = ("class", "IU, %", "accuracy, %", "truth px", "guess px", "note")
    table(f"classes{where}", columns, classes)
    if protocols != ("paper",):  # whose answer is the mean IU above
        rules = [
            (row.name, in_percent(row.value), row.reason or PROTOCOLS[row.name].meaning)
            for row in evaluation.protocol_rows
            if row.name in protocols
        ]
        table(f"protocols{where}", ("protocol", "%", "rule"), rules)
    absent = [row.name for row in evaluation.per_class if row.reason]
    if absent:
        word = "class" if len(absent) == 1 else "classes"
        listed = ", ".join(absent)
        say(f"mean IU{where} leaves out {len(absent)} {word} without truth: {listed}")
    present = [row.name for row in evaluation.per_class if not row.reason]
    if len(present) == 1 and absent:
        say(
            f"warning: `{present[0]}` is the only class in the truth, so these scores say little; "
            "255 is void: a mask of 0 and 255 must be mapped to 0 and 1 first"
        )


def show_confidence(sure: Mapping[str, Mapping[str, Any]]) -> None:
    """Print how sure a model is, by head, as ``calibration.judged`` has it."""
    for head, own in sure.items():
        kept = own["kept"]
        errors = {"": own, " without temperature": own.get("uncalibrated")}
        rows = [
            *((f"calibration error{w}", e["calibration_error"]) for w, e in errors.items() if e),
            (f"pixels of probability {kept['reject']:g} or more", kept["coverage"]),
            *((f"their {title(key)}", kept.get(key)) for key in ("pixel_accuracy", "mean_iu")),
        ]
        where = f" (head `{head}`)" if len(sure) > 1 else ""
        table(f"how sure it is{where}", ("", "%"), [(name, in_percent(x)) for name, x in rows])


def title(key: str) -> str:
    """A score's key as people read it: mean_iu as ``mean IU``."""
    return key.replace("_", " ").replace("iu", "IU")
