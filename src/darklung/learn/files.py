"""Files of a finished model, whatever learned it."""

from __future__ import annotations

WEIGHTS_FILE = "model.safetensors"  # weights of a network, or trees
DESCRIPTION_FILE = "model.json"  # what it is, and what it was made from
METRICS_FILE = "metrics.jsonl"  # its scores while it was trained
