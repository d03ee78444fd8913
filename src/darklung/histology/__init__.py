"""Sections of lungs: stain, masks, stereology, and synthetic ones cut from a phantom. Pure functions that know no files."""
