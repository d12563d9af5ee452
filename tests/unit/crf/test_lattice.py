from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brute_force import picture
from pixelwise.crf import lattice
from pixelwise.crf.mean_field import each
from pixelwise.crf.messages import Messages, smoothing


def placed(points: NDArray[np.float32]) -> tuple[int, NDArray[np.int32], NDArray[np.float32]]:
    sides = points.shape[1] + 1
    factors = lattice.FACTORS[: sides - 1]
    factors = np.append(factors, ~factors.sum() + np.uint64(1))
    table, size = lattice._table(points.size * 2), len(points) * sides
    corners, shares = np.empty((len(points), sides), np.int32), np.empty((len(points), sides))
    shares, sums = shares.astype(np.float32), np.zeros(size, np.float32)
    known = np.empty(size, np.uint64)
    count = lattice.place_pixels(points, factors, table, known, sums, corners, shares)
    assert np.allclose(
        sums[:count], np.bincount(corners.reshape(-1), shares.reshape(-1)), atol=1e-5
    )
    return count, corners, shares


def test_corners_of_a_simplex_hold_a_pixel_as_barycentric_coordinates_do() -> None:
    points = np.random.default_rng(0).normal(0, 30, (50, 4)).astype(np.float32)
    count, corners, shares = placed(points)
    assert np.abs(shares.sum(1) - 1).max() < 1e-5
    assert shares.min() > -1e-5
    assert all(len(set(row)) == 5 for row in corners.tolist())
    assert set(corners.ravel().tolist()) == set(range(count))


def test_a_step_along_a_simplex_s_edge_changes_shares_as_straight_lines_do() -> None:
    a, b = np.array([[0.3, 0.2], [0.5, 0.3]], np.float32)
    _, corners, shares = placed(np.stack([a, (a + b) / 2, b]))
    assert (corners == corners[0]).all()
    assert np.allclose(shares[1], (shares[0] + shares[2]) / 2, atol=1e-6)


def test_who_is_beside_a_corner_has_it_beside_itself_on_the_other_side() -> None:
    built = lattice.build(picture(20, 31), 5, 10, 1, [0, 7, 20], each)
    assert len(built.blurs) == 6
    for blur in built.blurs:
        own, after, before = blur.columns.reshape(-1, 3).T
        assert np.array_equal(own, np.arange(len(own)))
        assert np.count_nonzero(after) > 20
        there = np.flatnonzero(after)
        assert np.array_equal(before[after[there]], there)


def test_parts_of_a_picture_know_the_same_corners_as_the_whole() -> None:
    image = picture(20, 31)
    one, many = (lattice.build(image, 5, 10, 2, rows, each) for rows in ([0, 20], [0, 3, 4, 20]))
    assert len(one.gather.starts) == len(many.gather.starts)
    assert len(many.edges) == 4
    assert many.edges[-1] > one.edges[-1]
    assert np.allclose(one.shares, many.shares, rtol=1e-5)


def test_the_lattice_s_kernel_is_near_a_gaussian() -> None:
    # One pixel speaks; what others hear of it falls off with the distance.
    built = lattice.build(np.zeros((41, 41, 1)), 6, 0, 1, [0, 20, 41], each)
    silent = smoothing(41, 3, 3, 0)
    messages = Messages([built], silent, silent, 8)
    centre = 20 * 41 + 20
    messages.said[built.corners[centre]] = built.shares[centre][:, None]
    messages.pass_on(lambda count, work, _: work(0, count))
    heard = (built.shares * messages.heard[built.corners, 0]).sum(1)
    y, x = np.mgrid[-20:21, -20:21]
    true = np.exp(-0.5 * (x**2 + y**2) / 36).ravel()
    assert np.abs(heard / heard.max() - true).max() < 0.15
    assert np.corrcoef(heard, true)[0, 1] > 0.98
