"""Recipe, steps, state and the loop."""
