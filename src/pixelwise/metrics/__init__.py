"""Confusion counts and what is read off them."""
