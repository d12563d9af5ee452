"""Figures 1 to 6 of the paper, from specs, journals and label maps; matplotlib stays in here."""
