"""The main job on the embedded data: make scenes, train, evaluate, predict, report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelwise import labels
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.preprocess import standard
from pixelwise.data.scenes.write import FEWEST, make_scenes
from pixelwise.engine.build import build
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import UsageError, hxw
from pixelwise.folders import REPORT
from pixelwise.machine.files import atomic_write, maker, write_json
from pixelwise.pages.report import page
from pixelwise.pages.run import read_run
from pixelwise.pictures import images
from pixelwise.predict import model
from pixelwise.predict.predictor import Predictor
from pixelwise.training.journal import ProgressReport, Watch
from pixelwise.training.loop import train
from pixelwise.training.recipe import Augmentation, Loss, Optim, Recipe, Schedule
from pixelwise.weights.checkpoint import Header

SIZE = (96, 128)
STEPS = 1200
"""They bring 74.5 % on the test scenes (seed 0, one thread)."""
MINUTES = 10.0
"""At most, for machines that are slow or busy: the rate still falls to its end by then."""
SHOWN = 6
"""Test scenes in the picture, in two columns."""
MARK, MAKER = "demo.json", "pixelwise demo"
SCENES, RUN, PREDICTIONS, PICTURE = "scenes", "run", "predictions", "picture.png"


@dataclass(frozen=True)
class Demo:
    """What the demo measured and made."""

    untrained: dict[str, float | None]
    """Scores on the test split before training (random trunk, random scores)."""
    trained: dict[str, float | None]
    """After it."""
    largest_class: dict[str, Any]
    """What the largest class alone would get there."""
    report: str
    picture: str
    run: str


def recipe(data: Path, *, steps: int, minutes: float, seed: int) -> Recipe:
    """How the demo trains: a narrow net with batch norm, from random weights."""
    return Recipe(
        data=str(data),
        net="fcn8s-tiny",
        seed=seed,
        iterations=steps,
        minutes=minutes,
        batch=8,
        augment=Augmentation(mirror=True, brightness=0.15, contrast=0.15),
        optim=Optim("adamw", lr=4e-3, weight_decay=1e-3),
        schedule=Schedule("cosine", warmup=20),
        loss=Loss(class_weights="sqrt"),
        ema=0.98,
    )


def run(
    out: Path,
    *,
    steps: int = STEPS,
    minutes: float = MINUTES,
    images: int,
    seed: int,
    watch: Watch,
    say: Callable[[str], None],
) -> Demo:
    """Do it all; what an earlier demo left in ``out`` is replaced.

    Raises:
        UsageError: U002 lengths that make no sense, U003 ``out`` holds something that is not a
            demo; an earlier demo is untouched then.
    """
    for fits, message, hint in (
        (steps > 0, f"--steps is {steps}, expected at least 1", f"--steps {STEPS}"),
        (minutes > 0, f"--minutes is {minutes:g}, expected more than 0", "--minutes 10"),
        (images >= FEWEST, f"--images is {images}, expected at least {FEWEST}", "--images 200"),
        (seed >= 0, f"--seed is {seed}, expected at least 0", "--seed 0"),
    ):
        if not fits:
            raise UsageError("U002", message, hint)
    plan = recipe(out / SCENES, steps=steps, minutes=minutes, seed=seed)
    _clear(out)
    say(f"making {images} scenes of {hxw(SIZE)} in {out / SCENES}")
    number = count(1)

    def made() -> None:
        watch(ProgressReport(done=next(number) / images, doing="making scenes"))

    make_scenes(out / SCENES, count=images, size=SIZE, seed=seed, watch=made)
    dataset = open_dataset(out / SCENES)
    untrained = _untrained(dataset, plan)
    say(f"training {plan.net} from random weights: {steps:,} steps, at most {minutes:g} minutes")
    best = train(plan, out / RUN, watch=watch)
    trained = model.load(best)
    evaluation = trained.evaluate(dataset, "test", keep=out / PREDICTIONS)
    scores, alone = evaluation.scores.as_dict(), evaluation.majority.as_dict()
    picture = _picture(trained, dataset, out / PICTURE)
    # The run's own page is about its validation scenes, which chose the weights.
    tested = {"split": "test", **evaluation.as_dict()}
    shown = replace(read_run(out / RUN, dataset), scores=tested, guesses=f"../{PREDICTIONS}")
    report = atomic_write(out / REPORT, page(shown))
    done = Demo(untrained, scores, alone, str(report), str(picture), str(out / RUN))
    write_json(out / MARK, {"made_by": MAKER, **asdict(done)})
    return done


def _clear(out: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    link = next((out / f for f in (SCENES, RUN, PREDICTIONS) if (out / f).is_symlink()), None)
    refusal = ""
    if out.exists() and not out.is_dir():
        refusal = f"{out} is a file, expected a folder"
    elif out.exists() and any(out.iterdir()) and maker(out / MARK) != MAKER:
        refusal = f"{out} is not empty and holds no demo"
    elif link:
        refusal = f"{link} is a link, and no demo's"
    if refusal:
        raise UsageError("U003", refusal, "choose another -o")
    write_json(out / MARK, {"made_by": MAKER, "state": "begun"})
    for folder in (SCENES, RUN, PREDICTIONS):
        if (out / folder).exists():
            shutil.rmtree(out / folder)
    for file in (PICTURE, REPORT):
        (out / file).unlink(missing_ok=True)


def _untrained(dataset: DataSet, plan: Recipe) -> dict[str, float | None]:
    """The same net with random weights everywhere: what chance gives."""
    options = {"classes": len(dataset.classes)}
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        net = build(plan.net, **options)
        torch.nn.init.normal_(net.get_parameter("score_fr.weight"))  # zero scores are all class 0
    header = Header(plan.net, options, dataset.classes, dataset.palette)
    predictor = Predictor(TorchRunner(net), standard((128.0,) * 3, (64.0,) * 3))
    untrained = model.Model(predictor, header, Path("untrained"))
    return untrained.evaluate(dataset, "test").scores.as_dict()


def _picture(trained: model.Model, dataset: DataSet, path: Path) -> Path:
    """Test scenes, what the net makes of them, and the truth, in columns with a legend."""
    palette, items = np.asarray(dataset.palette, np.uint8), dataset.items("test")
    words, rows, present = ("picture", "prediction", "truth"), [], set[int]()
    for place in np.linspace(0, len(items) - 1, SHOWN).round().astype(int):
        sample = dataset.read(items[place])
        guess = trained.predictor.labels(sample.image)
        present |= {*np.unique(guess).tolist(), *np.unique(sample.labels).tolist()} - {labels.VOID}
        parts = (sample.image, *(labels.colour(m, palette) for m in (guess, sample.labels)))
        large = [images.resize(p, (2 * SIZE[0], 2 * SIZE[1]), method="nearest") for p in parts]
        rows.append([np.pad(p, ((0, 8), (0, 0), (0, 0)), constant_values=255) for p in large])
    half = len(rows) // 2
    columns = [np.vstack(c) for part in (rows[:half], rows[half:]) for c in zip(*part, strict=True)]
    sheet = images.side_by_side(columns, 2 * words)
    shown = sorted(present)
    legend = images.draw_legend(sheet, [dataset.classes[i] for i in shown], palette[shown])
    return images.write_image(path, legend)
