"""Drawings of fixed data are, letter by letter, those that were looked at and approved.

They are in ``tests/golden/pages``, a tag a line. After a change that is meant,

    python -m tests.unit.pages.test_drawings build/drawings

makes them anew and puts each as a page of its own into the folder: look at every page in a
browser, light and dark, and read the difference that git shows, before it is committed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import yaml
from markupsafe import Markup
from tests.make_data import canonical_set, picture

from pixelwise import __version__
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.evaluation.comparison import Comparison
from pixelwise.evaluation.evaluate import Pair, evaluate
from pixelwise.pages import comparison, rates, report, runs
from pixelwise.pages.bench import write_bench
from pixelwise.pages.markup import render
from pixelwise.pages.matrix import heat_map, section
from pixelwise.pages.plots import Axis, Line, plot, sparkline
from pixelwise.pages.run import read_run

APPROVED = Path(__file__).parents[2] / "golden/pages"
LONG = "a name of more than twenty-two letters"
CLASSES = ["road", LONG, "sky & <b>", "car"]
COUNTS = np.array([[9000, 990, 10, 0], [3000, 6000, 0, 1000], [0] * 4, [1, 0, 0, 9999]])
"""One pixel of the last row is too few to be drawn; the third class has no truth."""


# -- run folders ---------------------------------------------------------------------------------
def write_run(folder: Path, events: Sequence[dict], scores: dict, **recipe: Any) -> Path:
    (folder / "evaluation").mkdir(parents=True)
    (folder / "journal.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    if scores:
        (folder / "evaluation/scores.json").write_text(json.dumps(scores))
    return folder


def journal(losses: Sequence[float], ius: dict[int, float], seconds: float) -> list[dict]:
    made: list[dict] = [{"event": "start", "time": "2026-11-21T01:02:03", "parameters": 1234567}]
    for step, loss in enumerate(losses, 1):
        at = {"step": step, "seconds": seconds * step}
        made.append({"event": "step", **at, "loss": loss, "lr": 0.01 / step})
        if step in ius:
            checked = {"mean_iu": ius[step], "pixel_accuracy": 0.5 + ius[step] / 2}
            checked |= {"per_class_iu": [ius[step], None], "loss": loss / 2}
            made.append({"event": "validate", **at, **checked, "best": step < len(losses)})
    return made


def scores_of(iu: float, names: Sequence[str], counts: np.ndarray) -> dict:
    """All that an evaluation keeps, each number another."""
    per_class = [
        {"name": name, "iu": iu * (i + 1) / 4 if truth else None, "accuracy": 0.9 - i / 10}
        | {"reason": "not in this truth", "truth_pixels": int(truth), "guess_pixels": int(guess)}
        for i, (name, truth, guess) in enumerate(
            zip(names, counts.sum(1), counts.sum(0), strict=True)
        )
    ]
    intervals = {"level": 0.9, "mean_iu": [iu - 0.05, iu + 0.1], "pixel_accuracy": [0.8, 0.8]}
    return {
        **{"mean_iu": iu, "pixel_accuracy": 0.8, "mean_accuracy": 0.7, "images": 1234},
        **{"frequency_weighted_iu": 0.65, "seconds_per_image": 0.1234, "split": "held"},
        **{"classes": list(names), "confusion": counts.tolist(), "per_class": per_class},
        **{"intervals": intervals, "protocols": {"corpus": iu, "none such": None}},
        "protocol_reasons": {"none such": "<no> rule"},
    }


LOSSES = (4.0, 2.0, 3.0, 1.5, 1.75, 1.0)
EVENTS = journal(LOSSES, {2: 0.3, 4: 0.625, 6: 0.5}, 100.0)
CHECKS = [event for event in EVENTS if event["event"] == "validate"]


def learning(_: Path) -> Markup | None:
    return report.curves(EVENTS)


def one_run(folder: Path) -> str:
    warning = {"event": "warning", "step": 6, "text": "class <b> is rare"}
    optim = {"name": "sgd", "lr": 0.0001, "mirror": True}
    run = write_run(
        *(folder / "run<b>", [EVENTS[0], *CHECKS, warning]),
        scores_of(0.5, CLASSES[:3], COUNTS[:3, :3]),
        **{"net": "fcn8s", "crop": [32, 40], "weights": None, "optim": optim, "stages": {}},
    )
    (run / "environment.json").write_text(json.dumps({"torch": "2.13.0"}))
    rows = [{"probability": p, "accuracy": a} for p, a in ((0.25, 0.3), (0.5, 0.4), (0.95, 0.9))]
    own = {"reliability": rows, "calibration_error": 0.0123}
    own["uncalibrated"] = {"reliability": rows[1:], "calibration_error": 0.2}
    kept = {"fitted_on": "fit", "judged_on": "held", "temperature": {"a": 1.5, "b": 2}}
    kept["heads"] = {"classes": own}
    (run / "calibration.json").write_text(json.dumps(kept))
    return report.page(read_run(run))


def in_stages(folder: Path) -> Markup | None:
    """Three; the last starts from a file of each stream, and is not evaluated yet."""
    losses, done = (1.0,) * 4, [{"event": "end", "reason": "done"}]
    write_run(folder, [], {}, net="fcn8s")
    for number, (name, ius, iu) in enumerate(
        (("coarse", {2: 0.25, 4: 0.375}, 0.4), ("finer", {4: 0.55}, 0.525), ("last", {1: 0.5}, 0)),
        start=1,
    ):
        scores = scores_of(iu, CLASSES, COUNTS) if iu else {}
        start = "vgg16.caffemodel"
        if number == 3:
            start = "colour=stages/2-finer/weights/last.safetensors,depth=hha.pth"
        place, events = folder / f"{number}-{name}", journal(losses, ius, 1800.0)
        recipe = {"net": f"fcn{32 >> number}s", "weights": start if number > 1 else None}
        recipe["optim"] = {"lr": 10.0**-number} if number > 1 else {}
        write_run(place, events + (done if iu else []), scores, **recipe)
    return report.stages.section(read_run(folder))


def several_runs(folder: Path) -> str:
    places = []
    for name, scale, ius in (("first", 1.0, {2: 0.2, 5: 0.4}), ("second", 0.75, {5: 0.5, 6: 0.3})):
        classes = CLASSES[:2] if name == "first" else [CLASSES[1], CLASSES[3]]
        own = scores_of(0.4 * scale, classes, COUNTS[:2, :2])
        events = journal([scale * loss for loss in LOSSES], ius, 10.0 * scale)
        done = [{"event": "end", "reason": "done"}] if name == "first" else []
        recipe = {"net": "fcn8s", "optim": {"lr": 0.1 * scale}}
        places.append(write_run(folder / name, events + done, own, **recipe))
    return runs.page(places)


# -- other pages ---------------------------------------------------------------------------------
def comparison_page(folder: Path) -> str:
    samples = [picture(i) for i in range(4)]
    colours = {"red": (200, 0, 0), LONG: (0, 200, 0), "blue & <b>": (0, 0, 200), "no": (9, 9, 9)}
    dataset: DataSet = open_dataset(canonical_set(folder / "set", {"val": samples}, colours))
    systems = []
    for wrong in (1, 9):
        guesses = [np.where(np.arange(t.shape[1]) % 16 < wrong, 0, t) for _, t in samples]
        pairs = [Pair(str(i), samples[i][1], g.astype(np.uint8)) for i, g in enumerate(guesses)]
        systems.append(evaluate(pairs, dataset.classes))
    both = Comparison(("good", "poor"), tuple(systems))
    return comparison.page(both, {"Worst pictures": []}, dataset, "val")


def bench(folder: Path) -> str:
    about = {"machine": "a machine", "threads": 2, "date": "2026-11-27", "others_cpu": 0.25}
    about |= {"net": "fcn8s", "size": "500x500", "missing": {"int8": "no <kernels>"}}
    common = {"quartiles": [40.4, 60.6], "differ": 1234}
    ways = (("fp32", 50.4, 1.0, 1.7e-6, 420), ("modules", 201.6, 4.0, 0.0, None))
    keys = ("way", "ms", "times_first", "error", "peak_mb")
    rows = [dict(zip(keys, way, strict=True)) | common | {"of_ceiling": 0.5} for way in ways]
    labels = {"benchmark": "labels", "rows": rows, "gflop": 17.3, "ceiling_gflops": 175}
    labels |= {"paper_ms_on_k40": 210, "paper_of_ceiling": 0.375}
    grown = [
        {
            "way": way,
            "pixels": 4.0**power,
            "ms": scale * 3.0**power,
            "peak_mb": round(scale * (1 + power)),
        }
        for power in (-1, 0, 1)
        for way, scale in (("fp32", 64.0), ("modules", 300.0))
    ]
    made = [labels, {"benchmark": "pixels", "rows": grown}, {"benchmark": "threads", "rows": []}]
    write_bench(folder / "bench.html", [about | document for document in made])
    return (folder / "bench.html").read_text("utf-8")


def search(folder: Path) -> str:
    trials = [(1e-4, 2.0), (1e-3, 1.5), (1e-2, 0.75), (1e-1, 1.75), (1.0, None)]
    found = {"trials": [{"lr": lr, "loss": loss} for lr, loss in trials], "steps": 20}
    rates.write_rates(folder / "r.html", "x", {**found, "unmoved": 1.9, "proposal": 0.012})
    return (folder / "r.html").read_text("utf-8")


def line_plot(_: Path) -> Markup:
    """Beyond every end of the axes, with a word at the upper left."""
    lines = [
        Line("raw", [0, 5_000, 12_000], [-1, 3, 1], "raw"),
        Line("<b>", [0, 6_000, 14_000], [0.25, 1.5, 2.5], "main"),
    ]
    across, up = Axis((0.0, 12_000.0), "steps"), Axis((0.0, 2.0), text="{:.2f}".format)
    return plot("a & b", lines, across, up, (3_000.0, 1.9, "best"))


DRAWINGS: dict[str, Callable[[Path], str | None]] = {
    "bench.html": bench,
    "comparison.html": comparison_page,
    "confusions.html": lambda _: section(COUNTS, CLASSES, "a head", "/p?name=x"),
    "learning.html": learning,
    "matrix.svg": lambda _: heat_map(np.array([[3, 1], [0, 4]]), ["a", "b"]),
    "one_run.html": one_run,
    "plot.svg": line_plot,
    "rates.html": search,
    "several_runs.html": several_runs,
    "spark.svg": lambda _: sparkline([0.25, None, 1.0, 0.5], "IU of <a>"),
    "stages.html": in_stages,
}


def by_lines(text: str) -> str:
    """A tag a line; of a whole page its body, of whatever version."""
    body = re.sub(r".*<body>|</body>.*", "", text, flags=re.DOTALL)
    lines = re.sub(r"\n*(?=<(?!/))", "\n", body.replace(f"pixelwise {__version__}", "pixelwise"))
    return lines.strip() + "\n"


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_drawing_is_the_approved_one(name: str, tmp_path: Path) -> None:
    assert by_lines(DRAWINGS[name](tmp_path) or "") == (APPROVED / name).read_text("utf-8")


def test_no_approved_drawing_is_left_over() -> None:
    assert sorted(path.name for path in APPROVED.iterdir()) == sorted(DRAWINGS)


def approve(place: Path) -> None:
    """The drawings as they are now; in ``place`` with a page's style around them."""
    APPROVED.mkdir(parents=True, exist_ok=True)
    place.mkdir(parents=True, exist_ok=True)
    for name in DRAWINGS:
        with TemporaryDirectory() as folder:
            made = DRAWINGS[name](Path(folder)) or ""
        (APPROVED / name).write_text(by_lines(made), "utf-8")
        if "<body>" in made:
            page = made
        else:
            facts: dict = {"title": name, "facts": "", "links": [], "warnings": [], "notes": []}
            page = render("report.html", **facts, sections=[Markup(made)])
        (place / name).with_suffix(".html").write_text(page, "utf-8")


if __name__ == "__main__":
    approve(Path(sys.argv[1]))
