"""Nets as data: the vocabulary, trunks, heads and the catalogue; no torch."""
