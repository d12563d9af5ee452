"""Heads that turn a trunk into a net that labels pixels."""
