"""The paper's experiments: its recipes and published numbers, its claims, its figures."""
