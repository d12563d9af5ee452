"""Pictures and label maps from disk: layouts, checks, transforms, the embedded scenes."""
