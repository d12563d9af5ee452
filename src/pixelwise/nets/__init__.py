"""Nets as data: the vocabulary, the catalogue and the module that carries a spec out."""
