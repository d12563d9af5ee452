"""The embedded data set: rooms and streets drawn by a small ray caster, all of it known exactly.

Every scene is a function of (seed, index): colour picture, depth, semantic and geometric labels,
camera and gravity. Nothing is stored; 200 scenes take seconds.
"""

from pixelwise.data.scenes.compose import Scene, scene
from pixelwise.data.scenes.worlds import GEOMETRIC_CLASSES, SCENE_CLASSES, SCENE_PALETTE
from pixelwise.data.scenes.write import FEWEST, make_scenes

__all__ = [
    "FEWEST",
    "GEOMETRIC_CLASSES",
    "SCENE_CLASSES",
    "SCENE_PALETTE",
    "Scene",
    "make_scenes",
    "scene",
]
