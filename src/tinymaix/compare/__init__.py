"""Float Graph + integer Graph + samples -> how far they are apart, where it comes from, and what to try.

Light to import: `tinymaix` does, to keep its own function of this name.
"""
