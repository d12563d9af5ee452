"""The one path from a picture to labels, and jobs over many pictures."""
