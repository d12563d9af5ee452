"""One file for each layout of a data folder, and how a layout is recognised."""
