"""From raw frames to transmission, phase and dark field with variances and validity."""
