"""The one path from a picture to labels."""
