"""Many pictures through one model: a plan (``plan.py``) carried out.

Every output is written whole or not at all, and counts as made by its record
(``prediction_records``); whose the folder is stands in its manifest (``claim``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from heapq import nlargest
from pathlib import Path
from typing import Any

from pixelwise.errors import UsageError
from pixelwise.machine.files import atomic_write
from pixelwise.machine.signals import caught
from pixelwise.predict import saving, summaries
from pixelwise.predict.addresses import is_address
from pixelwise.predict.claim import Work, claim, identity
from pixelwise.predict.exports import CVAT, LABELME
from pixelwise.predict.model import Model
from pixelwise.predict.plan import Plan as Plan
from pixelwise.predict.plan import measured_heads, refuse_folder_collisions, refuse_other_inputs
from pixelwise.predict.plan import plan as plan
from pixelwise.predict.prediction import find_class
from pixelwise.predict.saving import Drawing
from pixelwise.predict.sources import Job
from pixelwise.predict.summaries import Labelled
from pixelwise.predict.turns import Outcome, Source, outcomes

DEFAULT = Drawing()


@dataclass
class Done:
    """What was done."""

    made: int = 0
    skipped: int = 0
    kept: list[dict[str, str]] = field(default_factory=list)
    """Pictures with an output that was changed by hand: nothing of theirs was touched."""
    failures: list[dict[str, str]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    """Files of all pictures together."""
    uncertain: list[dict[str, Any]] = field(default_factory=list)
    """The pictures of which the net is least sure, the least first, if they were asked for."""

    def add(self, outcome: Outcome, *, alone: bool) -> None:
        """Count a picture, which may be the only one; an error that ends all work is raised."""
        if outcome.result is not None:
            self.made += outcome.result["made"]
            self.skipped += not outcome.result["made"]
            self.results.append(outcome.result)
        if outcome.kept is not None:
            self.kept.append(outcome.kept)
        if (error := outcome.error) is not None:
            # A full disk will not get better with the next picture; a smaller picture may fit.
            passing = error.code in ("R003", "R010", "R011") and not alone
            if error.exit_code == 5 and not passing:
                raise error
            self.failures.append({"path": outcome.job.shown, **error.as_dict()})


def carry_out(
    plan: Plan,
    model: Model,
    *,
    heat: Sequence[str] = (),
    drawing: Drawing = DEFAULT,
    force: bool = False,
    watch: Callable[..., object] = lambda *_: None,
    by: Source = outcomes,
) -> Done:
    """Predict what is not there yet; ``watch`` is called after each picture, and within videos.

    Heat maps are drawn of the classes in ``heat``, or else of the ``TOP`` largest of each picture.
    ``by`` is who gives each picture its turn: this process, or others on its behalf.
    With ``force`` everything is made anew, also over another model's outputs.

    Raises:
        UsageError: U003 the folder holds another model's outputs, or files that are not ours; U001
            an unknown class or input; U002 nothing says where an input lies.
        DataError: D030 outputs of further heads would lie among those of pictures.
        ResourceError: the disk is full or not writable.
        Stopped: a signal came; finished outputs are kept.
    """
    refuse_other_inputs(plan, model)
    model, heads = model.coloured(drawing.colours), tuple(model.heads)
    measured = measured_heads(plan, model.predictor.net)
    bare = [_shown_class(name, model) for name in drawing.untinted]
    names = tuple(model.heads[head].classes[i] for head, i in bare)
    drawing = replace(drawing, untinted=names)
    refuse_folder_collisions(plan.jobs, [*heads[1:], *{LABELME, CVAT}.intersection(plan.kinds)])
    shown = [_shown_class(name, model) for name in heat]
    parts = saving.parts(plan.per_picture, shown, heads, measured)
    work = Work(plan, model, parts, identity(model, drawing), drawing, force)
    claim(work)
    done, there = Done(), list[Job]()
    with caught() as stop, closing(by(work, stop, watch)) as ended:
        for outcome in ended:
            there += [outcome.job] if outcome.there and not outcome.large else []
            done.add(outcome, alone=len(plan.jobs) == 1)
            if not outcome.large:
                watch()
    path = plan.out / plan.failures
    if done.failures:
        atomic_write(path, "".join(json.dumps(f) + "\n" for f in done.failures))
    else:
        path.unlink(missing_ok=True)
    count = done.made + done.skipped + len(done.kept) + len(done.failures)
    message = f"stopped after {count} of {len(plan.jobs)} pictures; finished outputs are kept"
    stop.refuse(message, "run the same command again to go on")
    folders = dict(zip(heads, work.folders, strict=True))
    of_all = Labelled(there, folders, plan.shard)
    done.summaries = [*map(str, summaries.write(plan.kinds, of_all, model, drawing))]
    done.uncertain = nlargest(plan.uncertain, _unsure(done), key=lambda r: r["uncertainty"])
    if plan.uncertain:
        done.summaries.append(str(_list_uncertain(plan, done)))
    return done


def _list_uncertain(plan: Plan, done: Done) -> Path:
    """A list that ``predict`` takes again, of files each once."""
    paths = dict.fromkeys(str(r["path"]) for r in done.uncertain)
    lines = (p if is_address(p) else str(Path(p).absolute()) for p in paths)
    place = plan.out / f"uncertain{plan.shard}.txt"
    return atomic_write(place, "".join(f"{line}\n" for line in lines))


def _unsure(done: Done) -> list[dict[str, Any]]:
    return [
        {"path": r["path"], "output": r["outputs"][0], "uncertainty": r["uncertainty"]}
        for r in done.results
        if r.get("uncertainty") is not None
    ]


def _shown_class(name: str, model: Model) -> tuple[str, int]:
    """Head and number of a class, in the first head that has one of this name."""
    for head, own in model.heads.items():
        with suppress(UsageError):
            return head, find_class(name, own.classes)
    return next(iter(model.heads)), find_class(name, model.classes)  # says what is there
