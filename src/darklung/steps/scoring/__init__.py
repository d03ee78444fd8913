"""Predictions of any program scored against labels: found, read, brought to one grid, and compared as a study's arms are."""
