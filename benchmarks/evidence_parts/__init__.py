"""Parts of ``benchmarks/evidence.py``: what is simulated, what is trained, what was expected, what the page tells."""
