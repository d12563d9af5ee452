"""Scores of a model or of foreign label maps."""
