"""From a phantom and an instrument to raw phase-stepping frames."""
