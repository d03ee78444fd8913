"""Run stages."""
