"""Speed and memory of this machine: our ways beside those of peers, in one run."""
