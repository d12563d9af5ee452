"""What a ray can hit: planes, turned boxes, balls, upright cylinders. World: x right, y down, z on.

Each solid answers with the depth of the nearest hit, the surface normal there, and two coordinates
on the surface in metres, in which textures are drawn. Rays are scaled so that depth is distance
along the camera's axis, not along the ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NEAR = 0.05  # metres; nothing nearer is seen


@dataclass(frozen=True)
class Hits:
    """Where rays meet a solid."""

    depth: Floats
    """(N,) metres along the camera's axis; infinite where the ray misses."""
    normal: Floats
    """(N, 3) unit, towards the ray's origin side or not; the shading does not mind."""
    u: Floats
    """(N,) metres along the surface."""
    v: Floats
    """(N,) metres along the surface, downwards on upright ones."""


@dataclass(frozen=True)
class Plane:
    """An endless level plane at height ``y``."""

    y: float

    def hit(self, rays: Floats) -> Hits:
        """(N, 3) rays from the origin."""
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = self.y / rays[:, 1]
            depth = np.where(depth > NEAR, depth, np.inf)
            at = np.where(np.isfinite(depth), depth, 0)[:, None] * rays
        normal = np.broadcast_to(np.array([0.0, -np.sign(self.y), 0.0]), rays.shape)
        return Hits(depth, normal, at[:, 0], at[:, 2])


@dataclass(frozen=True)
class Box:
    """A box on axes turned about the vertical; seen from outside, or from inside as a room is."""

    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    turn: float = 0.0
    """Radians about the vertical axis."""
    inside: bool = False

    def hit(self, rays: Floats) -> Hits:
        """(N, 3) rays from the origin."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        frame = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # world to the box's own axes
        direction, origin = rays @ frame.T, frame @ -np.asarray(self.centre)
        half = np.asarray(self.size) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second = (-half - origin) / direction, (half - origin) / direction
        enter, leave = np.fmin(first, second), np.fmax(first, second)
        near, far = enter.max(axis=1), leave.min(axis=1)
        depth = far if self.inside else near
        seen = (far >= near) & (depth > NEAR)
        axis = leave.argmin(axis=1) if self.inside else enter.argmax(axis=1)
        rows = np.arange(len(rays))
        own = np.zeros_like(rays)
        own[rows, axis] = -np.sign(direction[rows, axis])
        at = origin + np.where(seen, depth, 0)[:, None] * direction
        across = np.where(axis == 0, at[:, 2], at[:, 0])
        down = np.where(axis == 1, at[:, 2], at[:, 1] + half[1])
        return Hits(np.where(seen, depth, np.inf), own @ frame, across, down)


@dataclass(frozen=True)
class Ball:
    """A sphere, or an ellipsoid of revolution when ``stretch`` is not 1."""

    centre: tuple[float, float, float]
    radius: float
    stretch: float = 1.0
    """Height over width."""

    def hit(self, rays: Floats) -> Hits:
        """(N, 3) rays from the origin."""
        squash = np.array([1.0, 1.0 / self.stretch, 1.0])
        d, c = rays * squash, np.asarray(self.centre) * squash
        a, b = (d * d).sum(1), d @ c
        root = b * b - a * (c @ c - self.radius**2)
        with np.errstate(invalid="ignore"):
            depth = (b - np.sqrt(root)) / a
        seen = (root > 0) & (depth > NEAR)
        at = np.where(seen, depth, 0)[:, None] * d - c
        normal = at * squash
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
        angle = np.arctan2(at[:, 0], -at[:, 2])
        return Hits(np.where(seen, depth, np.inf), normal, angle * self.radius, at[:, 1])


@dataclass(frozen=True)
class Post:
    """An upright cylinder without lids, from ``top`` down to ``bottom`` (y grows downwards)."""

    x: float
    z: float
    radius: float
    top: float
    bottom: float

    def hit(self, rays: Floats) -> Hits:
        """(N, 3) rays from the origin."""
        d, c = rays[:, [0, 2]], np.array([self.x, self.z])
        a, b = (d * d).sum(1), d @ c
        root = b * b - a * (c @ c - self.radius**2)
        with np.errstate(invalid="ignore", divide="ignore"):
            depth = (b - np.sqrt(root)) / a
        height = np.where(np.isfinite(depth), depth, 0) * rays[:, 1]
        seen = (root > 0) & (depth > NEAR) & (height > self.top) & (height < self.bottom)
        at = np.where(seen, depth, 0)[:, None] * d - c
        normal = np.stack([at[:, 0], np.zeros(len(at)), at[:, 1]], axis=1) / self.radius
        angle = np.arctan2(at[:, 0], -at[:, 1])
        return Hits(np.where(seen, depth, np.inf), normal, angle * self.radius, height - self.top)


Solid = Plane | Box | Ball | Post
Texture = Callable[[Floats, Floats], Floats]
"""(u, v) in metres to (N, 3) colours in [0, 1]."""
