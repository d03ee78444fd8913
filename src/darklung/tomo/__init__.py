"""Projectors with their exact adjoint, and reconstruction."""
