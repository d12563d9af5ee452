"""The embedded data set: rooms and streets drawn by a small ray caster, all of it known exactly.

Every scene is a function of (seed, index): colour picture, depth, semantic and geometric labels,
camera and gravity. Nothing is stored; 200 scenes take seconds.
"""
