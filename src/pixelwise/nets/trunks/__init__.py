"""Trunks: one file an architecture, in the layer names of its published weights."""
