"""Simulated animals: thorax, trees, microstructure, lesions; insertion into real maps."""
