"""Models behind HTTP: a process that talks, and processes that compute."""
