"""A run with two heads and a stream for each of two inputs, which several modules look at."""

from __future__ import annotations

HEADS = {"things": ("a", "b", "c"), "shapes": ("flat", "high")}
SETTINGS = (
    "fusion=sum width=0.5 validate_every=40 batch=4 augment.mirror=false optim.lr=5e-3 "
    "loss.head_weights.shapes=0.5 loss.class_weights=sqrt loss.jaccard=0.5 threads=1"
)
