"""Metrics, intervals and comparison of arms."""
