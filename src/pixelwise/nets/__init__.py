"""Nets as data: the vocabulary, trunks, heads and the catalogue; no torch."""

from pixelwise.nets.rarefaction import lower_stride, rarefy

__all__ = ["lower_stride", "rarefy"]
