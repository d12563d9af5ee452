"""The machine the program runs on: files, signals, memory, environment."""
