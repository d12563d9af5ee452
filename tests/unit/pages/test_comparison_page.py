"""The page of several systems shows what each made of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from make_data import canonical_set, picture
from page_tree import page_tree, pixels
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.evaluation.comparison import Comparison
from pixelwise.evaluation.evaluate import Pair, evaluate
from pixelwise.pages import comparison
from pixelwise.pictures.images import resize

PALETTE = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


@pytest.fixture
def systems(tmp_path: Path) -> tuple[Comparison, dict, comparison.DataSet]:
    """Three pictures, two systems; the second errs more, most of all in the last picture."""
    samples = [picture(i, (40, 600)) for i in range(3)]
    classes = dict(zip(("a", "b", "c"), PALETTE, strict=True))
    dataset = open_dataset(canonical_set(tmp_path / "d", {"val": samples}, classes))
    guesses, made = {}, []
    for system, wrong in (("one", (1, 2, 3)), ("two", (2, 4, 30))):
        pairs = []
        for i, ((_, truth), columns) in enumerate(zip(samples, wrong, strict=True)):
            guess = truth.copy()
            guess[:, : 10 * columns] = 0
            guesses[system, f"val{i}"] = guess
            pairs.append(Pair(f"val{i}", truth, guess))
        made.append(evaluate(pairs, ("a", "b", "c")))
    return Comparison(("one", "two"), tuple(made)), guesses, dataset


def test_strips_show_the_picture_what_each_made_of_it_and_the_truth(systems) -> None:
    both, guesses, dataset = systems
    made = comparison.strips(both, dataset, "val", lambda *key: guesses[key], each=1)
    assert list(made) == ["Worst pictures", "Best pictures", "Where the systems part most"]
    assert [[s.image.name for s in strips] for strips in made.values()] == [
        *(["val2"], ["val0"], ["val1"])
    ]
    (strip,) = made["Worst pictures"]
    one, two = strip.image.mean_ius
    assert strip.words == ("picture", f"one {100 * one:.1f} %", f"two {100 * two:.1f} %", "truth")
    image, truth = picture(2, (40, 600))
    assert (strip.pictures[0] == image).all()
    for painted, labels in zip(
        strip.pictures[1:], (guesses["one", "val2"], guesses["two", "val2"], truth), strict=True
    ):
        assert (painted == np.array(PALETTE)[labels]).all()
    page = page_tree(comparison.page(both, made, dataset, "val"))
    rows = page.all("figure")
    words = f"val2 mean IU {50 * (one + two):.1f} %, from worst to best {100 * (one - two):.1f} %"
    assert rows[0].all("figcaption")[0].text == words
    shown = [pixels(i) for i in rows[0].all("img")]
    assert {s.shape for s in shown} == {(32, 480, 3)}
    assert [i.attributes["src"][11:15] for i in rows[0].all("img")] == ["jpeg", *["png;"] * 3]
    small = [resize(p, (32, 480), method="nearest") for p in strip.pictures]
    assert all((s == p).all() for s, p in zip(shown[1:], small[1:], strict=True))


def test_four_strips_of_each_kind_at_most(systems) -> None:
    both, guesses, dataset = systems
    asked = comparison.strips(both, dataset, "val", lambda *key: guesses[key])
    assert [len(strips) for strips in asked.values()] == [2, 1]
    assert comparison.EACH == 4
