"""Back ends that look at the picture again: the fully connected CRF."""
