from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from brute_force import beliefs
from pixelwise.crf.grid import GridMrf, energy, expanded, pairs_of, relabel
from pixelwise.errors import DataError, ResourceError


def everything(
    costs: np.ndarray, image: np.ndarray, mrf: GridMrf
) -> tuple[float, list[tuple[float, np.ndarray]]]:
    """The least energy of all label maps, each summed up pair by pair."""
    labels, height, width = costs.shape
    pixels = list(itertools.product(range(height), range(width)))
    made = []
    for chosen in itertools.product(range(labels), repeat=height * width):
        guess = np.array(chosen).reshape(height, width)
        total = sum(costs[guess[p], p[0], p[1]] for p in pixels)
        for p, q in itertools.combinations(pixels, 2):
            down, right = p[0] - q[0], p[1] - q[1]
            if max(abs(down), abs(right)) > 1 or guess[p] == guess[q]:
                continue
            apart = ((image[p].astype(float) - image[q]) ** 2).sum()
            alike = np.exp(-apart / (2 * mrf.appearance_rgb**2))
            total += (mrf.appearance * alike + mrf.smoothness) / np.hypot(down, right)
        made.append((float(total), guess))
    return min(total for total, _ in made), made


def case(labels: int, size: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray, GridMrf]:
    rng = np.random.default_rng(seed)
    costs = rng.random((labels, *size)) * 3
    return costs, rng.integers(0, 40, (*size, 3)), GridMrf(appearance=1.0, smoothness=0.2)


def test_energy_is_the_sum_of_single_costs_and_of_unlike_neighbours() -> None:
    costs, image, mrf = case(3, (2, 3), 0)
    pairs = [*pairs_of(image, mrf)]
    for total, guess in everything(costs, image, mrf)[1][::7]:
        assert energy(guess, costs, pairs) == pytest.approx(total)


@pytest.mark.parametrize("seed", range(4))
def test_two_labels_are_cut_exactly(seed: int) -> None:
    pytest.importorskip("maxflow", reason="PyMaxflow is not installed")
    costs, image, mrf = case(2, (3, 4), seed)
    made = expanded(costs, image, mrf)
    assert energy(made, costs, [*pairs_of(image, mrf)]) == pytest.approx(
        everything(costs, image, mrf)[0]
    )
    assert not np.array_equal(made, costs.argmin(0))


@pytest.mark.parametrize("seed", range(3))
def test_three_labels_are_within_what_expansions_promise(seed: int) -> None:
    pytest.importorskip("maxflow", reason="PyMaxflow is not installed")
    costs, image, mrf = case(3, (2, 4), seed)
    made, pairs = expanded(costs, image, mrf), [*pairs_of(image, mrf)]
    least = everything(costs, image, mrf)[0]
    assert least - 1e-9 <= energy(made, costs, pairs) <= 1.05 * least
    assert energy(made, costs, pairs) < energy(costs.argmin(0), costs, pairs)


def test_scores_and_probabilities_give_the_same_map_and_are_checked() -> None:
    pytest.importorskip("maxflow", reason="PyMaxflow is not installed")
    p, image = beliefs(4, 12, 10), np.zeros((12, 10, 3), np.uint8)
    made = relabel(p, image)
    assert np.array_equal(made, relabel(np.log(p) + 7, image))
    assert len(np.unique(made)) < 4
    assert np.array_equal(relabel(p, image, GridMrf(appearance=0, smoothness=0)), p.argmax(0))
    with pytest.raises(DataError, match="scores are 12x10 but the picture is 10x12"):
        relabel(p, image.transpose(1, 0, 2))


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maxflow", None)
    with pytest.raises(ResourceError, match="PyMaxflow is not installed") as caught:
        relabel(beliefs(2, 4, 4), np.zeros((4, 4, 3), np.uint8))
    assert caught.value.hint == "pip install 'pixelwise[mrf]'"
