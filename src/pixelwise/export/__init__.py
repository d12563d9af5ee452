"""Nets in the formats of other runtimes, each checked against our own before it is kept."""
