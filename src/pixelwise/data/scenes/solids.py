"""What a ray can hit: planes, turned boxes, balls, upright cylinders. World: x right, y down, z on.

Each solid answers with the depth of the nearest hit, the surface normal there, and two coordinates
on the surface in metres, in which textures are drawn. Rays begin at the origin and are scaled so
that depth is distance along the camera's axis, not along the ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Point = tuple[float, float, float]
P = ParamSpec("P")
NEAR = 0.05  # metres; nothing nearer is seen


@dataclass(frozen=True)
class Hits:
    """Where rays meet a solid; only the depth says something where they miss it."""

    depth: Floats
    """(N,) metres along the camera's axis; infinite where the ray misses."""
    normal: Floats
    """(N, 3) unit, towards the ray's origin side or not; the shading does not mind."""
    u: Floats
    """(N,) metres along the surface."""
    v: Floats
    """(N,) metres along the surface, downwards on upright ones."""


Solid = Callable[[Floats], Hits]
"""(N, 3) rays to where they meet it."""


def solid(hit: Callable[Concatenate[Floats, P], Hits]) -> Callable[P, Solid]:
    """``hit`` called with its measures alone is a solid, which waits for rays."""

    def measured(*measures: P.args, **named: P.kwargs) -> Solid:
        return lambda rays: hit(rays, *measures, **named)

    return measured


@solid
def plane(rays: Floats, y: float) -> Hits:
    """An endless level plane at height ``y``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = y / rays[:, 1]
        depth = np.where(depth > NEAR, depth, np.inf)
        at = _reached(depth, rays)
    normal = np.broadcast_to(np.array([0.0, -np.sign(y), 0.0]), rays.shape)
    return Hits(depth, normal, at[:, 0], at[:, 2])


@solid
def box(rays: Floats, centre: Point, size: Point, turn: float = 0.0, inside: bool = False) -> Hits:
    """A box turned about the vertical by radians, seen from outside, or from inside as a room."""
    c, s = np.cos(turn), np.sin(turn)
    frame = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # world to the box's own axes
    direction, origin = rays @ frame.T, frame @ -np.asarray(centre)
    half = np.asarray(size) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (-half - origin) / direction, (half - origin) / direction
    # A ray is inside while it is between all three pairs of faces.
    enter, leave = np.fmin(first, second), np.fmax(first, second)
    near, far = enter.max(axis=1), leave.min(axis=1)
    depth = far if inside else near
    depth = np.where((far >= near) & (depth > NEAR), depth, np.inf)
    axis = leave.argmin(axis=1) if inside else enter.argmax(axis=1)
    rows = np.arange(len(rays))
    own = np.zeros_like(rays)
    own[rows, axis] = -np.sign(direction[rows, axis])
    at = origin + _reached(depth, direction)
    across = np.where(axis == 0, at[:, 2], at[:, 0])
    down = np.where(axis == 1, at[:, 2], at[:, 1] + half[1])
    return Hits(depth, own @ frame, across, down)


@solid
def ball(rays: Floats, centre: Point, radius: float, stretch: float = 1.0) -> Hits:
    """A sphere, or an ellipsoid of revolution ``stretch`` times as high as wide."""
    squash = np.array([1.0, 1.0 / stretch, 1.0])
    depth, at = _round(rays * squash, np.asarray(centre) * squash, radius)
    normal = at * squash
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    return Hits(depth, normal, np.arctan2(at[:, 0], -at[:, 2]) * radius, at[:, 1])


@solid
def post(rays: Floats, x: float, z: float, radius: float, top: float, bottom: float) -> Hits:
    """An upright cylinder without lids, from ``top`` down to ``bottom`` (y grows downwards)."""
    depth, at = _round(rays[:, [0, 2]], np.array([x, z]), radius)
    height = _reached(depth, rays)[:, 1]
    depth = np.where((height > top) & (height < bottom), depth, np.inf)
    normal = np.stack([at[:, 0], np.zeros(len(at)), at[:, 1]], axis=1) / radius
    return Hits(depth, normal, np.arctan2(at[:, 0], -at[:, 1]) * radius, height - top)


def _round(direction: Floats, centre: Floats, radius: float) -> tuple[Floats, Floats]:
    """The nearer root of |depth * direction - centre| = radius, and the place from the centre."""
    a, b = (direction * direction).sum(1), direction @ centre
    root = b * b - a * (centre @ centre - radius**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = (b - np.sqrt(root)) / a
    depth = np.where((root > 0) & (depth > NEAR), depth, np.inf)
    return depth, _reached(depth, direction) - centre


def _reached(depth: Floats, direction: Floats) -> Floats:
    """(N, 3) where the rays end; the origin where they miss."""
    at: Floats = np.where(np.isfinite(depth), depth, 0)[:, None] * direction
    return at
