from __future__ import annotations

import numpy as np

from pixelwise.crf.sweeps import LANES, Matrix, sparse


def test_products_are_those_of_the_full_matrix() -> None:
    rng = np.random.default_rng(0)
    full = rng.random((5, 6)).astype(np.float32) * (rng.random((5, 6)) < 0.4)
    for inner in (1, 3):
        values = rng.random((6 * inner, LANES)).astype(np.float32)
        out = np.zeros((5 * inner, LANES), np.float32)
        sparse(full).times(values, out, inner)(1, 5)
        true = np.tensordot(full, values.reshape(6, inner, LANES), 1).reshape(out.shape)
        assert np.allclose(out[inner:], true[inner:], rtol=1e-6)
        assert not out[:inner].any()


def test_rows_of_as_many_entries_give_the_same() -> None:
    rng = np.random.default_rng(0)
    columns, factors = rng.integers(0, 9, 21).astype(np.int32), rng.random(21).astype(np.float32)
    even, values = Matrix.even(columns, factors, 3), rng.random((9, 2 * LANES)).astype(np.float32)
    made = np.zeros((2, 7, 2 * LANES), np.float32)
    even.times(values, made[0])(0, 7)
    even._replace(entries=0).times(values, made[1])(0, 7)
    true = (factors[:, None] * values[columns]).reshape(7, 3, -1).sum(1)
    assert np.allclose(made, true, rtol=1e-6)
