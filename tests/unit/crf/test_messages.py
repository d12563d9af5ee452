from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from pixelwise.crf.messages import Messages, smoothing


@pytest.mark.parametrize(("deviation", "near"), [(0.4, 1e-5), (1.9, 0.01), (2, 0.02), (7.5, 0.02)])
def test_the_steps_of_a_smoothing_are_a_gaussian_together(deviation: float, near: float) -> None:
    length = 40
    apart = (np.arange(length)[:, None] - np.arange(length)) / deviation
    kernel = np.exp(-0.5 * apart**2)
    norm = kernel.sum(1) ** -0.5
    steps = smoothing(length, deviation, 3, 5)
    assert len(steps) == (2 if deviation >= 2 else 1)
    made = reduce(lambda a, b: b @ a, steps)
    assert np.abs(made - 5 * kernel * norm * norm[:, None]).max() < near * made.max()
    assert np.allclose(made, made.T, atol=1e-6)


def test_exact_smoothing_has_no_cells_and_one_of_no_weight_no_numbers() -> None:
    (kernel,) = smoothing(30, 5, np.inf, 1)
    assert kernel[0, -1] > 0
    assert smoothing(30, 5, 3, 0)[0].shape == (30, 0)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("deviations", [(1, 1), (3, 2)])
def test_a_sweep_is_what_its_matrices_say(full: bool, deviations: tuple[float, float]) -> None:
    rng, height, width, padded = np.random.default_rng(0), 9, 13, 16
    down, across = (smoothing(n, d, 3, 2) for n, d in zip((height, width), deviations, strict=True))
    messages = Messages([], down, across, padded)
    own = rng.normal(0, 2, (height * width, padded)).astype(np.float32)
    costs = rng.random((5, padded)).astype(np.float32)
    start = np.zeros(padded, np.float32) if full else own
    update = messages.sweep(start, own, costs if full else None)

    def soft(scores: np.ndarray) -> np.ndarray:
        powers = np.exp(scores - scores.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    silent = update(0, 0, height, True)
    assert np.allclose(silent, soft(own), atol=1e-6)
    messages.pass_on(lambda count, work, _: work(0, count))
    vertical, level = (reduce(lambda a, b: b @ a, steps) for steps in (down, across))
    heard = np.einsum("ab,cd,bdk->ack", vertical, level, soft(own).reshape(height, width, -1))
    heard = heard.reshape(own.shape)
    true = soft(own + heard[:, :5] @ costs if full else own + heard)
    assert np.allclose(update(0, 0, 5, True), true[: 5 * width], atol=1e-5)
    assert np.allclose(update(1, 5, height, True), true[5 * width :], atol=1e-5)
