from __future__ import annotations

import numpy as np

from pixelwise.crf.sweeps import LANES, Matrix


def test_products_are_those_of_the_full_matrix() -> None:
    rng = np.random.default_rng(0)
    full = rng.random((5, 6)).astype(np.float32) * (rng.random((5, 6)) < 0.4)
    starts = np.append(0, np.count_nonzero(full, 1).cumsum())
    matrix = Matrix(starts, np.nonzero(full)[1].astype(np.int32), full[full > 0])
    values, before = (rng.random((6, LANES)).astype(np.float32) for _ in range(2))
    out = np.zeros((5, LANES), np.float32)
    matrix.times(values, out)(0, 5)
    assert np.allclose(out, full @ values, rtol=1e-6)
    matrix.times(values, out, before)(1, 3)
    assert np.allclose(out[1:3], before[1:3] + full[1:3] @ values, rtol=1e-6)


def test_products_go_along_rows_and_columns_of_a_picture() -> None:
    rng, shape = np.random.default_rng(0), (4, 3)
    values = rng.random((12, LANES)).astype(np.float32)
    picture = values.reshape(*shape, LANES)
    for length, axis in ((3, 1), (4, 0)):
        full = rng.random((length, length)).astype(np.float32)
        columns = np.tile(np.arange(length, dtype=np.int32), length)
        matrix = Matrix(np.arange(0, length**2 + 1, length), columns, full.reshape(-1))
        rows = {"row_outer": 0, "row_inner": 1, "at_outer": 3} if axis else {}
        places = rows or {"at_inner": 1, "stride": 3}
        out = np.zeros_like(values)
        matrix.times(values, out, inner=3, **places)(0, 4)
        true = np.moveaxis(np.tensordot(full, picture, (1, axis)), 0, axis)
        assert np.allclose(out.reshape(*shape, LANES), true, rtol=1e-6)
