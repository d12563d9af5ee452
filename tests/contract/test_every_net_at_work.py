"""Every net of the catalogue at work: commands, exported files and training, by one table.

The checks are made as those of `test_every_net.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pixelwise as pw
from every_net import (
    EVERY_DAY,
    PHOTOS,
    TRAINED,
    Case,
    Cases,
    Check,
    close,
    make,
    of_the_table,
    said,
)
from narrow_nets import (
    CLASSIFIERS,
    DISTINCT,
    picture,
    width,
)
from pixelwise.engine.build import build
from pixelwise.errors import Stopped, UsageError
from pixelwise.training import loop
from pixelwise.training.state import generations
from small_runs import events, stop_after


# -- commands -------------------------------------------------------------------------------------
def a_folder_is_labelled_and_drawn(c: Case, made: Path) -> None:
    (made / "in").mkdir()
    for i in range(2):
        Image.fromarray(c.pixels(i)).save(made / f"in/{i}.png")
    save = "labels,overlay,scores,heatmaps" + ("" if c.classifies else ",polygons")
    words = ("predict", c.file, made / "in", "-o", made / "out", "--save", save, "--device", "cpu")
    told = said(*words)
    assert (told["made"], told["failures"]) == (2, [])
    for i in range(2):
        guess = c.model.predict(made / f"in/{i}.png", probabilities=True)
        out = made / "out"
        stored = np.array(Image.open(out / f"{i}.png"))
        assert stored.shape == c.pixels().shape[:2]
        assert c.classifies or np.array_equal(stored, guess.labels)
        kept = np.load(out / f"{i}_scores.npz")["probabilities"]
        np.testing.assert_allclose(kept, guess.probabilities, atol=2e-3)  # half precision
        drawn = [out / f"{i}_overlay.jpg", *out.glob(f"**/{i}_heat/*.png")]
        assert len(drawn) == 4  # of the three largest classes
        assert all(np.array(Image.open(path)).std() > 0 for path in drawn)
    assert said(*words)["skipped"] == 2


def its_scores_are_those_counted_by_hand(c: Case, made: Path) -> None:
    """`evaluate`, and `score` of the label maps that it kept."""
    told = said("evaluate", c.file, c.data, "--save", made / "kept", "--device", "cpu")
    counts = np.zeros((5, 5), int)
    (made / "truth").mkdir()
    for i in range(3):
        image, truth = c.labelled(4 + i)
        guess, known = c.model.predict(image).labels, truth != 255
        np.add.at(counts, (truth[known], guess[known]), 1)
        Image.fromarray(truth).save(made / f"truth/val{i}.png")
    assert told["confusion"] == counts.tolist()
    hits, union = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
    assert told["mean_iu"] == pytest.approx((hits / np.maximum(union, 1))[:3].mean())
    scored = said("score", made / "kept", made / "truth", "--classes", 5)
    assert scored["confusion"] == counts.tolist()


def an_onnx_file_labels_alike(c: Case, made: Path) -> None:
    pytest.importorskip("onnxruntime")
    said("export", c.file, "-o", made / "net.onnx")
    ours, theirs = c.model, pw.load(made / "net.onnx", device="cpu")
    pixels = c.pixels()
    same = ours.predict(pixels).labels == theirs.predict(pixels).labels
    assert same.mean() > (0.98 if c.moves else 0.999)


def a_pt2_file_gives_the_same_scores(c: Case, made: Path) -> None:
    height, across = c.size
    said("export", c.file, "-o", made / "net.pt2", "--size", f"{height}x{across}")
    program = torch.export.load(made / "net.pt2").module()
    x = picture(c.name, 1, height, across)
    with torch.no_grad():
        made_maps, wanted = program(x), c.network(x)
    wanted = [*wanted.values()] if isinstance(wanted, dict) else [wanted]
    made_maps = [made_maps] if isinstance(made_maps, torch.Tensor) else [*made_maps]
    assert all(close(a, b, c) for a, b in zip(made_maps, wanted, strict=True))


# -- training -------------------------------------------------------------------------------------
def two_steps_change_it_and_are_finite(c: Case) -> None:
    ends = [load_file(p) for p in generations(c.run)]
    losses = [e["loss"] for e in events(c.run, "step")]
    assert losses
    assert np.isfinite(losses).all()
    trained = {n.removeprefix("net."): t for n, t in ends[-1].items() if n.startswith("net.")}
    model = pw.load(c.run, device="cpu")
    fresh = build(c.name, **{**dict(model.header.options), "width": width(c.name)})
    assert trained.keys() >= dict(fresh.named_parameters()).keys()
    assert all(t.isfinite().all() for t in trained.values())
    assert model.classes == tuple(f"class {i}" for i in range(5))


def stopped_and_resumed_it_ends_in_the_same_bits(c: Case, made: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stopped):
            loop.train(c.recipe, made / "run")
    loop.train(c.recipe, made / "run", resume=True)
    one, two = (load_file(generations(run)[-1]) for run in (c.run, made / "run"))
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


def a_run_is_judged_as_it_judged_itself(c: Case) -> None:
    stored = json.loads((c.run / "evaluation/scores.json").read_text())
    told = said("evaluate", c.run, c.data, "--device", "cpu")
    assert told["confusion"] == stored["confusion"]
    assert told["mean_iu"] == events(c.run, "validate")[-1]["mean_iu"]
    page = (c.run / "report.html").read_text("utf-8")
    assert c.name in page
    assert f">{100 * told['mean_iu']:.1f} %</p>" in page
    assert all(page.count(f'alt="guess of val{i}') == 1 for i in range(3))


def another_training_takes_all_of_its_weights(c: Case, made: Path) -> None:
    on = replace(c.recipe, weights=str(c.run), iterations=1, validate_every=0)
    loop.train(on, made / "on")
    (start,) = events(made / "on", "start")
    counts = start["weights"]["counts"]
    state = load_file(c.run / "weights/last.safetensors")
    assert counts["copied"] + counts["matched"] == len(state)
    assert sum(counts.values()) == len(state)


def a_classifier_is_not_trained(c: Case, made: Path) -> None:
    with pytest.raises(UsageError, match="classifier"):
        loop.train(replace(c.recipe, net=c.name), made / "run")
    assert not (made / "run").exists()


# -- the table ------------------------------------------------------------------------------------
TABLE = [
    Check(a_folder_is_labelled_and_drawn, [*PHOTOS, *CLASSIFIERS], EVERY_DAY),
    Check(its_scores_are_those_counted_by_hand, PHOTOS, EVERY_DAY),
    Check(an_onnx_file_labels_alike, DISTINCT, {"fcn8s-tiny", "unet-tiny"}),
    Check(a_pt2_file_gives_the_same_scores, DISTINCT, set()),
    Check(two_steps_change_it_and_are_finite, PHOTOS, TRAINED),
    Check(stopped_and_resumed_it_ends_in_the_same_bits, PHOTOS, TRAINED),
    Check(a_run_is_judged_as_it_judged_itself, PHOTOS, TRAINED),
    Check(another_training_takes_all_of_its_weights, PHOTOS, TRAINED),
    Check(a_classifier_is_not_trained, CLASSIFIERS, EVERY_DAY),
]


@pytest.mark.parametrize(("name", "holds"), of_the_table(TABLE))
def test_of_every_net(name: str, holds: Callable[..., None], cases: Cases, tmp_path: Path) -> None:
    make(cases[name], holds, tmp_path)
