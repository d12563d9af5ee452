"""What carries a net out: the plan of a spec, and the torch modules for its steps."""
