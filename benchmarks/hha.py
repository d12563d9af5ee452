"""Seconds for the HHA picture of one 480x640 depth picture.

    OMP_NUM_THREADS=1 python benchmarks/hha.py [--rounds 5] [--json]

Against the way of the published Python port (Depth2HHA-python): moments of X/Z and Y/Z summed by
``scipy.signal.convolve2d``, and an arc cosine for each pixel in a loop. Gravity and rounding, which
both ways share, are ours in both. The picture is a made room, without holes: with them the port's
way gives rounding noise where a window holds no plane.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.signal import convolve2d

from pixelwise.data.hha import COARSE, FINE, Measures, gravity, hha, nyud_camera, rotated_y
from pixelwise.data.scenes.compose import scene
from pixelwise.workflows.bench.timing import cpu_times, interleaved, surroundings, tell

SIZE = (480, 640)
CAMERA = nyud_camera(SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    depth = np.maximum(scene(0, 0, SIZE).depth, 500)
    ways = {"pixelwise": lambda: hha(depth), "the port's way": lambda: by_convolution(depth)}
    made = [way() for way in ways.values()]
    apart = np.abs(made[0].astype(int) - made[1])
    assert apart.max() <= 1, f"the two ways differ by {apart.max()}"  # halves are rounded
    before = cpu_times()
    spent = interleaved({name: timed(way) for name, way in ways.items()}, options.rounds)
    facts = surroundings("hha", before)
    ours = float(np.median(spent["pixelwise"]))
    rows = [
        {"way": name, "seconds": float(np.median(s)), "times_ours": float(np.median(s)) / ours}
        for name, s in spent.items()
    ]
    if options.json:
        json.dump({**facts, "rows": rows}, sys.stdout, indent=1)
        return
    tell(facts)
    for row in rows:
        print(f"{row['way']:16} {row['seconds']:7.3f} s {row['times_ours']:6.1f}x")


def timed(way: Callable[[], np.ndarray]) -> Callable[[], float]:
    def once() -> float:
        began = time.process_time()  # of this process: one thread, whatever the others do
        way()
        return time.process_time() - began

    return once


def by_convolution(depth: np.ndarray) -> np.ndarray:
    z = depth * 0.1
    v, u = np.mgrid[1.0 : SIZE[0] + 1, 1.0 : SIZE[1] + 1]
    points = np.stack([(u - CAMERA.cx) * z / CAMERA.fx, (v - CAMERA.cy) * z / CAMERA.fy, z])
    down = gravity(planes(points, COARSE))
    fine = planes(points, FINE)
    cosine = np.tensordot(down, fine, 1).clip(-1, 1)
    angle = np.array([math.degrees(math.acos(c)) for c in cosine.flatten()]).reshape(SIZE)
    height = -np.tensordot(rotated_y(down), points, 1)
    lowest = height.min()
    return Measures(z, height - (lowest if lowest <= -90 else -130), angle, down).bands()


def planes(points: np.ndarray, radius: int) -> np.ndarray:
    x, y, z = points
    a, b, one = x / z, y / z, np.ones_like(z)
    window = np.ones((2 * radius + 1,) * 2)
    moments = [
        convolve2d(m, window, mode="same")
        for m in (a * a, a * b, a, b * b, b, one, a / z, b / z, 1 / z)
    ]
    aa, ab, a1, bb, b1, n, ai, bi, i = moments
    field = np.stack(
        [
            (bb * n - b1 * b1) * ai + (a1 * b1 - ab * n) * bi + (ab * b1 - a1 * bb) * i,
            (a1 * b1 - ab * n) * ai + (aa * n - a1 * a1) * bi + (ab * a1 - aa * b1) * i,
            (ab * b1 - a1 * bb) * ai + (ab * a1 - aa * b1) * bi + (aa * bb - ab * ab) * i,
        ]
    )
    field /= np.sqrt((field * field).sum(0))
    field *= np.where(field[2] < 0, -1, 1)
    return field * np.where((field * points).sum(0) < 0, -1, 1)


if __name__ == "__main__":
    main()
