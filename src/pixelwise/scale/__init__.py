"""Work on many machines, by Ray; the only room that knows it."""
