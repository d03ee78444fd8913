"""Whole sections as pictures: pyramids read and written by tiles, and outlines drawn on them."""
