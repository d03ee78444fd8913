"""Sections placed in volumes: pose, shrinkage and bending, with their error; what is carried there. Pure functions."""
