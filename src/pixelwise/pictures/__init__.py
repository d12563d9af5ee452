"""Pictures and label maps, in files and in memory: the only room that knows Pillow."""
