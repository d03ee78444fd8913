"""Networks, losses, patches, training and prediction; the one stage that imports torch."""
